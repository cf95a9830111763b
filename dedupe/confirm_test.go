package dedupe

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"efsdedupe/fixtures"
)

// TestAsOnNFS scans trees as if they were on NFS and compares the groups with those found
// by comparing bytes. Tests with the build tag nfs use a real client.
func TestAsOnNFS(t *testing.T) {
	dir := t.TempDir()
	if _, err := fixtures.Make(t.Context(), filepath.Join(dir, "tree"), fixtures.Spec{Files: 200, Layout: fixtures.Tree, Seed: 5}); err != nil {
		t.Fatal(err)
	}
	for i, size := range []int{smallMax + 1, lastFrom - 1, lastFrom, 300_000, mediumMax, mediumMax + 1, 2*messageSize + 1} {
		for j := range 12 {
			write(t, variant(size, j%5), filepath.Join(dir, fmt.Sprint(i), fmt.Sprint(j)))
		}
	}
	within, err := os.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer within.Close()
	want := oracle(t, dir)
	for _, mode := range []Mode{Goroutines, Processes} {
		for _, workers := range []int{1, 30} {
			for _, hashAll := range []bool{false, true} {
				eng := options{Mode: mode, Workers: workers, HashAll: hashAll, Worker: worker}.engine()
				eng.NFS = true
				r, err := Scan(t.Context(), Selection{Roots: []string{dir}}, eng)
				if diff := cmp.Diff(want, groups(r)); err != nil || diff != "" || !r.Complete {
					t.Errorf("%s, %d workers, hash all %t: error %v, problems %v (-bytes +scan):\n%s", mode, workers, hashAll, err, r.Problems, diff)
				}
				eng.Within = within
				confined, err := Scan(t.Context(), Selection{Roots: []string{"."}}, eng)
				if err != nil || !confined.Complete || confined.Stats.DuplicateFiles != r.Stats.DuplicateFiles {
					t.Errorf("%s, %d workers, hash all %t, within: error %v, problems %v", mode, workers, hashAll, err, confined.Problems)
				}
			}
		}
	}
}

// TestConfirm changes files after they were read. A scan on NFS must notice, under each of
// their names, and must not mind the others.
func TestConfirm(t *testing.T) {
	for _, confined := range []bool{false, true} {
		t.Run(fmt.Sprint(confined), func(t *testing.T) {
			dir := t.TempDir()
			for _, name := range []string{"a/1", "a/2", "a/written", "b/linked", "b/removed", "a/replaced", "c/moved"} {
				write(t, []byte("equal"), filepath.Join(dir, name))
			}
			if err := os.Link(filepath.Join(dir, "b/linked"), filepath.Join(dir, "d")); err != nil {
				t.Fatal(err)
			}
			eng := options{Mode: Goroutines, Workers: 1}.engine()
			eng.NFS = true
			sel := Selection{Roots: []string{dir}}
			if confined {
				within, err := os.Open(dir)
				if err != nil {
					t.Fatal(err)
				}
				defer within.Close()
				eng.Within, sel.Roots = within, []string{"."}
			}
			left := 7 // inodes to read
			eng.Remember = func(_ context.Context, _ time.Time, signed []Signed) {
				if left -= len(signed); left == 0 {
					changeMany(t, dir)
				}
			}
			r, err := Scan(t.Context(), sel, eng)
			if err != nil || r.Complete {
				t.Fatalf("complete %t, error %v", r.Complete, err)
			}
			var got []string
			for _, p := range r.Problems {
				if !errors.Is(p, ErrChanged) {
					t.Errorf("%v", p)
				}
				got = append(got, strings.TrimPrefix(p.Path, dir+"/"))
			}
			slices.Sort(got)
			want := []string{"a/replaced", "a/written", "b/linked", "b/removed", "c/moved", "d"}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("problems (-want +got):\n%s", diff)
			}
			if len(r.Groups) != 1 || r.Groups[0].Names() != 2 {
				t.Errorf("groups %+v", r.Groups)
			}
		})
	}
}

// changeMany changes the tree of TestConfirm in many ways.
func changeMany(t *testing.T, dir string) {
	t.Helper()
	at := func(name string) string { return filepath.Join(dir, name) }
	later := time.Now().Add(time.Hour)
	if err := errors.Join(
		os.Chtimes(at("a/written"), later, later),
		os.Chtimes(at("d"), later, later),
		os.Remove(at("b/removed")),
		os.WriteFile(at("new"), []byte("other"), 0o666),
		os.Rename(at("new"), at("a/replaced")),
		os.Rename(at("c"), at("e")),
	); err != nil {
		t.Error(err)
	}
}

// TestTrials checks how much is read of files with the same first bytes. Once two were
// equal, the next is read to the end at once. Once that was in vain, only ends are read.
func TestTrials(t *testing.T) {
	const size = 300_000
	dir := t.TempDir()
	var files []File
	for i, last := range []byte{0, 0, 1, 2, 3} {
		content := make([]byte, size)
		content[size-1] = last
		path := filepath.Join(dir, fmt.Sprint(i))
		write(t, content, path)
		files = append(files, asFound(t, path))
	}
	var h LocalHasher
	read := func(files ...File) (bytes []int64) {
		for _, s := range h.Hash(t.Context(), Batch{Files: files, Want: StageEnds, NFS: true}) {
			if s.Problem != nil {
				t.Fatal(s.Problem)
			}
			bytes = append(bytes, s.Work.BytesRead)
		}
		return bytes
	}
	for _, test := range []struct {
		files []File
		want  []int64
	}{
		{files[:2], []int64{size, size}},
		{[]File{files[0], files[2]}, []int64{size, size}},
		{[]File{files[0], files[3], files[4]}, []int64{2 * endSize, 2 * endSize, 2 * endSize}},
	} {
		if got := read(test.files...); !slices.Equal(got, test.want) {
			t.Errorf("read %d bytes, want %d", got, test.want)
		}
	}
}
