// Command mortal is a bootstrap that runs another one, and dies with it of some events, at
// any time: before they are done, meanwhile, or after; if it dies of all, before.
package main

import (
	"bytes"
	"io"
	"log"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"
)

func main() {
	self, err := os.Executable()
	if err != nil {
		log.Fatal(err)
	}
	api := &url.URL{Scheme: "http", Host: os.Getenv("AWS_LAMBDA_RUNTIME_API")}
	share, err := strconv.Atoi(os.Getenv("MORTAL_PERCENT"))
	if err != nil {
		log.Fatal(err)
	}
	m := &mortal{of: regexp.MustCompile(os.Getenv("MORTAL_OF")), share: share}
	forward := httputil.NewSingleHostReverseProxy(api)
	forward.ModifyResponse = m.receive
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPost && m.doomed { // the event is done
			m.die()
		}
		forward.ServeHTTP(w, r)
	}))
	m.child = exec.Command(filepath.Join(filepath.Dir(self), "immortal"))
	m.child.Env = append(os.Environ(), "AWS_LAMBDA_RUNTIME_API="+strings.TrimPrefix(server.URL, "http://"))
	m.child.Stdout, m.child.Stderr = os.Stdout, os.Stderr
	log.Fatal(m.child.Run())
}

type mortal struct {
	of     *regexp.Regexp // the events that are deadly
	share  int            // percent of these
	child  *exec.Cmd
	doomed bool
}

// receive sees the next event before the child does.
func (m *mortal) receive(r *http.Response) error {
	event, err := io.ReadAll(r.Body)
	r.Body = io.NopCloser(bytes.NewReader(event))
	if err != nil || r.Request.Method != http.MethodGet || !m.of.Match(event) || rand.IntN(100) >= m.share {
		return err
	}
	switch when := rand.IntN(3); {
	case when == 0 || m.share == 100:
		m.die()
	case when == 1:
		time.AfterFunc(rand.N(30*time.Millisecond), m.die)
	}
	m.doomed = true
	return nil
}

func (m *mortal) die() {
	m.child.Process.Kill()
	os.Exit(1)
}
