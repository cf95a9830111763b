package results

import (
	"cmp"
	_ "embed"
	"encoding/json"
	"html"
	"net/http"
	"net/http/httptest"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"
)

// browserHTML shows a page to itself, on a phone and on a desk, and says what it finds.
//
//go:embed testdata/browser.html
var browserHTML string

// browser returns the path of Chromium, or skips the test.
func browser(t *testing.T) string {
	t.Helper()
	for _, name := range []string{"chromium-headless-shell", "chromium", "google-chrome"} {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	t.Skip("there is no Chromium to show the page in: apt install chromium-headless-shell")
	return ""
}

// TestBrowser shows pages in Chromium: they fit a phone, ask for nothing, have a title for
// every picture, and enough contrast in light and in dark.
func TestBrowser(t *testing.T) {
	chromium := browser(t)
	for _, s := range append(samples(), sample{"hostile", hostile()}) {
		page := write(t, HTML, s.Experiment, false)
		for _, dark := range []bool{false, true} {
			t.Run(s.name+map[bool]string{true: " dark", false: " light"}[dark], func(t *testing.T) {
				found, requests := show(t, chromium, page, dark)
				if want := []string{"/", "/page", "/page"}; !slices.Equal(requests, want) {
					t.Errorf("requests %q, want %q", requests, want)
				}
				found.check(t, page, dark)
			})
		}
	}
}

// found is what browser.html says of a page.
type found struct {
	Dark                  bool
	Page                  string // colour
	PhoneWidth, DeskWidth int
	Pictures              int
	Time                  string
	Wide, Untitled, Faint []string
	SmallText             float64 // pixels; null without any
}

func (f *found) check(t *testing.T, page []byte, dark bool) {
	t.Helper()
	if f.Dark != dark {
		t.Fatalf("dark %t, want %t", f.Dark, dark)
	}
	if want := map[bool]string{true: "rgb(15, 19, 24)", false: "rgb(255, 255, 255)"}[dark]; f.Page != want {
		t.Errorf("the page is %s, want %s", f.Page, want)
	}
	if f.PhoneWidth > 375 || f.DeskWidth > 1440 {
		t.Errorf("it is %d wide on a phone of 375, and %d on a desk of 1440: %q", f.PhoneWidth, f.DeskWidth, f.Wide)
	}
	if want := strings.Count(string(page), "<svg "); f.Pictures != want {
		t.Errorf("%d pictures, want %d", f.Pictures, want)
	}
	for what, list := range map[string][]string{"too wide": f.Wide, "without a title": f.Untitled, "too faint": f.Faint} {
		if diff := gocmp.Diff([]string{}, list); diff != "" {
			t.Errorf("%s: %s", what, diff)
		}
	}
	if least := 9.0; cmp.Or(f.SmallText, least) < least {
		t.Errorf("the text in pictures is %.1f pixels high on a phone, want %v", f.SmallText, least)
	}
	if f.Time == "" {
		t.Error("it does not say when it was measured")
	}
}

// show shows a page in a browser, and returns what was found and asked for.
func show(t *testing.T, chromium string, page []byte, dark bool) (found, []string) {
	t.Helper()
	var mu sync.Mutex
	var requests []string
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		requests = append(requests, r.URL.Path)
		mu.Unlock()
		switch r.URL.Path {
		case "/":
			w.Write([]byte(browserHTML))
		case "/page":
			w.Write(page)
		default:
			http.NotFound(w, r)
		}
	}))
	defer server.Close()
	scheme := map[bool]string{true: "0", false: "1"}[dark]
	cmd := exec.Command(chromium, "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--hide-scrollbars",
		"--user-data-dir="+t.TempDir(), "--blink-settings=preferredColorScheme="+scheme, "--dump-dom", server.URL)
	var log strings.Builder
	cmd.Stderr = &log
	dom, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v: %s", err, &log)
	}
	_, text, ok := strings.Cut(string(dom), `<pre id="found">`)
	text, _, closed := strings.Cut(text, "</pre>")
	var f found
	if err := json.Unmarshal([]byte(html.UnescapeString(text)), &f); err != nil || !ok || !closed {
		t.Fatalf("%v: %.300s\n%s", err, text, &log)
	}
	mu.Lock()
	defer mu.Unlock()
	slices.Sort(requests)
	return f, slices.DeleteFunc(requests, func(path string) bool { return path == "/favicon.ico" })
}
