package report

import (
	"fmt"

	"github.com/dustin/go-humanize"
)

// textList is a list that only some scans ask for: duplicate folders or unique files. It is
// written as it comes if all is shown, and else after the groups.
type textList struct {
	lines []string
	shown int   // sets or files
	count int64 // of all
	bytes int64 // of all
	paths int64 // of this set
	set   int64 // the last one
}

// twin lists a folder of the first sets.
func (t *textWriter) twin(f twin) error {
	l := &t.twins
	if l.count == 0 || l.set != f.set {
		t.moreTwins()
		l.set, l.paths = f.set, 0
		l.count++
		l.bytes += f.reclaimable
		if t.shows(l) {
			l.shown++
			t.line(l, fmt.Sprintf("%s, %s reclaimable", t.s.Strong("Folders of ", Count(f.files, "file", "files"), " and ", size(f.bytes)), size(f.reclaimable)))
		}
	}
	l.paths++
	if l.count == int64(l.shown) && (t.o.All || l.paths <= filesShown) {
		kept := ""
		if f.kept {
			kept = " " + t.s.Faint("(kept)")
		}
		t.line(l, "  "+Printable(f.path)+kept)
	}
	return nil
}

// moreTwins says how many folders of the last set are not listed.
func (t *textWriter) moreTwins() {
	l := &t.twins
	if n := l.paths - filesShown; n > 0 && !t.o.All && l.count == int64(l.shown) {
		t.line(l, "  "+t.s.Faint("and ", humanize.Comma(n), " more; --all names all"))
	}
}

// unique lists the first files without a duplicate.
func (t *textWriter) unique(f file) error {
	l := &t.lone
	l.count++
	if !f.hardLink {
		l.bytes += f.size
	}
	if t.shows(l) {
		if l.shown++; l.shown == 1 && t.o.All {
			if t.twins.count > 0 {
				fmt.Fprintln(t.b)
			}
			fmt.Fprintln(t.b, t.s.Strong("Files without a duplicate"))
		}
		t.line(l, "  "+Printable(f.path))
	}
	return nil
}

// shows reports whether to list one more.
func (t *textWriter) shows(l *textList) bool { return t.o.All || !t.o.Summary && l.shown < t.top }

// line adds a line to a list.
func (t *textWriter) line(l *textList, line string) {
	if t.o.All {
		fmt.Fprintln(t.b, line)
		return
	}
	l.lines = append(l.lines, line)
}

// chosen writes the lists.
func (t *textWriter) chosen(d *document) {
	s := d.Selection
	if s == nil {
		return
	}
	t.moreTwins()
	if t.o.All && t.twins.count+t.lone.count > 0 {
		fmt.Fprintln(t.b)
	}
	if s.Folders {
		t.list(&t.twins, fmt.Sprintf("%s: %s reclaimable", t.s.Strong(Count(t.twins.count, "set of duplicate folders", "sets of duplicate folders")), size(t.twins.bytes)))
	}
	if s.Unique {
		t.list(&t.lone, fmt.Sprintf("%s: %s", t.s.Strong(Count(t.lone.count, "file without a duplicate", "files without a duplicate")), size(t.lone.bytes)))
	}
}

func (t *textWriter) list(l *textList, heading string) {
	fmt.Fprintln(t.b, heading)
	for _, line := range l.lines {
		fmt.Fprintln(t.b, line)
	}
	if n := l.count - int64(l.shown); n > 0 && !t.o.Summary {
		fmt.Fprintf(t.b, "  %s\n", t.s.Faint("and ", humanize.Comma(n), " more; --top N or --all names more"))
	}
	fmt.Fprintln(t.b)
}
