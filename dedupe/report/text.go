package report

import (
	"bufio"
	"cmp"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/fatih/color"

	"efsdedupe/dedupe"
	"efsdedupe/dedupe/mount"
)

const (
	// filesShown is how many files of a group the text lists, problemsShown how many
	// problems. It says how many it leaves out.
	filesShown    = 10
	problemsShown = 20

	// linksKept is how many inodes of a group the text remembers, to say which file a
	// hard link points to.
	linksKept = 100_000
)

// Style highlights parts of a text on a terminal.
type Style struct {
	Strong, Faint, Bad func(a ...any) string
}

// NewStyle returns a style. Without colour it changes nothing.
func NewStyle(colour bool) Style {
	paint := func(attributes ...color.Attribute) func(a ...any) string {
		c := color.New(attributes...)
		if colour {
			c.EnableColor()
		} else {
			c.DisableColor()
		}
		return c.SprintFunc()
	}
	return Style{Strong: paint(color.Bold), Faint: paint(color.Faint), Bad: paint(color.FgRed, color.Bold)}
}

// textWriter writes the stream for people. It keeps the top groups until the end, or
// writes all groups as they come.
type textWriter struct {
	b        *bufio.Writer
	s        Style
	o        Options
	top      int // groups and folders to list
	totals   *totals
	kept     []textGroup // the top groups so far, most reclaimable first
	this     textGroup   // the group being read
	groups   int
	problems []*dedupe.Problem
	unshown  int64 // problems not kept
	skipped  int64
	twins    textList
	lone     textList
}

// textGroup is a group, with the files of it to show.
type textGroup struct {
	group
	shown []textFile
	files int64
	first map[inode]string // the first path of each inode
}

type textFile struct {
	path     string
	hardLink bool
	linkTo   string // the first path of the inode, if known
	kept     bool
}

// inode identifies the inode of a file in a report.
type inode struct {
	device, number uint64
	mtime, ctime   moment
}

func newTextWriter(w io.Writer, o Options) *textWriter {
	return &textWriter{b: bufio.NewWriter(w), s: NewStyle(o.Colour), o: o, top: cmp.Or(o.Top, DefaultTop), totals: newTotals()}
}

func (t *textWriter) begin(*document) error { return nil }

func (t *textWriter) group(g group) error {
	t.groups++
	t.totals.group(g)
	t.this = textGroup{group: g, first: make(map[inode]string)}
	if t.o.All {
		t.heading(g)
	}
	return nil
}

func (t *textWriter) file(f file) error {
	t.totals.file(f)
	t.this.files++
	if t.o.Summary || !t.o.All && len(t.this.shown) > filesShown {
		return nil
	}
	line := textFile{path: f.path, hardLink: f.hardLink, kept: f.kept}
	key := inode{f.device, f.inode, f.mtime, f.ctime}
	_, taken := t.this.first[key]
	switch {
	case f.hardLink:
		line.linkTo = t.this.first[key]
	case taken: // inodes of two devices that a JSON report does not distinguish
		t.this.first[key] = ""
	case f.links != 1 && len(t.this.first) < linksKept:
		t.this.first[key] = f.path
	}
	if t.o.All {
		return t.fileLine(line)
	}
	t.this.shown = append(t.this.shown, line)
	return nil
}

func (t *textWriter) endGroup(g group) error {
	t.totals.endGroup(g)
	g.leftOut += g.before
	t.this.leftOut = g.leftOut
	switch {
	case t.o.Summary:
	case t.o.All:
		t.more(g.leftOut)
		return t.b.WriteByte('\n')
	default:
		t.this.copies, t.this.first = t.totals.copies+g.leftOut, nil
		t.keep(t.this)
	}
	return nil
}

// keep keeps a group if it is among the top ones. Groups with equal reclaimable bytes
// keep their order.
func (t *textWriter) keep(g textGroup) {
	at := len(t.kept)
	for at > 0 && t.kept[at-1].reclaimable < g.reclaimable {
		at--
	}
	t.kept = slices.Insert(t.kept, at, g)
	t.kept = t.kept[:min(len(t.kept), t.top)]
}

func (t *textWriter) problem(p *dedupe.Problem) error {
	if t.o.All || len(t.problems) < problemsShown {
		t.problems = append(t.problems, p)
		return nil
	}
	t.unshown++
	return nil
}

func (t *textWriter) skip(dedupe.Skipped) error {
	t.skipped++
	return nil
}

func (t *textWriter) end(d *document) error {
	if err := d.readBill(); err != nil {
		return err
	}
	for _, g := range t.kept {
		t.shownGroup(g)
	}
	if n := t.groups - len(t.kept); n > 0 && !t.o.All && !t.o.Summary {
		fmt.Fprintf(t.b, "%s\n\n", t.s.Faint("and ", Count(int64(n), "more group", "more groups"), "; --top N or --all names more"))
	}
	t.chosen(d)
	if !t.o.Summary {
		t.folders()
	}
	t.tellProblems(int64(d.ProblemsLeftOut))
	t.found(d)
	if err := t.bill(d); err != nil {
		return err
	}
	return t.b.Flush()
}

func (t *textWriter) bill(d *document) error {
	if d.bill == nil {
		return nil
	}
	fmt.Fprintln(t.b)
	if t.o.Bill {
		return writeBill(t.b, d.bill, t.s)
	}
	writeBillLine(t.b, d.bill, d.incomplete() == "", t.s)
	return nil
}

func (t *textWriter) heading(g group) {
	copies := "Copies"
	if g.copies > 0 {
		copies = Count(g.copies, "copy", "copies")
	}
	fmt.Fprintf(t.b, "%s, %s reclaimable  %s\n",
		t.s.Strong(copies, " of ", size(g.size)), size(g.reclaimable), t.s.Faint(g.digest.String()[:16]))
}

func (t *textWriter) fileLine(f textFile) error {
	link := ""
	switch {
	case f.linkTo != "":
		link = " " + t.s.Faint("(hard link to "+Printable(f.linkTo)+")")
	case f.hardLink:
		link = " " + t.s.Faint("(hard link to an earlier file)")
	}
	if f.kept {
		link += " " + t.s.Faint("(kept)")
	}
	_, err := fmt.Fprintf(t.b, "  %s%s\n", Printable(f.path), link)
	return err
}

// more says how many files are not listed.
func (t *textWriter) more(n int64) {
	if n > 0 {
		fmt.Fprintf(t.b, "  %s\n", t.s.Faint("and ", humanize.Comma(n), " more; --all names all"))
	}
}

// shownGroup writes a group that was kept. Listing one more file takes no more space than
// saying that one is left out.
func (t *textWriter) shownGroup(g textGroup) {
	t.heading(g.group)
	all := g.files + g.leftOut
	shown := g.shown
	if all > filesShown+1 {
		shown = shown[:min(len(shown), filesShown)]
	}
	for _, f := range shown {
		t.fileLine(f)
	}
	t.more(all - int64(len(shown)))
	t.b.WriteByte('\n')
}

// folders writes the folders with the most to reclaim.
func (t *textWriter) folders() {
	folders := t.totals.sorted()
	folders = slices.DeleteFunc(folders, func(f *folder) bool { return f.reclaimable == 0 })
	if len(folders) == 0 {
		return
	}
	about := ""
	if t.totals.least > 0 {
		about = ", at least: there are too many to count all exactly"
	}
	fmt.Fprintf(t.b, "%s%s\n", t.s.Strong("Folders with the most to reclaim"), about)
	shown := folders
	if !t.o.All {
		shown = folders[:min(len(folders), t.top)]
	}
	for _, f := range shown {
		fmt.Fprintf(t.b, "  %10s in %s  %s\n", size(f.reclaimable), Count(f.files, "file", "files"), Printable(f.path))
	}
	if n := len(folders) - len(shown); n > 0 {
		fmt.Fprintf(t.b, "  %s\n", t.s.Faint("and ", humanize.Comma(int64(n)), " more; --top N or --all names more"))
	}
	t.b.WriteByte('\n')
}

// tellProblems writes what could not be read.
func (t *textWriter) tellProblems(leftOut int64) {
	all := int64(len(t.problems)) + t.unshown + leftOut
	if all == 0 {
		return
	}
	fmt.Fprintln(t.b, t.s.Bad(Count(all, "problem", "problems"))+": what is named here is in no group")
	for _, p := range t.problems {
		fmt.Fprintf(t.b, "  %s\n", ProblemLine(p))
	}
	if t.unshown > 0 {
		fmt.Fprintf(t.b, "  %s\n", t.s.Faint("and ", humanize.Comma(t.unshown), " more; --all names all"))
	}
	if leftOut > 0 {
		fmt.Fprintf(t.b, "  %s\n", t.s.Faint("and ", humanize.Comma(leftOut), " more that this page of the report leaves out"))
	}
	fmt.Fprintln(t.b)
}

// reasonLimit is the reason in reports of programs that stop at a limit. This one refuses
// to scan more files than it may.
const reasonLimit = "limit"

// incomplete says why a report is incomplete, or "".
func (d *document) incomplete() string {
	if d.Complete == nil || *d.Complete {
		return ""
	}
	switch d.Reason {
	case dedupe.ReasonDeadline:
		return "the scan ran out of time before it had read every file"
	case dedupe.ReasonInterrupted:
		return "the scan was interrupted before it had read every file"
	case reasonLimit:
		return "there are more files than the scan may read"
	case dedupe.ReasonProblems:
		return "some files or directories could not be read"
	}
	return "the scan did not read every file"
}

// found writes what the scan found, and what that took.
func (t *textWriter) found(d *document) {
	if why := d.incomplete(); why != "" {
		fmt.Fprintf(t.b, "%s%s. There may be more duplicates than these.\n", t.s.Bad("Not complete: "), why)
	}
	if t.skipped > 0 {
		fmt.Fprintf(t.b, "Left out by a rule: %s; --format json names them.\n", Count(t.skipped, "path", "paths"))
	}
	if d.Stats == nil {
		return
	}
	writeStats(t.b, d, t.s)
}

func writeStats(w io.Writer, d *document, s Style) {
	t := d.Stats.stats()
	switch {
	case t.DuplicateGroups > 0:
		fmt.Fprintf(w, "%s: %s of %s are copies of another, %s of %s reclaimable.\n",
			s.Strong(Count(t.DuplicateGroups, "duplicate group", "duplicate groups")), humanize.Comma(t.DuplicateFiles),
			Count(t.Files, "file", "files"), s.Strong(size(t.ReclaimableBytes)), size(t.Bytes))
	default:
		fmt.Fprintf(w, "%s among %s, %s.\n", s.Strong("No duplicates"), Count(t.Files, "file", "files"), size(t.Bytes))
	}
	known := ""
	if t.FilesKnown > 0 {
		known = fmt.Sprintf(", %s known from the index", Count(t.FilesKnown, "file", "files"))
	}
	cpu := fmt.Sprintf(", %s of CPU", elapsed(t.CPU))
	if t.CPUUnknown {
		cpu = ""
	}
	fmt.Fprintf(w, "Read %s in %s%s, %s listed; %s hashed, %s compared; took %s%s and %s of memory in %s, %s.\n",
		size(t.BytesRead), Count(t.Opens, "open", "opens"), known, Count(t.Directories, "directory", "directories"),
		Count(t.FilesHashed, "file", "files"), humanize.Comma(t.FilesCompared),
		elapsed(t.Elapsed), cpu, size(t.PeakMemory), d.Mode, Count(int64(d.Workers), "worker", "workers"))
	if t.CPUUnknown {
		fmt.Fprintln(w, "CPU time not known: another scan ran in the same process.")
	}
	if t.OpensSpared > 0 {
		fmt.Fprintf(w, "The index saved %s and %s.\n", Count(t.OpensSpared, "open", "opens"), size(t.BytesSpared))
	}
	if t.NFS != nil {
		writeTraffic(w, t.NFS)
	}
}

// writeTraffic writes one line about NFS, with the most frequent types of messages.
func writeTraffic(w io.Writer, t *mount.Traffic) {
	if len(t.Messages) == 0 {
		fmt.Fprintln(w, "NFS, including other traffic on the mount: no messages.")
		return
	}
	const shown = 3
	names := slices.SortedFunc(maps.Keys(t.Messages), func(a, b string) int {
		return cmp.Or(cmp.Compare(t.Messages[b], t.Messages[a]), cmp.Compare(a, b))
	})
	all, others := int64(0), int64(0)
	var types []string
	for i, name := range names {
		all += t.Messages[name]
		if i < shown {
			types = append(types, Printable(name)+" "+humanize.Comma(t.Messages[name]))
		} else {
			others += t.Messages[name]
		}
	}
	if others > 0 {
		types = append(types, "others "+humanize.Comma(others))
	}
	again := ""
	if t.Retransmissions > 0 || t.Timeouts > 0 {
		again = fmt.Sprintf("%s, %s, ", Count(t.Retransmissions, "retransmission", "retransmissions"), Count(t.Timeouts, "timeout", "timeouts"))
	}
	fmt.Fprintf(w, "NFS, including other traffic on the mount: %s (%s), %s besides READ; %s received, %s%s per round trip.\n",
		Count(all, "message", "messages"), strings.Join(types, ", "), humanize.Comma(t.BesidesREAD()), size(t.BytesReceived), again, elapsed(t.RoundTrip))
}

func size(bytes int64) string { return humanize.IBytes(uint64(bytes)) }

// Count formats a number of things, with the singular or the plural.
func Count(n int64, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return humanize.Comma(n) + " " + many
}

// elapsed keeps about three digits of a duration.
func elapsed(d time.Duration) string {
	switch {
	case d >= 10*time.Second:
		return d.Round(100 * time.Millisecond).String()
	case d >= 100*time.Millisecond:
		return d.Round(time.Millisecond).String()
	}
	return d.Round(100 * time.Microsecond).String()
}
