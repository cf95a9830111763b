package report

import (
	"cmp"
	"fmt"
	"math/big"
	"path/filepath"
	"strings"

	"github.com/dustin/go-humanize"

	"efsdedupe/dedupe/cost"
)

// findings is what a page says about a report.
type findings struct {
	*document
	*seen
	stats    statsJSON
	top      *treeFolder // that all extra copies are in
	folders  []listedFolder
	merged   bool       // not all folders are listed
	room     int        // bytes for lists
	storage  *cost.Bill // of the files alone; nil if there is a bill, or no price
	advice   *cost.Advice
	noAdvice error
}

const pageFolders = 1000 // that a page lists at most

func newFindings(d *document, s *seen, o Options) *findings {
	f := &findings{document: d, seen: s}
	if d.Stats != nil {
		f.stats = *d.Stats
	} else {
		f.stats = s.counted()
	}
	f.room = listRoom(max(f.stats.Files, s.files))
	f.merged = s.tree.merge(pageFolders) || s.tree.merged
	f.top = s.tree.sum()
	switch {
	case d.bill == nil && o.Storage != nil:
		f.storage, _ = o.Storage(f.stats.Bytes, f.stats.ReclaimableBytes) // without a price, the page says less
	case d.bill != nil && d.bill.Err == nil && o.Advise != nil:
		f.advice, f.noAdvice = o.Advise(d.bill, f.stats.stats())
	}
	return f
}

// counted returns the statistics of a report that has none.
func (s *seen) counted() statsJSON {
	stats := statsJSON{Files: s.files, DuplicateGroups: s.all}
	for _, class := range s.totals.sizes {
		stats.Bytes += class.Bytes
		stats.ReclaimableBytes += class.Reclaimable
		stats.DuplicateFiles += class.Count
	}
	stats.DuplicateFiles -= s.all
	return stats
}

// reclaimable is the bytes of all extra copies. The tree has fewer if rules keep several
// copies.
func (f *findings) reclaimable() int64 {
	return max(f.stats.ReclaimableBytes, f.top.total[f.report].bytes)
}

// storing returns the bill that has the cost of storing extra copies, and how many bytes
// of them; nil if there is none.
func (f *findings) storing() (*cost.Bill, int64) {
	bill, bytes := f.storage, f.stats.ReclaimableBytes
	if f.bill != nil && f.bill.Err == nil {
		bill, bytes = f.bill.Bill, cmp.Or(f.bill.Usage.EFS.ReclaimableBytes, bytes)
	}
	if bill == nil || bytes <= 0 || bill.Reclaimable.Sign() == 0 {
		return nil, 0
	}
	return bill, bytes
}

// saves formats what a month without some of the extra copies costs less, or returns "" if
// that is not known.
func (f *findings) saves(bytes int64) string {
	bill, of := f.storing()
	if bill == nil {
		return ""
	}
	return inCurrency(new(big.Rat).Mul(bill.Reclaimable, big.NewRat(bytes, of)), bill.Currency)
}

// inCurrency formats an amount in cents, and small ones as under a cent.
func inCurrency(amount *big.Rat, currency string) string {
	text, sign := Commas(cost.Cents(new(big.Rat).Abs(amount))), ""
	switch {
	case amount.Sign() != 0 && strings.Trim(text, "0.") == "":
		text, sign = "0.01", "under "
	case amount.Sign() < 0:
		sign = "−"
	}
	if currency == "USD" {
		return sign + "$" + text
	}
	return sign + text + " " + clip(currency)
}

// paths returns the roots.
func (d *document) paths() []string { return fullOf(d.Roots, d.RootsBase64) }

// whereRoots says where relative roots are.
func (d *document) whereRoots() (text markup) {
	if d.Selection == nil {
		return ""
	}
	for _, root := range d.Selection.Roots[:min(len(d.Selection.Roots), fewPaths)] {
		given := paths{root.Path, string(root.PathBase64)}.full()
		if absolute := root.absolute(); filepath.IsAbs(absolute) && !filepath.IsAbs(given) {
			text += markupf(" %s is %s.", inCode(given), inCode(absolute))
		}
	}
	return text
}

// title is the title of the page.
func title(roots []string) string {
	if len(roots) == 0 {
		return "Duplicate files"
	}
	more := ""
	if len(roots) > 1 {
		more = fmt.Sprintf(" and %s more", humanize.Comma(int64(len(roots)-1)))
	}
	return "Duplicate files in " + clip(roots[0]) + more
}

// verdict says in one or two sentences what to do first, and what that saves.
func (f *findings) verdict() markup {
	all := f.top.total[0].bytes
	switch {
	case f.stats.DuplicateGroups == 0:
		return markupf("No duplicates among %s.", Count(f.stats.Files, "file", "files"))
	case all <= 0:
		return markup("Deleting the extra copies frees nothing: they are empty, are all kept, or have names outside the scan.")
	}
	first := f.top.first()
	in := first.total[0]
	sentence := markupf(`Clean <strong>%s</strong> first: it holds <strong>%s</strong> in %s, %s of all that can be reclaimed`,
		f.folder(first), size(in.bytes), Count(in.files, "extra copy", "extra copies"), percentOf(in.bytes, all))
	saves := f.saves(in.bytes)
	if saves == "" {
		return sentence + markupf(". %s", f.noSaving())
	}
	about := markup("about ")
	if strings.HasPrefix(saves, "under") {
		about = ""
	}
	sentence += markupf(`. That saves %s<strong>%s a month</strong> of storage`, about, saves)
	if in.bytes < all {
		sentence += markupf("; cleaning everything saves %s", f.saves(all))
	}
	if f.storage != nil {
		sentence += markupf(" (EFS Standard in %s)", clip(f.storage.Region))
	}
	return sentence + "."
}

// noSaving explains a missing amount.
func (f *findings) noSaving() string {
	switch {
	case f.bill == nil:
		return "What that saves is not known: this report has no bill."
	case f.bill.Err != nil:
		return fmt.Sprintf("What that saves is not known: %s.", clip(f.bill.Err.Error()))
	}
	return "What that saves is not known: the bill leaves storage out, or the files are too small to matter."
}

// folder names a folder of the tree.
func (f *findings) folder(t *treeFolder) markup {
	if t.above == nil {
		return "all roots"
	}
	return inCode(t.path())
}

// listedFolder is a row of the table of folders.
type listedFolder struct {
	*treeFolder
	above int   // row of the next listed folder above; -1 for the first row
	rest  int64 // bytes in folders below that are not listed
}

// list lists the folders for which there is room, each after those above it, but not those
// that only lead to another. It returns the room that is left.
func (f *findings) list(room int) int {
	var rows []listedFolder
	number := map[*treeFolder]int{}
	for _, t := range f.top.largestFirst() {
		row := listedFolder{t, -1, t.total[0].bytes - t.own[0].bytes}
		if t != f.top {
			if t.passes() || row.total[0].bytes == 0 {
				continue
			}
			above := t.above
			for above != f.top && above.passes() {
				above = above.above
			}
			row.above = number[above]
		}
		cost := len(f.folderRow(row)) + len("1000 MiB")
		if cost > room {
			f.merged = true
			break
		}
		room -= cost
		if row.above >= 0 {
			rows[row.above].rest -= t.total[0].bytes
		}
		number[t] = len(rows)
		rows = append(rows, row)
	}
	f.folders = rows
	return room
}

// folderRow is a row of the table of folders. Attributes tell the script what the treemap
// draws: the row of the folder above, the bytes of the folder, and those directly in it.
func (f *findings) folderRow(t listedFolder) markup {
	in, own := t.total[0], t.own[0].bytes
	attributes := markup(fmt.Sprintf(` class="s" data-p="%d" data-b="%d" data-o="%d"`, t.above, in.bytes, own))
	return rowWith(attributes, f.folder(t.treeFolder), size(in.bytes), gauged(in.bytes, f.top.total[0].bytes, percentOf(in.bytes, f.top.total[0].bytes)),
		in.files, sizeOrNone(own), sizeOrNone(t.rest), cmp.Or(f.saves(in.bytes), "–"))
}

func sizeOrNone(bytes int64) string {
	if bytes == 0 {
		return "–"
	}
	return size(bytes)
}

// fullOf returns a list of paths or globs: as bytes, if there are these, because one of them
// is not UTF-8.
func fullOf(plain []string, full [][]byte) []string {
	if len(full) == 0 {
		return plain
	}
	var all []string
	for _, one := range full {
		all = append(all, string(one))
	}
	return all
}

// absolute returns the absolute path of a root, or the root if it is not known.
func (r *rootJSON) absolute() string {
	switch {
	case len(r.AbsoluteBase64) > 0:
		return string(r.AbsoluteBase64)
	case r.Absolute != "":
		return r.Absolute
	case len(r.PathBase64) > 0:
		return filepath.Clean(string(r.PathBase64))
	}
	return r.Path
}
