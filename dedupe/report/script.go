package report

import (
	"bufio"
	"fmt"
	"io"
	"strings"
)

// Action is what a script does with copies.
type Action string

const (
	Hardlink Action = "hardlink" // replace them with hard links to the kept file
	Delete   Action = "delete"   // remove them
)

// scriptWriter writes a POSIX shell script: the name of the kept file of each group, and a
// line for each name of the other copies.
type scriptWriter struct {
	nowhere
	b     *bufio.Writer
	by    Action
	first *file // of the group
	told  bool  // the script names it
}

func newScriptWriter(w io.Writer, by Action) *scriptWriter {
	return &scriptWriter{b: bufio.NewWriterSize(w, 64<<10), by: by}
}

// The script, without its first line, which makes it do nothing. Names in it are quoted and
// begin with a slash or a dot, so that no program takes them for options.
const (
	scriptStart = `#!/bin/sh
# A file is touched only if cmp finds it equal to the kept one right before. Names that do
# not begin with / are relative to the folder in which dedupe ran: run this script there.
set -u
LC_ALL=C
export LC_ALL
command -v cmp >/dev/null || { echo 'cmp is missing: nothing was done' >&2; exit 2; }
kept= tmp= count=0 skipped=0
trap '[ -z "$tmp" ] || rm -f "$tmp"; exit 130' HUP INT TERM

say() { printf '%s %s\n' "$1" "$(printf '%s' "$2" | tr '[:cntrl:]' '?')"; }

skip() {
	skipped=$((skipped + 1))
	say "skipped, $1:" "$2" >&2
}

# same FILE: it is a regular file, equal to the kept one, and not the kept one itself.
same() {
	if [ -L "$1" ] || ! [ -f "$1" ]; then
		skip 'it is no regular file any more' "$1"
	elif [ -L "$kept" ] || ! [ -f "$kept" ]; then
		skip 'the kept file is gone' "$1"
	elif [ "$kept" -ef "$1" ]; then
		skip 'it is the kept file under another name' "$1"
	elif ! cmp -s "$kept" "$1"; then
		skip 'it differs from the kept file' "$1"
	else
		return 0
	fi
	return 1
}

k() { kept=$1; }

`
	scriptHardlink = `# c FILE: replace it with a hard link to the kept file, at once or not at all.
c() {
	same "$1" || return 0
	tmp=${1%/*}/.dedupe-$$-$count
	if ! ln "$kept" "$tmp"; then
		tmp=
		skip 'no link can be made in its folder' "$1"
	elif cmp -s "$tmp" "$1" && mv -f "$tmp" "$1"; then
		tmp=
		count=$((count + 1))
		say linked: "$1"
	else
		rm -f "$tmp"
		tmp=
		skip 'it cannot be replaced' "$1"
	fi
}

`
	scriptDelete = `# c FILE: remove it.
c() {
	same "$1" || return 0
	if rm -f "$1"; then
		count=$((count + 1))
		say removed: "$1"
	else
		skip 'it cannot be removed' "$1"
	fi
}

`
	scriptEnd = `
printf '%s %s, %s skipped\n' "$count" 'WHAT' "$skipped"
[ "$skipped" -eq 0 ]
`
)

func (w *scriptWriter) begin(*document) error {
	w.b.WriteString("echo 'Nothing was done: read this script, then delete its first line and run it again.' >&2; exit 2\n")
	w.b.WriteString(scriptStart)
	if w.by == Delete {
		_, err := w.b.WriteString(scriptDelete)
		return err
	}
	_, err := w.b.WriteString(scriptHardlink)
	return err
}

func (w *scriptWriter) group(group) error {
	w.first, w.told = nil, false
	return nil
}

// file writes what to do with a file, unless it is the first of its group, another name of
// that, or kept.
func (w *scriptWriter) file(f file) error {
	switch {
	case w.first == nil:
		w.first = &f
		return nil
	case f.kept || f.hardLink && f.id() == w.first.id():
		return nil
	}
	if !w.told {
		w.told = true
		fmt.Fprintf(w.b, "k %s\n", shellQuoted(w.first.path))
	}
	_, err := fmt.Fprintf(w.b, "c %s\n", shellQuoted(f.path))
	return err
}

func (w *scriptWriter) end(*document) error {
	what := "linked"
	if w.by == Delete {
		what = "removed"
	}
	w.b.WriteString(strings.Replace(scriptEnd, "WHAT", what, 1))
	return w.b.Flush()
}

// shellQuoted quotes a path for a shell. It begins with a slash or a dot.
func shellQuoted(path string) string {
	if !strings.HasPrefix(path, "/") && !strings.HasPrefix(path, "./") && !strings.HasPrefix(path, "../") {
		path = "./" + path
	}
	return "'" + strings.ReplaceAll(path, "'", `'\''`) + "'"
}
