package report

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"

	"github.com/dustin/go-humanize"

	"efsdedupe/dedupe/cost"
)

// report writes the page of a report.
func (p htmlPage) report(f *findings) {
	script := "/*\n" + d3License + "*/\n" + d3 + "\n" + pageJS
	p.open(title(f.paths()), script)
	p.header(f)
	// Groups take the room that the other lists leave.
	room := f.room / 2
	room += f.list(f.room * 3 / 10)
	twins, left := fitting(f.twins.items, f.room/10)
	room += left
	problems := f.problemRows(f.room / 10)
	room += problems.left
	groups, _ := fitting(f.groups.items, room)
	covers := []string{f.groupsListed(len(groups)), f.foldersListed()}
	if f.seen.twins.all > 0 {
		covers = append(covers, listedOf(len(twins), f.seen.twins.all, "set of folders", "sets of folders"))
	}
	if all := f.problemCount(); all > 0 {
		covers = append(covers, fmt.Sprintf("%s of %s", humanize.Comma(int64(len(problems.problems))), Count(all, "problem", "problems")))
	}
	p.search(strings.Join(covers, ", ") + ". " + f.leftOut(len(groups)))
	p.share(f)
	p.folders(f)
	p.groups(f, groups)
	p.twins(f, twins)
	p.sizes(f)
	p.problems(f, problems)
	p.reading(f)
	p.bill(f)
	p.adviceOn(f)
	p.about(f)
	p.close(script)
}

// header says what the page is about, what to do first, and the main figures.
func (p htmlPage) header(f *findings) {
	roots := f.paths()
	p.put("<header>\n<h1>Duplicate files%s</h1>\n", map[bool]markup{true: "", false: " in " + someOf(roots)}[len(roots) == 0])
	by := ""
	if f.Tool != nil {
		by = fmt.Sprintf(" by %s %s", clip(f.Tool.Name), clip(f.Tool.Version))
	}
	p.put(`<p class="muted">Scanned %s%s.%s</p>`+"\n", when(f.Started), by, f.document.whereRoots())
	if why := f.incomplete(); why != "" {
		p.put(`<p class="banner"><strong>Not complete:</strong> %s. There may be more duplicates than these.</p>`+"\n", why)
	}
	if f.Next != "" {
		p.put(`<p class="banner"><strong>Not all groups:</strong> this is one page of an answer of the service.</p>` + "\n")
	}
	p.put(`<p class="verdict">%s</p>`+"\n", f.verdict())
	s := f.stats
	p.put(`<ul class="tiles">` + "\n")
	tile := func(value, of string) { p.put("<li><b>%s</b>%s</li>\n", value, of) }
	tile(size(f.reclaimable()), fmt.Sprintf("reclaimable, %s of %s", percentOf(f.reclaimable(), s.Bytes), size(s.Bytes)))
	tile(humanize.Comma(s.DuplicateFiles), "extra copies among "+Count(s.Files, "file", "files"))
	tile(humanize.Comma(s.DuplicateGroups), map[bool]string{true: "group of identical files", false: "groups of identical files"}[s.DuplicateGroups == 1])
	if saves := f.saves(f.reclaimable()); saves != "" {
		tile(saves, "a month to store the extra copies")
	}
	p.put("</ul>\n</header>\n")
}

// search writes the search field, which only a script can serve, and what it covers. The
// rest of the page follows.
func (p htmlPage) search(covers string) {
	p.put(`<main id="main">
<div class="search" id="search" hidden>
<label for="query">Search this page</label>
<input id="query" type="search" autocomplete="off" spellcheck="false" aria-describedby="covers">
<p id="covers" class="muted">Searches only what this page lists: %s</p>
<p id="found" role="status"></p>
</div>
`, covers)
}

// leftOut says what a page that lists so many groups leaves out.
func (f *findings) leftOut(groups int) string {
	var parts []string
	if int64(groups) < f.all || f.merged {
		parts = append(parts, "the rest")
	}
	if slices.ContainsFunc(f.seen.groups.groups[:groups], func(g shownGroup) bool { return g.files > int64(len(g.shown)) }) {
		parts = append(parts, fmt.Sprintf("all but the first %d files of a group", pageFiles))
	}
	if len(parts) == 0 {
		return ""
	}
	return fmt.Sprintf("It leaves out %s. The JSON report has everything.", strings.Join(parts, ", and "))
}

func (f *findings) groupsListed(n int) string { return listedOf(n, f.all, "group", "groups") }

// listedOf says how many of all things a page lists.
func listedOf(n int, all int64, one, many string) string {
	if int64(n) < all {
		return fmt.Sprintf("the %s largest of %s %s", humanize.Comma(int64(n)), humanize.Comma(all), many)
	}
	return Count(all, one, many)
}

func (f *findings) foldersListed() string {
	n := int64(len(f.folders))
	if f.merged {
		return "the " + Count(n, "largest folder", "largest folders")
	}
	return Count(n, "folder", "folders")
}

// share shows how much of the content is there more than once.
func (p htmlPage) share(f *findings) {
	defer p.section("share", "How much is duplicated")()
	var copies int64
	for _, class := range f.totals.sizes {
		copies += class.Bytes
	}
	extra := f.reclaimable()
	kept := max(0, copies-extra)
	alone := max(0, f.stats.Bytes-copies)
	p.bar("How much is duplicated", "Content", []part{
		{"c1", "extra copies, reclaimable", size(extra), extra},
		{"c2", "the copy of each group to keep", size(kept), kept},
		{"c3", "files without a copy", size(alone), alone},
	})
}

// folders shows where the extra copies are.
func (p htmlPage) folders(f *findings) {
	defer p.section("folders", "Which folders hold them")()
	if f.top.total[0].bytes == 0 {
		p.para("No folder holds extra copies.")
		return
	}
	p.put(`<div id="treemap" hidden>
<nav aria-label="The folder that the map shows"><ol id="crumbs"></ol></nav>
<div id="map" role="group" aria-label="Map of folders" aria-describedby="keys"></div>
<p id="detail"></p>
<p id="keys" class="muted">A larger area is more to reclaim. Click a folder to open it. With the keyboard: arrow keys move, Enter opens, Escape goes up.</p>
</div>
`)
	rows := make([]markup, len(f.folders))
	for i, folder := range f.folders {
		rows[i] = f.folderRow(folder)
	}
	p.table(table{name: "Folders with the most to reclaim", id: "tree", first: 15, rows: rows,
		heads: []string{"Folder", "Reclaimable, with folders below", "Share", "Extra copies", "Directly in it", "In folders not listed", "Saves a month"}})
	p.para("A copy counts as extra in the folder it is in, except the one of each group to keep.")
	if more := f.reclaimable() - f.top.total[0].bytes; more > 0 {
		p.para("Not counted here is %s in copies that a rule keeps, or that have names elsewhere.", size(more))
	}
	if f.merged {
		p.para("This lists %s. Smaller ones count in the folder above them.", f.foldersListed())
	}
}

// items are the list items of groups.
func (t *topGroups) items(yield func(markup) bool) {
	for _, g := range t.sorted() {
		if !yield(g.item()) {
			return
		}
	}
}

// item is a group in a list. HTML needs no end tags of list items.
func (g *shownGroup) item() markup { return g.itemOf(size(g.reclaimable), false) }

// itemOf is a group in a list, with an amount. A gone group has no copy to keep.
func (g *shownGroup) itemOf(amount string, gone bool) markup {
	var b strings.Builder
	put := func(format string, args ...any) { b.WriteString(string(markupf(format, args...))) }
	put(`<li class="s"><details><summary><b>%s</b><span>%s of %s</span>%s</summary><ul>`, amount,
		Count(g.copies, "copy", "copies"), size(g.size), inCode(g.first()))
	for _, f := range g.shown {
		date := string(f.mtime.appendRFC3339(nil))[:len("2006-01-02")]
		switch {
		case gone:
			put(`<li><b>was</b>%s<i>%s</i>`, inCode(f.path), date)
		case f.kept:
			put(`<li class="k"><b>keep</b>%s<i>%s</i>`, inCode(f.path), date)
		case f.hardLink:
			put(`<li><b>link</b>%s<i>%s</i>`, inCode(f.path), date)
		default:
			put(`<li><b>extra</b>%s<i>%s</i>`, inCode(f.path), date)
		}
	}
	if more := g.files - int64(len(g.shown)); more > 0 {
		put(`<li class="wide">and %v more`, more)
	}
	put("</ul></details>\n")
	return markup(b.String())
}

// first returns the path of the file to keep.
func (g *shownGroup) first() string {
	for _, f := range g.shown {
		if f.kept {
			return f.path
		}
	}
	if len(g.shown) > 0 {
		return g.shown[0].path
	}
	return ""
}

// groups lists the largest groups.
func (p htmlPage) groups(f *findings, items []markup) {
	defer p.section("groups", "The largest groups")()
	if len(items) == 0 {
		p.para("There are no groups.")
		return
	}
	listed := int64(0)
	for _, g := range f.seen.groups.groups[:len(items)] {
		listed += g.reclaimable
	}
	p.para("Files of a group have the same content. Open one to see which copy to keep and which are extra; a link is another name of a copy, and deleting it frees nothing. This lists %s, with %s of what can be reclaimed.",
		f.groupsListed(len(items)), percentOf(listed, f.reclaimable()))
	p.list("groups", 25, items)
}

// list writes a list whose entries can be opened.
func (p htmlPage) list(class string, first int, items []markup) {
	p.put(`<ol class="%s"%s>`+"\n", markup(class), firstOf(first, len(items)))
	for _, item := range items {
		p.put("%s", item)
	}
	p.put("</ol>\n")
}

// twins lists folders with the same content.
func (p htmlPage) twins(f *findings, items []markup) {
	asked := f.Selection != nil && f.Selection.Folders
	if f.seen.twins.all == 0 && !asked {
		return
	}
	defer p.section("twins", "Duplicate folders")()
	if f.seen.twins.all == 0 {
		p.para("No two folders hold the same files.")
		return
	}
	p.para("Folders of a set hold the same files and folders under the same names. This lists %s.",
		listedOf(len(items), f.seen.twins.all, "set", "sets"))
	p.list("groups", 15, items)
}

// items are the list items of sets of folders.
func (t *twinSets) items(yield func(markup) bool) {
	for _, set := range t.sets {
		if !yield(set.item()) {
			return
		}
	}
}

// item is a set in a list.
func (t *twinSet) item() markup {
	var b strings.Builder
	put := func(format string, args ...any) { b.WriteString(string(markupf(format, args...))) }
	put(`<li class="s"><details><summary><b>%s</b><span>%s of %s, %s</span>%s</summary><ul>`, size(t.reclaimable),
		Count(t.paths, "folder", "folders"), Count(t.files, "file", "files"), size(t.bytes), inCode(t.path))
	chosen := slices.ContainsFunc(t.shown, func(f twin) bool { return f.kept })
	for i, f := range t.shown {
		if f.kept || !chosen && i == 0 {
			put(`<li class="k"><b>keep</b>%s`, inCode(f.path))
		} else {
			put(`<li><b>extra</b>%s`, inCode(f.path))
		}
	}
	if more := t.paths - int64(len(t.shown)); more > 0 {
		put(`<li class="wide">and %v more`, more)
	}
	put("</ul></details>\n")
	return markup(b.String())
}

// sizes shows the extra copies by size.
func (p htmlPage) sizes(f *findings) {
	classes := f.totals.histogram()
	if len(classes) == 0 {
		return
	}
	defer p.section("sizes", "How large they are")()
	most := int64(0)
	for _, c := range classes {
		most = max(most, c.Reclaimable)
	}
	var rows []markup
	for _, c := range classes {
		label := "0 B"
		switch {
		case c.Max == math.MaxInt64:
			label = size(c.Min) + " or more"
		case c.Max > 0:
			label = size(c.Min) + " to under " + size(c.Max+1)
		}
		rows = append(rows, row(label, gauged(c.Reclaimable, most, size(c.Reclaimable)), c.Count, size(c.Bytes)))
	}
	p.table(table{name: "Duplicates by size", heads: []string{"Size of a file", "Reclaimable", "Copies, with those to keep", "They hold"}, rows: rows})
}

// problemRows are the rows of what was not read.
type problemRows struct {
	problems, skipped []markup
	left              int // bytes
}

func (f *findings) problemRows(room int) (rows problemRows) {
	rows.problems, rows.left = fitting(func(yield func(markup) bool) {
		for _, problem := range f.seen.problems {
			if !yield(rowWith(` class="s"`, inCode(problem.Path), clip(problem.Op), clip(problem.Err.Error()))) {
				return
			}
		}
	}, room)
	rows.skipped, rows.left = fitting(func(yield func(markup) bool) {
		for _, s := range f.seen.skipped {
			if !yield(rowWith(` class="s"`, inCode(s.Path), clip(strings.ReplaceAll(s.Rule, "_", " ")))) {
				return
			}
		}
	}, rows.left)
	return rows
}

func (f *findings) problemCount() int64 {
	return int64(len(f.seen.problems)) + f.unshown.problems + int64(f.ProblemsLeftOut)
}

// problems lists what was not read, and what rules left out.
func (p htmlPage) problems(f *findings, rows problemRows) {
	defer p.section("problems", "What was not read")()
	all := f.problemCount()
	skipped := int64(len(f.seen.skipped)) + f.unshown.skipped
	if all == 0 && skipped == 0 {
		p.para("Everything was read: there were no problems, and no rule left anything out.")
		return
	}
	if all > 0 {
		p.para("%s. What is named here is in no group.%s", Count(all, "problem", "problems"), leftOut(all-int64(len(rows.problems))))
		p.table(table{name: "Problems", heads: []string{"Path", "While", "Problem"}, rows: rows.problems, first: 15})
	}
	if skipped > 0 {
		p.para("Rules left out %s.%s", Count(skipped, "path", "paths"), leftOut(skipped-int64(len(rows.skipped))))
		p.table(table{name: "Left out by a rule", heads: []string{"Path", "Rule"}, rows: rows.skipped, first: 15})
	}
}

// leftOut says how many entries of a list the page leaves out.
func leftOut(n int64) string {
	if n == 0 {
		return ""
	}
	return fmt.Sprintf(" The page leaves out %s of them.", humanize.Comma(n))
}

// reading shows what was read and what was avoided.
func (p htmlPage) reading(f *findings) {
	s := f.stats.stats()
	if f.Stats == nil {
		return
	}
	defer p.section("reading", "What the scan read, and what it avoided")()
	known := min(s.BytesSpared, max(0, s.Bytes-s.BytesRead))
	rest := max(0, s.Bytes-s.BytesRead-known)
	p.bar("What the scan read", "Content", []part{
		{"c1", "read", size(s.BytesRead), s.BytesRead},
		{"c2", "known from the index, not read", size(s.BytesSpared), known},
		{"c3", "not read: no other file can be equal", size(rest), rest},
	})
	rows := []markup{
		row("Files", s.Files), row("Directories listed", s.Directories), row("Opens", s.Opens), row("Opens that the index saved", s.OpensSpared),
		row("Files hashed", s.FilesHashed), row("Files compared", s.FilesCompared), row("Files known from the index", s.FilesKnown),
		row("Time", elapsed(s.Elapsed)), row("CPU time", map[bool]string{true: "not known", false: elapsed(s.CPU)}[s.CPUUnknown]),
		row("Memory", size(s.PeakMemory)), row("Workers", fmt.Sprintf("%s, %s", humanize.Comma(int64(f.Workers)), clip(string(f.Mode)))),
	}
	if t := s.NFS; t != nil {
		rows = append(rows, row("NFS messages, with other traffic on the mount", t.BesidesREAD()+t.Messages["READ"]))
		names := slices.Sorted(maps.Keys(t.Messages))
		for _, name := range names[:min(len(names), 40)] {
			rows = append(rows, row(clip(name), t.Messages[name]))
		}
	}
	p.table(table{name: "What the scan took", heads: []string{"What", "Amount"}, rows: rows})
}

// bill shows what a month of such scans costs.
func (p htmlPage) bill(f *findings) {
	defer p.section("bill", "What such scans cost")()
	switch {
	case f.document.bill == nil:
		p.para("This report has no bill.")
		if f.storage != nil {
			p.para("Amounts above are for storing files on EFS Standard in %s.", clip(f.storage.Region))
		}
		return
	case f.document.bill.Err != nil:
		p.para("No bill: %s.", clip(f.document.bill.Err.Error()))
		return
	}
	projection := f.document.bill
	b := projection.Bill
	p.para("%s a month would cost <strong>%s</strong> in %s, at the prices of %s: %s.", callCount(projection.Usage.Calls),
		price(b), clip(b.Region), clip(b.Date), basis(projection.Usage))
	var rows []markup
	for _, item := range b.Items[:min(len(b.Items), 60)] {
		rows = append(rows, row(clip(item.Meter), clip(meterName(item.Meter)), clip(Commas(cost.Decimal(item.Quantity, 3))+" "+item.Unit),
			clip(cost.Decimal(item.UnitPrice, 16)), gaugedMoney(item.Cost, b.Total, clip(Commas(b.Amount(item.Cost))))))
	}
	rows = append(rows, row("total", "", "", "", money(b.Total)))
	if projection.Usage.EFS.ReclaimableBytes > 0 {
		rows = append(rows, row("of it, storing the extra copies", "", "", "", b.Amount(b.Reclaimable)))
	}
	if w := projection.Weighed; w != nil {
		rows = append(rows, row("total with the index, "+cost.Percent(w.Churn)+" churn", "", "", "", money(w.IndexBill.Total)),
			row("total if every call reads all", "", "", "", money(w.AllBill.Total)))
	}
	for _, c := range projection.AtColdShare {
		rows = append(rows, row("total if only "+cost.Percent(c.Share)+" of the calls are cold", "", "", "", money(c.Total)))
	}
	p.table(table{name: "The bill", heads: []string{"Meter", "For", "Quantity", "Price", clip(b.Currency) + " a month"}, rows: rows})
	for _, warning := range projection.Warnings()[:min(20, len(projection.Warnings()))] {
		p.para("Note: %s.", clip(strings.TrimSuffix(warning, ".")))
	}
}

// adviceOn lists cheaper ways to run such scans.
func (p htmlPage) adviceOn(f *findings) {
	if f.advice == nil && f.noAdvice == nil {
		return
	}
	defer p.section("advice", "How to pay less")()
	if f.noAdvice != nil {
		p.para("No advice: %s.", clip(strings.ReplaceAll(f.noAdvice.Error(), "\n", "; ")))
		return
	}
	a := f.advice
	p.para("The cheapest ways for %v such calls a month: %s. <code>dedupe cost advise</code> answers for other assumptions.", a.Job.All.Calls, jobOf(a.Job))
	most := a.Ways[len(a.Ways)-1].Bill.Total
	var rows []markup
	for _, way := range a.Ways {
		needs := strings.Join(way.Requires, "; ")
		if needs == "" {
			needs = "nothing else"
		}
		rows = append(rows, row(way.Name, gaugedMoney(way.Bill.Total, most, money(way.Bill.Total)), needs,
			markupf("<code>%s</code>", strings.Join(way.Flags, " "))))
	}
	p.table(table{name: "The cheapest ways", heads: []string{"Way", a.Book.Currency + " a month", "Needs", "Flags"}, rows: rows, first: 6})
}

// about says what the scan was asked for, and what the page is.
func (p htmlPage) about(f *findings) {
	defer p.section("about", "About this page")()
	p.put(`<dl class="facts">` + "\n")
	fact := func(name string, value any) { p.put("<div><dt>%s</dt><dd>%s</dd></div>\n", name, value) }
	fact("Started", when(f.Started))
	fact("Finished", when(f.Finished))
	if s := f.Selection; s != nil {
		var roots []string
		for _, root := range s.Roots {
			roots = append(roots, root.absolute())
		}
		fact("Roots", someOf(roots))
		p.rules(s, fact)
		fact("Smallest size", size(s.MinSize))
		if s.MaxSize > 0 {
			fact("Largest size", size(s.MaxSize))
		}
		if include := fullOf(s.Include, s.IncludeBase64); len(include) > 0 {
			fact("Only", someOf(include))
		}
		if exclude := fullOf(s.Exclude, s.ExcludeBase64); len(exclude) > 0 {
			fact("Without", someOf(exclude))
		}
	}
	if f.alone > 0 {
		fact("Files without a duplicate", f.alone)
	}
	if f.Index != nil {
		fact("Index", map[bool]string{true: "used", false: "not used"}[f.Index.Used]+strings.TrimSuffix(": "+clip(f.Index.Why), ": "))
	}
	p.put("</dl>\n")
	p.para("The page requests nothing and runs only its own script. In names, <u>\\x1b</u> and the like stand for characters that cannot be shown.")
}

// rules says which copies the scan was asked to keep, and which groups to report.
func (p htmlPage) rules(s *selectionJSON, fact func(string, any)) {
	for _, rule := range []struct {
		name  string
		value string
	}{
		{"Keep", clip(string(s.Keep))},
		{"Only groups across roots", map[bool]string{true: "yes"}[s.Isolate]},
		{"Copies at least", positive(s.MinCopies)},
	} {
		if rule.value != "" {
			fact(rule.name, rule.value)
		}
	}
	for _, list := range []struct {
		name  string
		plain []string
		full  [][]byte
	}{
		{"Priority", s.Priority, s.PriorityBase64},
		{"Protected", s.Protect, s.ProtectBase64},
		{"Copies of", one(s.CopiesOf), bytesOf(s.CopiesOfBase64)},
		{"Files from", one(s.FilesFrom), bytesOf(s.FilesFromBase64)},
		{"Files from", one(s.Files0From), bytesOf(s.Files0FromBase64)},
	} {
		if values := fullOf(list.plain, list.full); len(values) > 0 {
			fact(list.name, someOf(values))
		}
	}
	if !s.Newer.IsZero() {
		fact("Newer than", when(s.Newer))
	}
	if !s.Older.IsZero() {
		fact("Older than", when(s.Older))
	}
}

func positive(n int) string {
	if n <= 0 {
		return ""
	}
	return humanize.Comma(int64(n))
}

func one(s string) []string {
	if s == "" {
		return nil
	}
	return []string{s}
}

func bytesOf(b []byte) [][]byte {
	if b == nil {
		return nil
	}
	return [][]byte{b}
}
