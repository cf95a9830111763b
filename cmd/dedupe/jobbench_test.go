//go:build bench

package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// TestJobBench compares jobs with scans of very many small files, a third of them copies:
// their CPU time and memory, and the reports, also after 20 random kills. It writes a table
// to the file JOB_TABLE.
func TestJobBench(t *testing.T) {
	files, err := strconv.Atoi(os.Getenv("JOB_FILES"))
	if err != nil {
		t.Fatal("JOB_FILES is no number: use make bench-job")
	}
	t.Chdir(t.TempDir())
	smallFiles(t, files)
	var scans, jobs []float64
	var scanPeak, jobPeak int64
	for range 3 {
		used, peak := measured(t, "scan", "--format", "json", "-o", "scan.json", "tree")
		scans, scanPeak = append(scans, used), max(scanPeak, peak)
		used, peak = measured(t, "job", "run", "--store", "store", "--format", "json", "-o", "job.json", "tree")
		jobs, jobPeak = append(jobs, used), max(jobPeak, peak)
		sameAnswer(t)
	}
	kills := killed(t, median(jobs))
	sameAnswer(t)
	ratio := median(jobs) / median(scans)
	if ratio > 1.5 || jobPeak > 256<<20 {
		t.Errorf("a job takes %.2f times the CPU time of a scan, and %d MiB", ratio, jobPeak>>20)
	}
	table := fmt.Sprintf("| | CPU time | largest process |\n| --- | --- | --- |\n| `dedupe scan` | %.1f s | %d MiB |\n| `dedupe job run` | %.1f s, %.2f times as much | %d MiB |\n\nAfter %d kills at random moments the report was the same.\n",
		median(scans), scanPeak>>20, median(jobs), ratio, jobPeak>>20, kills)
	t.Log(table)
	if err := os.WriteFile(os.Getenv("JOB_TABLE"), []byte(table), 0o666); err != nil {
		t.Fatal(err)
	}
}

// smallFiles makes files of 1 to 4 KiB. Each third is a copy of one before it.
func smallFiles(t *testing.T, n int) {
	rnd := rand.New(rand.NewPCG(1, 1))
	random := rand.NewChaCha8([32]byte{1})
	var recent [][]byte
	for i := range n {
		dir := fmt.Sprintf("tree/%03d/%02d", i/10_000, i/100%100)
		if i%100 == 0 {
			if err := os.MkdirAll(dir, 0o777); err != nil {
				t.Fatal(err)
			}
		}
		content := make([]byte, 1024+rnd.IntN(3073))
		if i%3 == 2 {
			content = recent[rnd.IntN(len(recent))]
		} else if random.Read(content); len(recent) < 20_000 {
			recent = append(recent, content)
		} else {
			recent[rnd.IntN(len(recent))] = content
		}
		if err := os.WriteFile(fmt.Sprintf("%s/file-%07d", dir, i), content, 0o666); err != nil {
			t.Fatal(err)
		}
	}
}

// measured runs the program, and returns the seconds of CPU time that it and its workers
// took, and the peak memory of the largest of them.
func measured(t *testing.T, args ...string) (cpu float64, peak int64) {
	t.Helper()
	cmd := exec.Command(binary, args...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	if err := cmd.Run(); err != nil {
		t.Fatal(args, err, stderr.String())
	}
	var doc struct {
		Stats struct {
			Peak int64 `json:"peak_memory_bytes"`
		}
	}
	b, err := os.ReadFile(args[slices.Index(args, "-o")+1])
	if err != nil || json.Unmarshal(b, &doc) != nil {
		t.Fatal(err)
	}
	return (cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()).Seconds(), doc.Stats.Peak
}

// killed runs a job that is killed 20 times, after random times, before it may end.
func killed(t *testing.T, seconds float64) (kills int) {
	rnd := rand.New(rand.NewPCG(2, 2))
	for {
		cmd := exec.Command(binary, "job", "run", "--store", "store", "--format", "json", "-o", "job.json", "tree")
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		if kills == 20 {
			if err := cmd.Wait(); err != nil {
				t.Fatal(err)
			}
			return kills
		}
		after := time.Duration(rnd.Float64() * seconds / 15 * float64(time.Second))
		timer := time.AfterFunc(after, func() { cmd.Process.Kill() })
		err := cmd.Wait()
		timer.Stop()
		if err == nil {
			return kills
		}
		kills++
	}
}

// sameAnswer compares job.json with scan.json, except for what is measured and how much was read.
func sameAnswer(t *testing.T) {
	t.Helper()
	var found [2]string
	for i, name := range []string{"scan.json", "job.json"} {
		b, err := os.ReadFile(name)
		if err == nil {
			found[i], err = foundIn(b)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if found[0] != found[1] {
		t.Fatal("the reports differ")
	}
	if left, _ := filepath.Glob("store/*"); len(left) > 0 {
		t.Errorf("the store has %s", strings.Join(left, " "))
	}
}

func median(of []float64) float64 { return slices.Sorted(slices.Values(of))[len(of)/2] }
