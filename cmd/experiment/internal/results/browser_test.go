package results

import (
	_ "embed"
	"encoding/json"
	"fmt"
	"html"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"testing"

	"efsdedupe/fixtures/testkit"

	"github.com/google/go-cmp/cmp"
)

// browserHTML shows pages to itself, on a phone and on a desk, and says what it finds.
//
//go:embed testdata/browser.html
var browserHTML string

// TestBrowser shows pages in Chromium: they fit a phone, ask for nothing, have a title for
// every picture, and enough contrast in light and in dark.
func TestBrowser(t *testing.T) {
	chromium := testkit.Chromium(t)
	pages := make(map[string][]byte)
	want := []string{"/"}
	for _, s := range append(samples(), sample{"hostile", hostile()}) {
		pages[s.name] = write(t, HTML, s.Experiment, false)
		want = append(want, "/page/"+s.name, "/page/"+s.name)
	}
	slices.Sort(want)
	for _, dark := range []bool{false, true} {
		t.Run(fmt.Sprintf("dark %t", dark), func(t *testing.T) {
			found, requests := show(t, chromium, pages, dark)
			if diff := cmp.Diff(want, requests); diff != "" {
				t.Errorf("requests (-want +got):\n%s", diff)
			}
			for name, page := range pages {
				t.Run(name, func(t *testing.T) { found[name].check(t, page, dark) })
			}
		})
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
	SmallText             float64 // pixels; null without any text
}

func (f found) check(t *testing.T, page []byte, dark bool) {
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
		if diff := cmp.Diff([]string{}, list); diff != "" {
			t.Errorf("%s: %s", what, diff)
		}
	}
	if least := 9.0; f.SmallText != 0 && f.SmallText < least {
		t.Errorf("the text in pictures is %.1f pixels high on a phone, want %v", f.SmallText, least)
	}
	if f.Time == "" {
		t.Error("it does not say when it was measured")
	}
}

// show shows pages in a browser, and returns what was found and asked for.
func show(t *testing.T, chromium string, pages map[string][]byte, dark bool) (map[string]found, []string) {
	t.Helper()
	names, err := json.Marshal(slices.Collect(maps.Keys(pages)))
	if err != nil {
		t.Fatal(err)
	}
	index := strings.Replace(browserHTML, "const names = []", "const names = "+string(names), 1)
	var mu sync.Mutex
	var requests []string
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		requests = append(requests, r.URL.Path)
		mu.Unlock()
		if r.URL.Path == "/" {
			io.WriteString(w, index)
			return
		}
		page, ok := pages[strings.TrimPrefix(r.URL.Path, "/page/")]
		if !ok {
			http.NotFound(w, r)
			return
		}
		w.Write(page)
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
	_, text, _ := strings.Cut(string(dom), `<pre id="found">`)
	text, _, _ = strings.Cut(text, "</pre>")
	var all map[string]found
	if err := json.Unmarshal([]byte(html.UnescapeString(text)), &all); err != nil || len(all) != len(pages) {
		t.Fatalf("%d pages, %v: %.300s\n%s", len(all), err, text, &log)
	}
	mu.Lock()
	defer mu.Unlock()
	slices.Sort(requests)
	return all, slices.DeleteFunc(requests, func(path string) bool { return path == "/favicon.ico" })
}
