package report

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"efsdedupe/dedupe"
)

// FuzzAppendFile holds appendFile to what encoding/json writes.
func FuzzAppendFile(f *testing.F) {
	for _, path := range []string{"a/b", "", "a \"quoted\" \\ name", "\x00\n\x7f", "über/\u2028", "\xff\xfe", "<&>", strings.Repeat("long/", 800)} {
		f.Add(path, uint64(1<<63), int64(1_700_000_000_123_456_789), true)
		f.Add(path, uint64(0), int64(-1), false)
	}
	f.Fuzz(func(t *testing.T, path string, inode uint64, mtime int64, link bool) {
		var want bytes.Buffer
		if err := encode(&want, fileJSON{pathOf(path), inode, time.Unix(0, mtime).UTC(), link}); err != nil {
			t.Fatal(err)
		}
		got := appendFile(nil, dedupe.File{Path: path, Inode: inode, ModTime: timestamp(mtime)}, link)
		if want := strings.TrimSpace(want.String()); string(got) != want {
			t.Errorf("%s, want %s", got, want)
		}
	})
}

func BenchmarkWriteJSON(b *testing.B) {
	g := dedupe.Group{Size: 1 << 20, Files: make([]dedupe.File, 1000)}
	for i := range g.Files {
		g.Files[i] = dedupe.File{Path: "a/directory/with/a/file.txt", Inode: uint64(1000 + i), ModTime: dedupe.Timestamp{Sec: 1_700_000_000}}
	}
	r := dedupe.Report{Groups: []dedupe.Group{g}}
	b.ReportAllocs()
	for b.Loop() {
		var out bytes.Buffer
		if err := writeJSON(&out, r, nil); err != nil {
			b.Fatal(err)
		}
	}
}
