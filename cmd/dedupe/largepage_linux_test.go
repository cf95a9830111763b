//go:build large

package main

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"testing"
)

// manyGroups writes a report of groups of four files in folders with long names. Of two
// reports with different seeds, every second group is the same.
func manyGroups(w io.Writer, groups, seed int) error {
	const size, copies = 4096, 4
	b := bufio.NewWriterSize(w, 1<<20)
	files := groups * copies
	fmt.Fprintf(b, `{"schema":"dedupe.report/v2","roots":["/mnt/efs"],"mode":"goroutines","workers":64,"complete":true,`+
		`"stats":{"files":%d,"bytes":%d,"directories":1,"duplicate_groups":%d,"duplicate_files":%d,"reclaimable_bytes":%d},"problems":[],"groups":[`,
		files, files*size, groups, files-groups, (files-groups)*size)
	for g := range groups {
		if g > 0 {
			b.WriteByte(',')
		}
		digest := g*4 + seed*(g%2)
		fmt.Fprintf(b, `{"size":%d,"digest":"%016x%048d","reclaimable_bytes":%d,"reclaimable_allocated_bytes":0,"files":[`, size, uint64(digest)*0x9e3779b97f4a7c15, digest, (copies-1)*size)
		for i := range copies {
			if i > 0 {
				b.WriteByte(',')
			}
			n := (g*copies + i) * 7919 % 999_983
			fmt.Fprintf(b, `{"path":"/mnt/efs/department %02d/project-%04d/%d/a folder with a long name/file-%07d.dat","inode":%d,"mtime":"2026-01-01T00:00:00Z","links":1,"allocated":4096}`,
				n%40, n/40%2000, 2000+n%25, g*copies+i, g*copies+i+1)
		}
		b.WriteString("]}")
	}
	b.WriteString("]}")
	return b.Flush()
}

// TestLargePage checks how large pages of large reports are, and how much memory writing
// them takes.
func TestLargePage(t *testing.T) {
	const memory = 64 << 20
	for _, test := range []struct {
		groups, reports, most int
	}{
		{25_000, 1, 300_000},
		{25_000, 2, 300_000},
		{250_000, 1, 2_000_000},
		{250_000, 2, 2_000_000},
	} {
		t.Run(fmt.Sprint(test.groups, " groups, ", test.reports, " reports"), func(t *testing.T) {
			page, peak := pageOf(t, test.groups, test.reports)
			t.Logf("%d bytes, %d MiB of memory", len(page), peak>>20)
			if len(page) > test.most || peak > memory {
				t.Errorf("%d bytes, want at most %d; %d MiB of memory, want at most %d", len(page), test.most, peak>>20, memory>>20)
			}
			for _, says := range []string{" of " + map[int]string{25_000: "25,000", 250_000: "250,000"}[test.groups], "Searches only what this page lists"} {
				if !strings.Contains(page, says) {
					t.Errorf("the page does not say %q", says)
				}
			}
		})
	}
}

// pageOf has dedupe write the page of one or two reports that it reads from pipes. It
// returns the page and how much memory that took at most.
func pageOf(t *testing.T, groups, reports int) (page string, peak int64) {
	t.Helper()
	cmd := exec.Command(binary, "report", "--format", "html")
	var pipes []*os.File
	for i := range reports {
		r, w, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		defer w.Close()
		defer r.Close()
		cmd.Args = append(cmd.Args, fmt.Sprint("/dev/fd/", 3+i))
		cmd.ExtraFiles, pipes = append(cmd.ExtraFiles, r), append(pipes, w)
	}
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	for _, r := range cmd.ExtraFiles {
		r.Close()
	}
	written := make(chan error, 1)
	go func() {
		for i, w := range pipes {
			if err := manyGroups(w, groups, i); err != nil {
				written <- err
				return
			}
			if i < len(pipes)-1 {
				w.Close()
			}
		}
		written <- nil
	}()
	// The page ends before its process, which waits for the end of the last report.
	var b strings.Builder
	out := bufio.NewReader(stdout)
	for !strings.HasSuffix(b.String(), "</html>\n") {
		line, err := out.ReadString('\n')
		b.WriteString(line)
		if err != nil {
			t.Fatalf("%v: %s", err, &stderr)
		}
	}
	if err := <-written; err != nil {
		t.Fatal(err)
	}
	peak = peakMemory(t, cmd.Process.Pid)
	pipes[len(pipes)-1].Close()
	if err := cmd.Wait(); err != nil {
		t.Fatalf("%v: %s", err, &stderr)
	}
	return b.String(), peak
}
