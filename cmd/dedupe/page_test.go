//go:build page

package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
)

// TestPageLibrary checks that what draws the map is as npm has it.
func TestPageLibrary(t *testing.T) {
	axeScript(t)
	for ours, theirs := range map[string]string{"d3-hierarchy.min.js": "dist/d3-hierarchy.min.js", "d3-hierarchy.LICENSE": "LICENSE"} {
		got, err := os.ReadFile(filepath.Join("../../dedupe/report/html", ours))
		want, err2 := os.ReadFile(filepath.Join("../../build/axe/node_modules/d3-hierarchy", theirs))
		if err := errors.Join(err, err2); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got, want) {
			t.Errorf("%s is not %s of d3-hierarchy", ours, theirs)
		}
	}
}

// TestPages shows every kind of page, on a phone and on a desk, in light and in dark.
func TestPages(t *testing.T) {
	axe, browser := axeScript(t), startChromium(t)
	for name, file := range pages(t) {
		for i, v := range []view{{width: 375}, {width: 1440, dark: true}, {width: 375, dark: true}, {width: 1440}} {
			t.Run(fmt.Sprint(name, ", ", v), func(t *testing.T) {
				p := show(t, browser, file, v)
				p.fits(v.width)
				p.mapInTable()
				p.accessible(axe)
				if i > 1 { // axe takes its time
					p.harmless(file)
					return
				}
				// With everything open and shown.
				eval[bool](p, `document.querySelectorAll("button.all").forEach(b => b.click()); true`)
				p.fits(v.width)
				p.accessible(axe)
				p.harmless(file)
			})
		}
	}
}

// pages writes a page of every kind, and returns their files by name.
func pages(t *testing.T) map[string]string {
	dir := t.TempDir()
	page := func(name string, args ...string) string {
		t.Helper()
		out := filepath.Join(dir, name+".html")
		cmd := exec.Command(binary, append(args, "--format", "html", "--output", out)...)
		cmd.Dir = dir
		if output, err := cmd.CombinedOutput(); err != nil && cmd.ProcessState.ExitCode() != 1 {
			t.Fatalf("%q: %v: %s", args, err, output)
		}
		return out
	}
	save := func(name, text string) string {
		t.Helper()
		file := filepath.Join(dir, name+".json")
		if err := os.WriteFile(file, []byte(text), 0o666); err != nil {
			t.Fatal(err)
		}
		return file
	}
	tree := filepath.Join(dir, "tree")
	usualTree(t, tree)
	all := map[string]string{"usual": page("usual", "scan", "-q", tree)}
	scanTo(t, tree, filepath.Join(dir, "before.json"))
	if err := os.RemoveAll(filepath.Join(tree, "backups")); err != nil {
		t.Fatal(err)
	}
	plant(t, filepath.Join(tree, "new"), 4, 90_000, 3)
	scanTo(t, tree, filepath.Join(dir, "after.json"))
	all["changes"] = page("changes", "report", "before.json", "after.json")
	all["no change"] = page("same", "report", "before.json", "before.json")

	hostile := filepath.Join(dir, "hostile")
	hostileTree(t, hostile)
	all["hostile"] = page("hostile", "scan", "-q", "--exclude", "<img src=x onerror=injected=1>", hostile)
	scanTo(t, hostile, filepath.Join(dir, "hostile.json"))
	all["hostile changes"] = page("hostile-changes", "report", "before.json", "hostile.json")

	empty := filepath.Join(dir, "empty")
	if err := os.Mkdir(empty, 0o777); err != nil {
		t.Fatal(err)
	}
	all["empty"] = page("empty", "scan", "-q", empty)
	all["job"] = page("job", "job", "run", "--quiet", "--store", filepath.Join(dir, "store"), tree)
	all["everything"] = page("everything", "report", save("everything", everything))
	all["many folders"] = page("many", "report", save("many", manyFolders()))
	all["little left"] = page("little", "report", save("little", foldersOf(84_000_000, 40_000_000, 36_000_000, 31_000_000, 150_000)))
	all["nothing"] = page("nothing", "report", save("nothing", nothing))
	return all
}

// everything is a report of a scan that was interrupted, with problems, rules, folders and
// NFS, and hostile text where no scan would have it.
const everything = `{"schema":"dedupe.report/v2","tool":{"name":"<script>injected=1</script>","version":"v2","revision":"x"},"started":"2026-01-01T00:00:00Z","finished":"2026-01-01T00:00:00Z",
	"roots":["/a","/b","/c","/d"],"mode":"<script>injected=1</script>","workers":1,"complete":false,"reason":"interrupted","index":{"used":false,"why":"<b>why</b>"},
	"selection":{"roots":[{"path":"/a","absolute":"/a"}],"min_size":1,"max_size":100000000,"include":["*.a"],"exclude":["</code><script>injected=1</script>"],
		"keep":"oldest","priority":["/a"],"protect":["/b/*"],"isolate":true,"min_copies":2,"unique":true,"folders":true,"newer":"2026-01-01T00:00:00Z"},
	"stats":{"files":9,"bytes":9000000,"directories":3,"opens":1,"files_hashed":1,"files_compared":1,"files_known":3,"opens_spared":3,"bytes_spared":3000000,"bytes_read":3000000,
		"duplicate_groups":2,"duplicate_files":3,"reclaimable_bytes":3000000,"elapsed_ms":1,"cpu_ms":null,"peak_memory_bytes":1,"worker_processes":0,
		"nfs":{"messages":{"READ":7,"<script>injected=1</script>":3},"messages_besides_read":3,"metered_metadata_bytes":1,"bytes_sent":1,"bytes_received":1,"retransmissions":0,"timeouts":0,"round_trip_ms":1}},
	"groups":[
		{"size":1000000,"digest":"1111111111111111111111111111111111111111111111111111111111111111","reclaimable_bytes":2000000,"files":[
			{"path":"/b/x","inode":1,"mtime":"2026-01-01T00:00:00Z","kept":true},{"path":"/b/y","inode":2,"mtime":"2026-01-01T00:00:00Z","kept":true},
			{"path":"/a/z","inode":3,"mtime":"2026-01-01T00:00:00Z"},{"path":"/a/link","inode":3,"mtime":"2026-01-01T00:00:00Z","hard_link":true}],"files_left_out":7},
		{"size":1000000,"digest":"2222222222222222222222222222222222222222222222222222222222222222","reclaimable_bytes":1000000,"files":[
			{"path":"/c/x","inode":4,"mtime":"2026-01-01T00:00:00Z"},{"path":"/d/y","inode":5,"mtime":"2026-01-01T00:00:00Z"}]}],
	"duplicate_folders":[{"files":3,"bytes":3000,"reclaimable_bytes":3000,"paths":[{"path":"/a/<script>injected=1</script>","kept":true},{"path":"/b/\u202etwin"}]}],
	"unique":[{"path":"/a/u","inode":9,"mtime":"2026-01-01T00:00:00Z","size":3}],
	"problems":[{"path":"/a/<script>injected=1</script>","op":"open","error":"<script>injected=1</script>"}],"problems_left_out":4,
	"skipped":[{"path":"/a/s","rule":"one_file_system"}],"projection_error":"<script>injected=1</script>","next":"x"}`

// manyFolders is a report with more folders than a map can show.
func manyFolders() string {
	var sizes []int
	for i := range 300 {
		sizes = append(sizes, 1_000_000/(i+1)+50)
	}
	return foldersOf(sizes...)
}

// foldersOf is a report of folders with so many bytes to reclaim.
func foldersOf(sizes ...int) string {
	var groups []string
	for i, size := range sizes {
		groups = append(groups, fmt.Sprintf(`{"size":%d,"digest":"%064d","reclaimable_bytes":%[1]d,"files":[
			{"path":"/t/first","inode":1,"mtime":"2026-01-01T00:00:00Z"},{"path":"/t/%[2]d/x/file","inode":%[2]d,"mtime":"2026-01-01T00:00:00Z"}]}`, size, i+2))
	}
	return `{"schema":"dedupe.report/v2","roots":["/t"],"mode":"goroutines","workers":1,"complete":true,"problems":[],
		"stats":{"files":600,"bytes":1000000000,"duplicate_groups":300,"duplicate_files":300},"groups":[` + strings.Join(groups, ",") + `]}`
}

// nothing is a report that lacks all it may lack.
const nothing = `{"schema":"dedupe.report/v1","roots":[],"mode":"","workers":0,"groups":[],"problems":[]}`

// scanTo writes a JSON report of a tree.
func scanTo(t *testing.T, tree, file string) {
	t.Helper()
	if output, err := exec.Command(binary, "scan", "-q", "--format", "json", "--output", file, tree).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, output)
	}
}

// plant writes so many copies of a file in folders of their own below dir.
func plant(t *testing.T, dir string, copies, size int, fill byte) {
	t.Helper()
	content := make([]byte, size)
	for i := range content {
		content[i] = fill
	}
	for i := range copies {
		file := filepath.Join(dir, fmt.Sprint("folder-", i), fmt.Sprintf("file-%d", fill))
		if err := os.MkdirAll(filepath.Dir(file), 0o777); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, content, 0o666); err != nil {
			t.Fatal(err)
		}
	}
}

// usualTree is a tree whose folder backups holds most of the extra copies.
func usualTree(t *testing.T, dir string) {
	t.Helper()
	for i := range byte(30) {
		plant(t, filepath.Join(dir, "backups", "2026"), 6, 40_000+1000*int(i), 100+i)
	}
	for i := range byte(3) {
		plant(t, filepath.Join(dir, "home", "user", "old"), 20, 5000+100*int(i), 200+i)
	}
	plant(t, filepath.Join(dir, "a", "b", "c"), 2, 100_000, 1)
	plant(t, dir, 1, 12_345, 2)
}

// usualPage writes the page of a scan of usualTree.
func usualPage(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	usualTree(t, filepath.Join(dir, "tree"))
	cmd := exec.Command(binary, "scan", "-q", "--format", "html", "--output", "page.html", "tree")
	cmd.Dir = dir
	if output, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, output)
	}
	return filepath.Join(dir, "page.html")
}

// hostileTree has names that nobody should trust.
func hostileTree(t *testing.T, dir string) {
	t.Helper()
	for i, name := range hostileNames {
		plant(t, filepath.Join(dir, name), 2, 1000, byte(i))
		if err := os.WriteFile(filepath.Join(dir, name, name), make([]byte, 2000), 0o666); err != nil {
			t.Fatal(err)
		}
	}
}

var hostileNames = []string{
	"<script>injected=1<\u2215script>", "<img src=x onerror=injected=1>", `"><svg onload=injected=1>`, "' onfocus=injected=1 autofocus='", "<!--", "-->", "]]>", "<\u2215code>",
	"\u202egnp.exe", "\u2066iso\u2069", "\x1b[31mred\x1b[0m", "line\nbreak", "tab\there", "nul\x01", "\xff\xfe invalid", "\u00a0", " lead and trail ", "back\\slash", `\x1b`,
	"a" + strings.Repeat("\u0301", 80), "مرحبا", "日本語", "\u200b", "javascript:injected=1", "{{injected}}", "${injected=1}", "&lt;b&gt;", strings.Repeat("W", 200), "\u3164", "%s%d%!",
}

// TestPageNames checks that every name can be read, and that no two look the same.
func TestPageNames(t *testing.T) {
	browser := startChromium(t)
	dir := t.TempDir()
	hostileTree(t, filepath.Join(dir, "t"))
	file := filepath.Join(dir, "page.html")
	cmd := exec.Command(binary, "scan", "-q", "--format", "html", "--output", file, "t")
	cmd.Dir = dir
	if output, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, output)
	}
	p := show(t, browser, file, view{width: 1440})
	rows := eval[[]string](p, `[...document.querySelectorAll("#tree th code")].map(e => e.textContent.replace(/\/folder-1$/, ""))`)
	for _, want := range []string{`t/<script>injected=1<∕script>`, `t/\u202egnp.exe`, `t/\u2066iso\u2069`, `t/\x1b[31mred\x1b[0m`, `t/line\nbreak`, `t/tab\there`, `t/nul\x01`,
		`t/\xff\xfe invalid`, `t/\u00a0`, `t/ lead and trail\x20`, `t/back\\slash`, `t/\\x1b`, "t/a\u0301\u0301\u0301" + strings.Repeat(`\u0301`, 77), "t/مرحبا", "t/日本語", `t/\u200b`, `t/&lt;b&gt;`, `t/\u3164`, "t/%s%d%!"} {
		if !slices.Contains(rows, want) {
			t.Errorf("no folder looks like %q: %q", want, rows)
		}
	}
	wants(p, `[...document.querySelectorAll("#tree th code")].map(e => e.textContent).filter((name, i, all) => all.indexOf(name) != i)`, []string{})
	// Names that are read from right to left change only themselves.
	wants(p, `[...document.querySelectorAll("code")].every(e => getComputedStyle(e).unicodeBidi == "isolate" && getComputedStyle(e).direction == "ltr")`, true)
	p.harmless(file)

	// If a name did become markup, the policy of the page would still refuse to run and to
	// load anything.
	wants(p, `(async () => {
		const add = (tag, properties) => document.body.append(Object.assign(document.createElement(tag), properties))
		add("script", {textContent: "window.injected = 1"})
		add("script", {src: "http://127.0.0.1:9/x.js"})
		add("img", {src: "http://127.0.0.1:9/x.png"})
		add("link", {rel: "stylesheet", href: "http://127.0.0.1:9/x.css"})
		add("iframe", {src: "http://127.0.0.1:9/"})
		document.body.insertAdjacentHTML("beforeend", "<b onclick='window.injected = 1' id=handler>")
		document.getElementById("handler").click()
		const fetched = await fetch("http://127.0.0.1:9/").then(() => "yes", () => "no")
		return fetched + typeof window.injected
	})()`, "noundefined")
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.errors) < 7 {
		t.Errorf("the policy refused only %q", p.errors)
	}
}

// TestPageKeyboard uses a page without a mouse.
func TestPageKeyboard(t *testing.T) {
	browser := startChromium(t)
	file := usualPage(t)
	p := show(t, browser, file, view{width: 1440})
	const focused = `(document.activeElement.querySelector("b") || document.activeElement).textContent`

	// The first stop skips what is before the findings; then comes the search.
	p.press(kb.Tab)
	wants(p, focused, "Skip to the findings")
	p.press(kb.Tab)
	wants(p, `document.activeElement.id`, "query")
	p.do(chromedp.KeyEvent("/c/"))
	wants(p, `document.getElementById("found").textContent`, "Found in 1 folder and 1 group.")
	wants(p, `[...document.querySelectorAll("section:not([hidden])")].map(e => e.id)`, []string{"folders", "groups"})
	wants(p, `[...document.querySelectorAll(".s:not([hidden])")].every(e => e.textContent.includes("/c/"))`, true)
	p.press("?")
	wants(p, `document.getElementById("found").textContent`, "Nothing that this page lists contains this.")
	p.press(kb.Escape)
	wants(p, `document.getElementById("query").value + document.querySelectorAll(".s[hidden], section[hidden]").length`, "0")

	// The map: Tab leads to the table of shares, then to the largest folder.
	p.press(kb.Tab, kb.Tab)
	wants(p, focused, "backups/2026")
	wants(p, `document.querySelectorAll("#map [tabindex='0']").length`, int64(1))
	p.press(kb.ArrowRight)
	right := eval[string](p, focused)
	p.press(kb.ArrowLeft)
	wants(p, focused, "backups/2026")
	p.press(kb.End)
	last := eval[string](p, focused)
	if right == "backups/2026" || last == "backups/2026" {
		t.Errorf("arrows lead to %q, End to %q", right, last)
	}
	p.press(kb.Home, kb.Enter)
	wants(p, `[...document.querySelectorAll("#crumbs li")].map(e => e.textContent)`, []string{"tree", "backups/2026"})
	wants(p, `document.activeElement.parentElement.id`, "map")
	wants(p, `document.querySelectorAll("#map button").length`, int64(5))
	p.mapInTable()
	inside := eval[string](p, focused)
	p.press(kb.Escape)
	wants(p, focused, "backups/2026")
	wants(p, `document.getElementById("crumbs").textContent`, "tree")
	p.press(kb.Enter, kb.Enter) // a folder without others below: its groups
	wants(p, `document.getElementById("query").value`, "tree/backups/2026/"+inside+"/")
	wants(p, `document.activeElement.id`, "query")
	p.press(kb.Escape)
	p.harmless(file)
}

// TestPageGroups opens groups without a mouse: one with Enter, all with a button.
func TestPageGroups(t *testing.T) {
	file := usualPage(t)
	p := show(t, startChromium(t), file, view{width: 1440})
	p.do(chromedp.Focus(chromedp.CSS("#groups summary")))
	p.press(kb.Enter)
	wants(p, `document.querySelector("#groups details").open`, true)
	wants(p, `[...document.querySelectorAll("#groups li li b")].slice(0, 3).map(e => e.textContent)`, []string{"keep", "extra", "extra"})
	p.do(chromedp.Focus(chromedp.CSS("#groups button")))
	p.press(kb.Enter)
	wants(p, `[...document.querySelectorAll("#groups details")].every(e => e.open)`, true)
	wants(p, `document.querySelectorAll("#groups .more")[0].checkVisibility()`, false)
	p.do(chromedp.Focus(chromedp.CSS("#groups ol + button")))
	p.press(kb.Enter)
	wants(p, `document.querySelectorAll("#groups .more")[0].checkVisibility()`, true)
	p.harmless(file)
}

// TestPageWithoutScript checks that a page says the same without its script, and on paper.
func TestPageWithoutScript(t *testing.T) {
	browser := startChromium(t)
	file := usualPage(t)
	const visible = `[...document.querySelectorAll("tr, #groups li, h2")].filter(e => e.checkVisibility()).length`
	p := show(t, browser, file, view{width: 1440, noScript: true})
	wants(p, `document.getElementById("search").hidden && document.getElementById("treemap").hidden`, true)
	without := eval[int](p, visible)
	p = show(t, browser, file, view{width: 1440})
	eval[bool](p, `document.querySelectorAll("button.all").forEach(b => b.click()); document.querySelectorAll("details").forEach(d => d.open = false); true`)
	wants(p, visible, without)

	p = show(t, browser, file, view{width: 700, print: true})
	p.fits(700)
	wants(p, `[...document.querySelectorAll(".search, button.all, #keys, .skip")].some(e => e.checkVisibility())`, false)
	wants(p, `document.querySelector("#groups li li").getBoundingClientRect().height > 0`, true)
	wants(p, `document.querySelectorAll("#map button").length > 1`, true)
}

// TestPageSays checks that the first sentence names the folder to clean first and what that
// saves a month.
func TestPageSays(t *testing.T) {
	browser := startChromium(t)
	tree := filepath.Join(t.TempDir(), "tree")
	usualTree(t, tree)
	report := filepath.Join(t.TempDir(), "report.json")
	scanTo(t, tree, report)
	data, err := os.ReadFile(report)
	if err != nil {
		t.Fatal(err)
	}
	// The same tree, a million times as large.
	var doc map[string]any
	if err := json.Unmarshal(data, &doc); err != nil {
		t.Fatal(err)
	}
	doc["projection"].(map[string]any)["reclaimable_cost"] = 1000
	if data, err = json.Marshal(doc); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(report, data, 0o666); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "page.html")
	if output, err := exec.Command(binary, "report", "--format", "html", "--output", file, report).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, output)
	}
	p := show(t, browser, file, view{width: 1440})
	// 30 groups of 6 copies of 40,000 to 69,000 bytes that have 8,175,000 of 8,565,700 reclaimable bytes.
	wants(p, `document.querySelector(".verdict").textContent`, "Clean "+tree+"/backups/2026 first: it holds 7.8 MiB in 150 extra copies, 95% of all that can be reclaimed. "+
		"That saves about $954.39 a month of storage; cleaning everything saves $1,000.00.")
}
