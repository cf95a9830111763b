//go:build large

package main

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"testing"

	"efsdedupe/fixtures/testkit"

	"golang.org/x/sys/unix"
)

// largeReport writes a report with one group of so many files, each in a folder of its
// own. With sorted keys, the files come before the size of their group.
func largeReport(w io.Writer, files int, sorted bool) error {
	b := bufio.NewWriterSize(w, 1<<20)
	const head = `"schema":"dedupe.report/v2","roots":["/mnt/efs"],"mode":"goroutines","workers":64,"complete":true,` +
		`"stats":{"files":1,"bytes":1,"directories":1,"duplicate_groups":1},"problems":[]`
	group := fmt.Sprintf(`"size":4096,"digest":"%064d","reclaimable_bytes":%d,"reclaimable_allocated_bytes":%[2]d`, 0, 4096*(files-1))
	if sorted {
		b.WriteString(`{"groups":[{"files":[`)
	} else {
		fmt.Fprintf(b, `{%s,"groups":[{%s,"files":[`, head, group)
	}
	for i := range files {
		if i > 0 {
			b.WriteByte(',')
		}
		fmt.Fprintf(b, `{"path":"/mnt/efs/a folder/of its own/%08d/file","inode":%d,"mtime":"2026-01-01T00:00:00.%09dZ","ctime":"2026-01-01T00:00:00Z","links":1,"allocated":4096}`, i, i+1, i+1)
	}
	if sorted {
		fmt.Fprintf(b, `],%s}],%s}`, group, head)
	} else {
		b.WriteString("]}]}")
	}
	return b.Flush()
}

// TestLargeReport converts and summarizes a report that takes more than the memory that
// it may take. The same report with 8 million files is 1.3 GB and takes no more.
func TestLargeReport(t *testing.T) {
	const limit, files = 64 << 20, 700_000 // 115 MB of JSON
	for _, test := range []struct {
		format string
		sorted bool
	}{{"text", false}, {"text", true}, {"csv", false}, {"csv", true}, {"fdupes", true}, {"json", false}, {"html", false}, {"html", true}} {
		t.Run(fmt.Sprint(test.format, ", sorted ", test.sorted), func(t *testing.T) {
			peak := peakOf(t, test.format, files, test.sorted)
			if t.Logf("%d MiB", peak>>20); peak > limit {
				t.Errorf("it took %d MiB of memory, more than %d", peak>>20, limit>>20)
			}
		})
	}
}

// peakOf runs dedupe report and returns how much memory it took at most. It measures
// between the last byte of output and the end of input.
func peakOf(t *testing.T, format string, files int, sorted bool) (peak int64) {
	cmd := exec.Command(binary, "report", "--format", format, "-")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	written := make(chan error, 1)
	go func() { written <- largeReport(stdin, files, sorted) }()
	readUntil(t, stdout, lastOf(format, files))
	if err := <-written; err != nil {
		t.Fatalf("%v: %s", err, &stderr)
	}
	peak = peakMemory(t, cmd.Process.Pid)
	stdin.Close()
	if err := cmd.Wait(); err != nil {
		t.Fatalf("%v: %s", err, &stderr)
	}
	return peak
}

// peakMemory returns how many bytes of memory a process has taken at most.
func peakMemory(t *testing.T, pid int) (peak int64) {
	t.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		t.Fatal(err)
	}
	_, after, _ := strings.Cut(string(status), "VmHWM:")
	if _, err := fmt.Sscanf(after, "%d kB", &peak); err != nil {
		t.Fatalf("%v: %s", err, status)
	}
	return peak << 10
}

// lastOf is what only the end of the output has.
func lastOf(format string, files int) string {
	switch format {
	case "text":
		return "Read 0 B in 0 opens"
	case "html":
		return "</html>"
	case "json":
		return `"folders_approximate":true}`
	}
	return fmt.Sprintf("/%08d/file", files-1)
}

// readUntil reads until it has read last.
func readUntil(t *testing.T, r io.Reader, last string) {
	var end []byte
	block := make([]byte, 1<<16)
	for !bytes.Contains(end, []byte(last)) {
		n, err := r.Read(block)
		end = append(end[max(0, len(end)-1<<12):], block[:n]...)
		if err != nil {
			t.Fatalf("%v before %s: %s", err, last, end)
		}
	}
}

// TestLargeRules applies rules to the same report, which reads it several times.
func TestLargeRules(t *testing.T) {
	const limit, files = 64 << 20, 200_000
	t.Chdir(t.TempDir())
	for _, sorted := range []bool{false, true} {
		in, err := os.Create("r.json")
		testkit.Must(t, err)
		testkit.Must(t, largeReport(in, files, sorted))
		testkit.Must(t, in.Close())
		format := map[bool]string{false: "json", true: "sh"}[sorted]
		args := []string{"report", "--format", format, "--keep", "newest", "--protect", "*/00000*/*", "r.json"}
		all, err := exec.Command(binary, args...).Output()
		testkit.Must(t, err)
		// The same again: with this much left to write, the program waits.
		const left, pipe = 8 << 10, 4 << 10
		cmd := exec.Command(binary, args...)
		stdout, err := cmd.StdoutPipe()
		testkit.Must(t, err)
		_, err = unix.FcntlInt(stdout.(*os.File).Fd(), unix.F_SETPIPE_SZ, pipe)
		testkit.Must(t, err)
		testkit.Must(t, cmd.Start())
		_, err = io.CopyN(io.Discard, stdout, int64(len(all)-left))
		testkit.Must(t, err)
		peak := peakMemory(t, cmd.Process.Pid)
		_, err = io.Copy(io.Discard, stdout)
		testkit.Must(t, errors.Join(err, cmd.Wait()))
		if t.Logf("%s: %d MiB", format, peak>>20); peak > limit {
			t.Errorf("%s, sorted %v: it took %d MiB of memory, more than %d", format, sorted, peak>>20, limit>>20)
		}
	}
}
