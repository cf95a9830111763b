package report

import (
	"bytes"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/go-json-experiment/json/jsontext"

	"efsdedupe/dedupe"
)

// fileJSON is a file as report.schema.json describes it.
type fileJSON struct {
	pathJSON
	Inode     uint64    `json:"inode"`
	MTime     time.Time `json:"mtime"`
	CTime     time.Time `json:"ctime,omitzero"`
	Links     int64     `json:"links,omitempty"`
	Allocated *int64    `json:"allocated,omitempty"`
	HardLink  bool      `json:"hard_link,omitempty"`
}

// FuzzAppendFile compares appendFile with encoding/json, and reads the result back.
func FuzzAppendFile(f *testing.F) {
	for _, path := range []string{"a/b", "", "a \"quoted\" \\ name", "\x00\n\x7f", "über/\u2028", "\xff\xfe", "<&>", strings.Repeat("long/", 800)} {
		f.Add(path, uint64(1<<63), int64(1_700_000_000_123_456_789), int64(2), true)
		f.Add(path, uint64(0), int64(-1), int64(0), false)
	}
	f.Fuzz(func(t *testing.T, path string, inode uint64, nanoseconds, links int64, link bool) {
		mtime := time.Unix(0, nanoseconds).UTC()
		at := moment{mtime.Unix(), int64(mtime.Nanosecond())}
		in := file{path: path, inode: inode, mtime: at, ctime: at, links: max(links, 0), hardLink: link}
		doc := fileJSON{pathOf(path), inode, mtime, time.Time{}, in.links, nil, link}
		if at != (moment{}) {
			doc.CTime = doc.MTime
		}
		if links > 0 {
			in.allocated = links / 2
			doc.Allocated = &in.allocated
		}
		var want bytes.Buffer
		if err := encode(&want, doc); err != nil {
			t.Fatal(err)
		}
		got := appendFile(nil, in)
		if want := strings.TrimSpace(want.String()); string(got) != want {
			t.Errorf("%s, want %s", got, want)
		}
		d := decoder{jsontext.NewDecoder(bytes.NewReader(got), jsontext.AllowInvalidUTF8(true))}
		again, err := d.file()
		if path == "" {
			in = again // no file has this path
		} else if err != nil || again != in {
			t.Errorf("%s: read as %+v, %v, want %+v", got, again, err, in)
		}
	})
}

// FuzzMoment checks that times of any year survive writing and reading.
func FuzzMoment(f *testing.F) {
	for _, seconds := range []int64{0, -1, lastSecond, lastSecond + 1, firstSecond, firstSecond - 1, math.MaxInt64, math.MinInt64 + 1} {
		f.Add(seconds, int64(0))
		f.Add(seconds, int64(500_000_000))
		f.Add(seconds, int64(1))
	}
	f.Fuzz(func(t *testing.T, seconds, nanoseconds int64) {
		in := moment{max(seconds, math.MinInt64+1), (nanoseconds%1e9 + 1e9) % 1e9}
		doc := appendMoment([]byte(`{"path":"a"`), "mtime", in)
		if inYears := !bytes.Contains(doc, []byte("mtime_unix")); inYears != in.fits() {
			t.Errorf("%s", doc)
		}
		d := decoder{jsontext.NewDecoder(bytes.NewReader(append(doc, '}')))}
		if got, err := d.file(); err != nil || got.mtime != in {
			t.Errorf("%s: read as %+v, %v, want %+v", doc, got.mtime, err, in)
		}
	})
}

func BenchmarkWriteJSON(b *testing.B) {
	g := dedupe.Group{Size: 1 << 20}
	for i := range 1000 {
		g.Copies = append(g.Copies, dedupe.CopyOf(dedupe.File{Path: "a/directory/with/a/file.txt", Inode: uint64(1000 + i), ModTime: dedupe.Timestamp{Sec: 1_700_000_000}}))
	}
	r := dedupe.Report{Groups: []dedupe.Group{g}}
	b.ReportAllocs()
	for b.Loop() {
		var out bytes.Buffer
		if err := Write(&out, JSON, r, nil, Options{}); err != nil {
			b.Fatal(err)
		}
	}
}
