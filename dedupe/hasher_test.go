package dedupe

import (
	"context"
	"encoding/hex"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/zeebo/blake3"
)

// TestDigests compares with digests from b3sum, for files of every size at which
// something changes: BLAKE3 chunks, the read buffer, the ends.
func TestDigests(t *testing.T) {
	path := filepath.Join(t.TempDir(), "file")
	h := new(LocalHasher)
	// From the official test vectors of BLAKE3: the input is 0, 1, ... 250, 0, 1 ...
	for size, want := range map[int]string{
		0:      "af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262",
		1:      "2d3adedff11b61f14c886e35afa036736dcd87a74d27b5c1510225d0f592e213",
		1024:   "42214739f095a406f3fc83deb889744ac00df831c10daa55189b5d121c855af7",
		102400: "bc3e3d41a1146b069abffad3c0d44860cf664390afce4d9661f7902e7943e085",
	} {
		content := make([]byte, size)
		for i := range content {
			content[i] = byte(i % 251)
		}
		write(t, content, path)
		d, w, err := single(t.Context(), h, asFound(t, path))
		if err != nil || hex.EncodeToString(d[:]) != want || w != (Work{Opens: 1, BytesRead: int64(size), FilesHashed: 1}) {
			t.Errorf("%d bytes: %v, %+v, %v; want %s", size, d, w, err, want)
		}
	}
	for _, size := range []int{bufferSize - 1, bufferSize, bufferSize + 1, 3*bufferSize + 7} {
		content := random(size)
		write(t, content, path)
		d, w, err := single(t.Context(), h, asFound(t, path))
		if err != nil || d != blake3.Sum256(content) || w.BytesRead != int64(size) {
			t.Errorf("%d bytes: %v, %+v, %v", size, d, w, err)
		}
	}
}

// midway is a context that calls a function when a Hasher checks, between two reads,
// whether it is cancelled.
type midway struct {
	context.Context
	looks int
	then  func()
}

func (c *midway) Err() error {
	if c.looks--; c.looks == 0 {
		c.then()
	}
	return nil
}

// TestChangedWhileRead changes a file between two reads of it.
func TestChangedWhileRead(t *testing.T) {
	content := random(3 * bufferSize)
	for name, test := range map[string]struct {
		change func(path string) error
		want   string
	}{
		"shrinks": {
			func(path string) error { return os.Truncate(path, bufferSize+10) },
			"changed during the scan: it ended after 131082 of 393216 bytes",
		},
		"grows": {
			func(path string) error { return os.Truncate(path, 4*bufferSize) },
			"changed during the scan: size was 393216 bytes, is 524288",
		},
		"is written to": {
			func(path string) error { return os.WriteFile(path, random(3*bufferSize), 0o666) },
			"changed during the scan: written to, or its inode touched",
		},
		"is replaced": {
			func(path string) error {
				write(t, content, path+".new")
				return os.Rename(path+".new", path)
			},
			"changed during the scan: replaced by another file",
		},
		"vanishes": {os.Remove, "changed during the scan: vanished (no such file or directory)"},
		"moves away": {
			func(path string) error { return os.Rename(path, path+".old") },
			"changed during the scan: vanished (no such file or directory)",
		},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "file")
			write(t, content, path)
			ctx := &midway{Context: t.Context(), looks: 2, then: func() {
				if err := test.change(path); err != nil {
					t.Fatal(err)
				}
			}}
			_, w, err := single(ctx, new(LocalHasher), asFound(t, path))
			var p *Problem
			if !errors.As(err, &p) || p.Path != path || p.Err.Error() != test.want || !errors.Is(err, ErrChanged) {
				t.Errorf("%v, want %s", err, test.want)
			}
			if w.Opens != 1 || w.BytesRead == 0 || w.FilesHashed != 0 {
				t.Errorf("what was done must be counted, and what wasn't not: %+v", w)
			}
		})
	}
}

func BenchmarkHash(b *testing.B) {
	path := filepath.Join(b.TempDir(), "file")
	for name, size := range map[string]int64{"4KiB": 4 << 10, "1MiB": 1 << 20} {
		b.Run(name, func(b *testing.B) {
			if err := os.WriteFile(path, make([]byte, size), 0o666); err != nil {
				b.Fatal(err)
			}
			f := asFound(b, path)
			h := new(LocalHasher)
			b.SetBytes(size)
			b.ReportAllocs()
			for b.Loop() {
				if _, _, err := single(b.Context(), h, f); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
