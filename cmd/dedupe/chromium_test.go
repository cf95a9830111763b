//go:build page

package main

import (
	"context"
	"fmt"
	"os"
	"sync"
	"testing"
	"time"

	"efsdedupe/fixtures/testkit"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
	"github.com/google/go-cmp/cmp"
)

// startChromium starts a browser for the time of a test, or skips the test.
func startChromium(t *testing.T) context.Context {
	t.Helper()
	options := append(chromedp.DefaultExecAllocatorOptions[:], chromedp.ExecPath(testkit.Chromium(t)), chromedp.NoSandbox, chromedp.UserDataDir(t.TempDir()),
		chromedp.Flag("disable-dev-shm-usage", true), chromedp.WSURLReadTimeout(patience))
	allocated, stop := chromedp.NewExecAllocator(context.Background(), options...)
	ctx, closeBrowser := chromedp.NewContext(allocated)
	t.Cleanup(func() { closeBrowser(); stop() })
	if err := chromedp.Do(ctx); err != nil {
		t.Fatal(err)
	}
	return ctx
}

// tab is a page that a browser shows.
type tab struct {
	t   *testing.T
	ctx context.Context

	mu       sync.Mutex
	requests []string
	errors   []string // exceptions, and what the policy of the page refused
}

// listen notes what the page does.
func (p *tab) listen(event any) {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch e := event.(type) {
	case *network.EventRequestWillBeSent:
		p.requests = append(p.requests, e.Request.URL)
	case *runtime.EventExceptionThrown:
		p.errors = append(p.errors, fmt.Sprint(e.ExceptionDetails.Text, e.ExceptionDetails.Exception))
	case *log.EventEntryAdded:
		p.errors = append(p.errors, e.Entry.Text)
	}
}

func (p *tab) do(actions ...chromedp.Action[chromedp.Void]) {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(p.ctx, patience)
	defer cancel()
	if err := chromedp.Do(ctx, actions...); err != nil {
		p.t.Fatal(err)
	}
}

// press types keys.
func (p *tab) press(keys ...string) {
	p.t.Helper()
	for _, key := range keys {
		p.do(chromedp.KeyEvent(key))
	}
}

// harmless checks that the page asked for nothing and ran only its own script.
func (p *tab) harmless(file string) {
	p.t.Helper()
	wants(p, `[...document.querySelectorAll("script, img, iframe, object, embed, form, base, [onclick], [onerror], [onload], [style]:not(#map *)")].map(e => e.tagName)`, []string{"SCRIPT"})
	wants(p, `typeof window.injected`, "undefined")
	p.mu.Lock()
	defer p.mu.Unlock()
	if diff := cmp.Diff([]string{"file://" + file}, p.requests); diff != "" {
		p.t.Errorf("requests (-want +got):\n%s", diff)
	}
	if len(p.errors) > 0 {
		p.t.Errorf("the browser complains: %q", p.errors)
	}
}

// accessible checks a page with axe: all rules of WCAG 2.2 AA and of good practice.
func (p *tab) accessible(axe string) {
	p.t.Helper()
	eval[bool](p, axe+"; true")
	found := eval[[]violation](p, `axe.run({runOnly: ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]})
		.then(found => found.violations.map(v => ({ID: v.id, Impact: v.impact, Help: v.help, Nodes: v.nodes.slice(0, 3).map(n => ({HTML: n.html}))})))`)
	for _, v := range found {
		p.t.Errorf("axe, %s: %s (%s): %.300q", v.Impact, v.Help, v.ID, v.Nodes)
	}
}

// fits checks that nothing is wider than the page but what scrolls.
func (p *tab) fits(width int64) {
	p.t.Helper()
	if got := eval[int64](p, `document.documentElement.scrollWidth`); got > width {
		p.t.Errorf("the page is %d wide", got)
	}
	wants(p, `[...document.querySelectorAll("#map > *")].filter(e => {
		const box = e.getBoundingClientRect(), map = e.parentNode.getBoundingClientRect()
		return box.right > map.right + 2 || box.bottom > map.bottom + 2 // a border
	}).map(e => e.outerHTML.slice(0, 200))`, []string{})
	wants(p, fmt.Sprintf(`[...document.body.querySelectorAll("*")].filter(e => !e.closest(".scroll *, .skip, #map *") && e.getBoundingClientRect().right > %d.5).map(e => e.outerHTML.slice(0, 100))`, width), []string{})
}

// mapInTable checks that the table has every number of the map.
func (p *tab) mapInTable() {
	p.t.Helper()
	wants(p, `[...document.querySelectorAll("#map span, #detail")].flatMap(e => e.textContent.match(/[\d.,]+ [KMGTPE]?i?B|\$[\d.,]+|[\d.]+%/g) || [])
		.filter(number => ![...document.querySelectorAll("#tree td")].some(td => td.textContent.includes(number)))`, []string{})
}

// view is how a page is shown.
type view struct {
	width    int64
	dark     bool
	noScript bool
	print    bool
}

func (v view) String() string { return fmt.Sprintf("%d pixels, dark %t", v.width, v.dark) }

// show opens a file in a new tab.
func show(t *testing.T, browser context.Context, file string, v view) *tab {
	t.Helper()
	ctx, closeTab := chromedp.NewContext(browser)
	t.Cleanup(closeTab)
	p := &tab{t: t, ctx: ctx}
	if err := chromedp.Listen(ctx, p.listen); err != nil {
		t.Fatal(err)
	}
	media := emulation.SetEmulatedMediaParams{Features: []*emulation.MediaFeature{
		{Name: "prefers-color-scheme", Value: map[bool]string{false: "light", true: "dark"}[v.dark]}}}
	if v.print {
		media.Media = "print"
	}
	call(p, network.Enable, network.EnableParams{})
	call(p, log.Enable, cdp.Empty{})
	call(p, emulation.SetEmulatedMedia, media)
	call(p, emulation.SetDeviceMetricsOverride, emulation.SetDeviceMetricsOverrideParams{Width: v.width, Height: 900, DeviceScaleFactor: 1, Mobile: v.width < 500})
	call(p, emulation.SetScriptExecutionDisabled, emulation.SetScriptExecutionDisabledParams{Value: v.noScript})
	p.do(chromedp.Navigate("file://" + file))
	return p
}

// patience is how long a page may take for one thing. Only a broken one takes so long.
const patience = 2 * time.Minute

// call sends a command of the protocol.
func call[P, R any](p *tab, command cdp.Command[P, R], parameters P) {
	p.t.Helper()
	if _, err := chromedp.Call(p.ctx, command, parameters); err != nil {
		p.t.Fatal(err)
	}
}

// eval evaluates an expression in the page.
func eval[T any](p *tab, expression string) T {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(p.ctx, patience)
	defer cancel()
	value, err := chromedp.Run(ctx, chromedp.Evaluate[T](expression, chromedp.EvalAwaitPromise))
	if err != nil {
		p.t.Fatalf("%.100s: %v", expression, err)
	}
	return value
}

// wants checks what an expression is.
func wants[T any](p *tab, expression string, want T) {
	p.t.Helper()
	if diff := cmp.Diff(want, eval[T](p, expression)); diff != "" {
		p.t.Errorf("%s (-want +got):\n%s", expression, diff)
	}
}

// violation is what axe finds, see https://github.com/dequelabs/axe-core.
type violation struct {
	ID, Impact, Help string
	Nodes            []struct{ HTML string }
}

func axeScript(t *testing.T) string {
	t.Helper()
	axe, err := os.ReadFile("../../build/axe/node_modules/axe-core/axe.min.js")
	if err != nil {
		t.Skip("there is no axe-core: make build/axe installs it, with npm")
	}
	return string(axe)
}
