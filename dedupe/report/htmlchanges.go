package report

import (
	"bufio"
	"cmp"
	"encoding/binary"
	"fmt"
	"io"
	"math/big"
	"slices"
	"time"

	"github.com/dustin/go-humanize"

	"efsdedupe/dedupe"
)

// Earlier is what a page of changes needs of the earlier of two reports.
type Earlier struct {
	document *document
	seen     *seen
	groups   []earlierGroup // by key
	tooMany  bool           // groups; then changes are only known by folder
}

// earlierGroup is a group of the earlier report.
type earlierGroup struct {
	key         uint64 // start of its digest
	reclaimable int64  // negative once the later report has it, too
}

// earlierGroups is how many groups an Earlier remembers, at 16 bytes each.
const earlierGroups = 600_000

func keyOf(d dedupe.Digest) uint64 { return binary.BigEndian.Uint64(d[:]) }

// ReadEarlier reads the earlier of two JSON reports, for [WriteChanges].
func ReadEarlier(in io.Reader, o Options) (*Earlier, error) {
	e := &Earlier{seen: newSeen(newFolderTree(), 0)}
	if err := readAs(in, &earlierReader{e.seen, e}, readOptions{ordered: true, spill: o.Spill}, o); err != nil {
		return nil, err
	}
	slices.SortFunc(e.groups, func(a, b earlierGroup) int { return cmp.Compare(a.key, b.key) })
	return e, nil
}

// earlierReader reads the earlier report.
type earlierReader struct {
	*seen
	earlier *Earlier
}

func (r *earlierReader) begin(*document) error { return nil }

func (r *earlierReader) endGroup(g group) error {
	r.seen.endGroup(g, g.reclaimable, &r.seen.groups)
	if len(r.earlier.groups) == earlierGroups {
		r.earlier.tooMany = true
		return nil
	}
	r.earlier.groups = append(r.earlier.groups, earlierGroup{keyOf(g.digest), g.reclaimable})
	return nil
}

func (r *earlierReader) end(d *document) error {
	r.earlier.document = d
	return d.readBill()
}

// find returns the group of the earlier report with a digest, or nil.
func (e *Earlier) find(d dedupe.Digest) *earlierGroup {
	i, ok := slices.BinarySearchFunc(e.groups, keyOf(d), func(g earlierGroup, key uint64) int { return cmp.Compare(g.key, key) })
	if !ok {
		return nil
	}
	return &e.groups[i]
}

// WriteChanges reads the later of two JSON reports and writes a page that shows what grew
// and what was reclaimed between them. It returns why the reports are incomplete, in
// words, or "". Its error comes from the later report or from the writer.
func WriteChanges(w io.Writer, earlier *Earlier, later io.Reader, o Options) (incomplete string, err error) {
	c := &changes{w: bufio.NewWriterSize(w, 64<<10), earlier: earlier, seen: newSeen(earlier.seen.tree, 1)}
	if err := readAs(later, c, readOptions{ordered: true, spill: o.Spill}, o); err != nil {
		return "", err
	}
	return cmp.Or(earlier.document.incomplete(), c.document.incomplete()), nil
}

// changes is what changed from the earlier report to the later one, which it reads.
type changes struct {
	w *bufio.Writer
	*seen
	earlier      *Earlier
	document     *document
	shrank       topGroups // groups with less to reclaim, or none
	grew, gone   int64     // bytes
	grown, fewer int64     // groups
}

func (c *changes) begin(*document) error { return nil }

// endGroup ranks a group by how much more can be reclaimed than before.
func (c *changes) endGroup(g group) error {
	more := g.reclaimable
	if before := c.earlier.find(g.digest); before != nil && before.reclaimable >= 0 {
		more -= before.reclaimable
		before.reclaimable = -1
	}
	switch {
	case more > 0:
		c.grew, c.grown = c.grew+more, c.grown+1
		c.seen.endGroup(g, more, &c.seen.groups)
	case more < 0:
		c.gone, c.fewer = c.gone-more, c.fewer+1
		c.seen.endGroup(g, -more, &c.shrank)
	default:
		c.totals.endGroup(g)
	}
	return nil
}

func (c *changes) end(d *document) error {
	if err := d.readBill(); err != nil {
		return err
	}
	c.document = d
	for _, g := range c.earlier.groups {
		if g.reclaimable > 0 {
			c.gone, c.fewer = c.gone+g.reclaimable, c.fewer+1
		}
	}
	for _, g := range c.earlier.seen.groups.sorted() {
		if before := c.earlier.find(g.digest); before != nil && before.reclaimable > 0 {
			g.gone = true
			c.shrank.add(g)
		}
	}
	p := htmlPage{c.w}
	p.changes(c)
	return c.w.Flush()
}

// changes writes the page of what changed.
func (p htmlPage) changes(c *changes) {
	before, after := newFindings(c.earlier.document, c.earlier.seen, Options{}), newFindings(c.document, c.seen, Options{})
	p.open("Changes: "+title(after.paths()), pageJS)
	p.put("<header>\n<h1>What changed in %s</h1>\n", someOf(after.paths()))
	p.put(`<p class="muted">Between the scans of %s and %s.</p>`+"\n", when(before.Started), when(after.Started))
	for _, warning := range c.warnings(before, after) {
		p.put(`<p class="banner"><strong>Compare with care:</strong> %s.</p>`+"\n", warning)
	}
	grew, shrank := c.folders(1), c.folders(-1)
	if c.earlier.tooMany {
		c.grew, c.gone = changeOf(grew), -changeOf(shrank)
	}
	p.put(`<p class="verdict">%s</p>`+"\n</header>\n", c.verdict(before, after, grew))
	room := after.room
	grewRows, left := fitting(folderChanges(grew), room*15/100)
	room -= room*15/100 - left
	shrankRows, left := fitting(folderChanges(shrank), room*15/100)
	room -= room*15/100 - left
	more, left := fitting(changedItems(c.seen.groups.sorted(), "+"), room/2)
	less, _ := fitting(changedItems(c.shrank.sorted(), "−"), room/2+left)
	p.search(fmt.Sprintf("%s of %s and %s of %s.", humanize.Comma(int64(len(more)+len(less))), Count(c.grown+c.fewer, "changed group", "changed groups"),
		humanize.Comma(int64(len(grewRows)+len(shrankRows))), Count(int64(len(grew)+len(shrank)), "changed folder", "changed folders")))
	p.figures(before, after)
	p.changedFolders(grewRows, shrankRows, len(grew)+len(shrank))
	p.changedGroups("grew", "Groups with more to reclaim", more, c.grown, c.earlier.tooMany)
	p.changedGroups("gone", "Groups with less to reclaim, or none", less, c.fewer, c.earlier.tooMany)
	p.close(pageJS)
}

// warnings say why the two reports may not be comparable.
func (c *changes) warnings(before, after *findings) (all []markup) {
	warn := func(format string, args ...any) { all = append(all, markupf(format, args...)) }
	if !slices.Equal(before.paths(), after.paths()) {
		warn("the earlier report is of %s, the later one of %s", someOf(before.paths()), someOf(after.paths()))
	}
	if after.Started.Before(before.Started) {
		warn("the report given first is the newer one; give the older one first")
	}
	if why := before.incomplete(); why != "" {
		warn("the earlier report is not complete: %s", why)
	}
	if why := after.incomplete(); why != "" {
		warn("the later report is not complete: %s", why)
	}
	if c.earlier.tooMany {
		warn("there are too many groups to compare each; totals are of the folders")
	}
	return all
}

// verdict says in a few sentences what changed, and what that saves.
func (c *changes) verdict(before, after *findings, grew []folderChange) markup {
	since := before.Started.Format("2 January 2006")
	if before.Started == (time.Time{}) {
		since = "the earlier scan"
	}
	var text markup
	switch {
	case c.grew == 0 && c.gone == 0:
		return markupf("Nothing changed since %s: %s can be reclaimed, as before.", since, size(after.reclaimable()))
	case c.grew == 0:
		text = markupf("<strong>%s was reclaimed</strong> since %s, and no new extra copies appeared.", size(c.gone), since)
	case c.gone == 0:
		text = markupf("<strong>%s of new extra copies appeared</strong> since %s, and nothing was reclaimed.", size(c.grew), since)
	default:
		text = markupf("<strong>%s was reclaimed</strong> since %s, and <strong>%s of new extra copies appeared</strong>.", size(c.gone), since, size(c.grew))
	}
	text += markupf(" Now %s can be reclaimed, before it was %s", size(after.reclaimable()), size(before.reclaimable()))
	if more, currency := storing(before, after); more != nil && more.Sign() != 0 {
		word := "more"
		if more.Sign() < 0 {
			word = "less"
		}
		text += markupf(": storing the extra copies costs <strong>%s a month %s</strong>", inCurrency(more.Abs(more), currency), word)
	}
	text += "."
	if len(grew) > 0 {
		text += markupf(" Look at %s first: it grew the most, by <strong>%s</strong>.", inCode(grew[0].path), size(grew[0].after-grew[0].before))
	}
	return text
}

// storing returns how much more storing the extra copies costs than before, or nil if a
// bill is missing.
func storing(before, after *findings) (more *big.Rat, currency string) {
	a, b := before.document.bill, after.document.bill
	if a == nil || b == nil || a.Err != nil || b.Err != nil || a.Bill.Currency != b.Bill.Currency {
		return nil, ""
	}
	return new(big.Rat).Sub(b.Bill.Reclaimable, a.Bill.Reclaimable), b.Bill.Currency
}

// figures sets the totals of both reports side by side.
func (p htmlPage) figures(before, after *findings) {
	defer p.section("figures", "Before and after")()
	count := func(name string, a, b int64) markup {
		return row(name, a, b, signed(b-a, func(n int64) string { return humanize.Comma(n) }))
	}
	bytes := func(name string, a, b int64) markup { return row(name, size(a), size(b), signed(b-a, size)) }
	a, b := before.stats, after.stats
	rows := []markup{
		bytes("Reclaimable", before.reclaimable(), after.reclaimable()),
		count("Extra copies", a.DuplicateFiles, b.DuplicateFiles),
		count("Groups", a.DuplicateGroups, b.DuplicateGroups),
		count("Files", a.Files, b.Files),
		bytes("Content", a.Bytes, b.Bytes),
		bytes("Read by the scan", a.BytesRead, b.BytesRead),
	}
	if more, currency := storing(before, after); more != nil {
		sign := map[int]string{-1: "−", 0: "", 1: "+"}[more.Sign()]
		x, y := before.document.bill.Bill, after.document.bill.Bill
		rows = append(rows, row("Storing the extra copies, a month", inCurrency(x.Reclaimable, currency), inCurrency(y.Reclaimable, currency), sign+inCurrency(more.Abs(more), currency)))
	}
	p.table(table{name: "Before and after", heads: []string{"What", "Before", "After", "Change"}, rows: rows})
}

// signed formats a change.
func signed(n int64, format func(int64) string) string {
	switch {
	case n > 0:
		return "+" + format(n)
	case n < 0:
		return "−" + format(-n)
	}
	return "0"
}

// folderChange is how much can be reclaimed in a folder, before and after.
type folderChange struct {
	path          string
	below         bool // in folders below it that are not in the tree
	before, after int64
}

// folders returns the folders with more to reclaim than before, or with less if sign is
// negative, those that changed the most first.
func (c *changes) folders(sign int64) []folderChange {
	var all []folderChange
	add := func(t *treeFolder, e [2]extraCopies, below bool) {
		if (e[1].bytes-e[0].bytes)*sign > 0 {
			all = append(all, folderChange{t.path(), below, e[0].bytes, e[1].bytes})
		}
	}
	for _, t := range c.tree.root.largestFirst() {
		add(t, t.own, false)
		add(t, t.merged, true)
	}
	slices.SortStableFunc(all, func(a, b folderChange) int {
		return cmp.Compare((b.after-b.before)*sign, (a.after-a.before)*sign)
	})
	return all
}

// changeOf sums up what changed in folders.
func changeOf(all []folderChange) (bytes int64) {
	for _, f := range all {
		bytes += f.after - f.before
	}
	return bytes
}

// folderChanges are rows of a table.
func folderChanges(all []folderChange) func(func(markup) bool) {
	return func(yield func(markup) bool) {
		for _, f := range all {
			most := max(all[0].after-all[0].before, all[0].before-all[0].after)
			change := f.after - f.before
			where := inCode(f.path)
			if f.below {
				where += " smaller folders below it"
			}
			if !yield(rowWith(` class="s"`, where, size(f.before), size(f.after), gauged(max(change, -change), most, signed(change, size)))) {
				return
			}
		}
	}
}

func (p htmlPage) changedFolders(grew, shrank []markup, all int) {
	defer p.section("folders", "Which folders changed")()
	if all == 0 {
		p.para("In no folder is there more or less to reclaim.")
		return
	}
	heads := []string{"Folder", "Reclaimable before", "After", "Change"}
	for _, t := range []struct {
		title string
		rows  []markup
	}{{"What grew", grew}, {"What was reclaimed", shrank}} {
		p.put("<h3>%s</h3>\n", t.title)
		if len(t.rows) == 0 {
			p.para("Nothing.")
			continue
		}
		p.table(table{name: t.title, heads: heads, rows: t.rows, first: 15})
	}
	p.para("This is about extra copies directly in each folder.%s", leftOut(int64(all-len(grew)-len(shrank))))
}

// changedItems are the list items of groups that changed.
func changedItems(groups []shownGroup, sign string) func(func(markup) bool) {
	return func(yield func(markup) bool) {
		for _, g := range groups {
			if !yield(g.itemOf(sign+size(g.rank), g.gone)) {
				return
			}
		}
	}
}

func (p htmlPage) changedGroups(id, title string, items []markup, all int64, tooMany bool) {
	defer p.section(id, title)()
	switch {
	case tooMany:
		p.para("There are too many groups to compare each.")
	case all == 0:
		p.para("None.")
	default:
		p.para("This lists %s.", fmt.Sprintf("%s of %s", humanize.Comma(int64(len(items))), Count(all, "group", "groups")))
		p.list("groups", 15, items)
	}
}
