package lab

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math/big"
	"os"
	"os/exec"
	"path/filepath"
	"slices"

	"github.com/zeebo/blake3"

	"efsdedupe/cmd/experiment/internal/predict"
	"efsdedupe/cmd/experiment/internal/task"
	"efsdedupe/fixtures/lambda/runtimeapi"
)

// truth is the checksums that tasks must return, by the algorithm that they say
// they used; workloads without one have "".
type truth map[string][]string

// check returns what is wrong with the checksums of a call.
func (t truth) check(digest string, checksums []string) error {
	want, known := t[digest]
	if !known {
		return fmt.Errorf("checksums of the unknown algorithm %q", digest)
	}
	if len(checksums) != len(want) {
		return fmt.Errorf("%d checksums for %d tasks", len(checksums), len(want))
	}
	for i := range want {
		if checksums[i] != want[i] {
			return fmt.Errorf("the checksum of task %d is %.80q and must be %q: this was not the same computation", i, checksums[i], want[i])
		}
	}
	return nil
}

// checkGroups returns what is wrong with the groups of equal files, none of which is
// another name of one, if these are their true checksums.
func checkGroups(checksums []string, groups [][]int) error {
	want := make(map[string][]int)
	for task, checksum := range checksums {
		want[checksum] = append(want[checksum], task)
	}
	maps.DeleteFunc(want, func(_ string, tasks []int) bool { return len(tasks) < 2 })
	for _, tasks := range groups {
		if len(tasks) == 0 || tasks[0] < 0 || tasks[0] >= len(checksums) || !slices.Equal(tasks, want[checksums[tasks[0]]]) {
			return fmt.Errorf("the files of the tasks %v are not a group, or not all of it", tasks)
		}
		delete(want, checksums[tasks[0]])
	}
	if len(want) > 0 {
		return fmt.Errorf("%d groups of equal files are missing", len(want))
	}
	return nil
}

// add appends the digests of a task's content.
func (t truth) add(content []byte) {
	b, s := blake3.Sum256(content), sha256.Sum256(content)
	t["blake3"] = append(t["blake3"], hex.EncodeToString(b[:]))
	t["sha256"] = append(t["sha256"], hex.EncodeToString(s[:]))
}

// truthOfFiles hashes the first files of a directory, by name.
func truthOfFiles(dir string, n int) (truth, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	t := make(truth)
	for _, e := range entries[:min(n, len(entries))] {
		content, err := os.ReadFile(filepath.Join(dir, e.Name()))
		if err != nil {
			return nil, err
		}
		t.add(content)
	}
	return t, nil
}

// chartOf is the body that the server gives to a task: 16 KiB.
func chartOf(task int) []byte { return bytes.Repeat(fmt.Appendf(nil, "%08d", task), 2048) }

func truthOfFetch(n int) truth {
	t := make(truth)
	for task := range n {
		t.add(chartOf(task))
	}
	return t
}

// truthOfFib computes by doubling what tasks compute step by step. The sequence
// that begins with i and 1 has, at n, i times the Fibonacci number before the
// n-th, and the n-th.
func truthOfFib(n int, steps int64) truth {
	prime := new(big.Int).Sub(new(big.Int).Lsh(big.NewInt(1), 61), big.NewInt(1))
	before, at := fibonacci(steps-1, prime), fibonacci(steps, prime)
	t := truth{"": nil}
	for i := range n {
		g := new(big.Int).Mul(big.NewInt(int64(i)), before)
		t[""] = append(t[""], g.Add(g, at).Mod(g, prime).String())
	}
	return t
}

// fibonacci returns the n-th Fibonacci number modulo m:
// F(2k) = F(k)·(2F(k+1) − F(k)), F(2k+1) = F(k)² + F(k+1)².
func fibonacci(n int64, m *big.Int) *big.Int {
	a, b := big.NewInt(0), big.NewInt(1) // F(k), F(k+1)
	for bit := int64(1) << 62; bit > 0; bit >>= 1 {
		c := new(big.Int).Lsh(b, 1)
		c.Sub(c, a).Mul(c, a).Mod(c, m)
		d := new(big.Int).Add(new(big.Int).Mul(a, a), new(big.Int).Mul(b, b))
		d.Mod(d, m)
		if a, b = c, d; n&bit != 0 {
			a, b = d, new(big.Int).Mod(c.Add(c, d), m)
		}
	}
	return a
}

// truthOfPredictions predicts the images one after the other, outside of any box, and
// compares with what another runtime made of them. What is left to the modes is to do
// the same to the bit.
func (x *running) truthOfPredictions(ctx context.Context) (truth, error) {
	event, err := json.Marshal(task.Event{Workload: task.Predict, Mode: task.Serial, Tasks: x.Tasks, Workers: 1, Root: x.Predict.Images})
	if err != nil {
		return nil, err
	}
	var said tail
	f, err := runtimeapi.Start(ctx, func() *exec.Cmd {
		cmd := exec.Command(x.Predictor)
		cmd.Env = append(os.Environ(), x.Predict.Environment()...)
		cmd.Stderr = &said
		return cmd
	})
	if err != nil {
		return nil, fmt.Errorf("can't predict with the model %q: %w: %s", x.Predict.Model, err, said.String())
	}
	defer f.Close()
	r, err := f.Invoke(ctx, event, maxTimeout)
	if err == nil && r.ErrorType != "" {
		err = errors.New(r.ErrorMessage)
	}
	if err != nil {
		return nil, fmt.Errorf("can't predict with the model %q: %w", x.Predict.Model, err)
	}
	var a task.Answer
	if err := json.Unmarshal(r.Body, &a); err != nil {
		return nil, err
	}
	if !x.Predict.Own {
		err = predict.Check(a.Checksums)
	}
	return truth{a.Digest: a.Checksums}, err
}
