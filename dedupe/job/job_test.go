package job

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"

	"efsdedupe/dedupe"
	"efsdedupe/dedupe/report"
	"efsdedupe/fixtures"
	"efsdedupe/fixtures/testkit"
)

// fill fills the working directory with a tree that has traps, and returns what to scan.
func fill(t *testing.T, seed uint64) dedupe.Selection {
	t.Helper()
	if _, err := fixtures.Make(t.Context(), "tree", fixtures.Spec{Files: 60, Layout: fixtures.Tree, Seed: seed}); err != nil {
		t.Fatal(err)
	}
	rnd := rand.New(rand.NewPCG(seed, 0))
	for i := range 40 { // of all sizes that are read differently, many alike in their ends
		size := []int{0, 1, 5000, 64<<10 + 1, 96 << 10, 2<<20 + 1}[i%6]
		content := bytes.Repeat([]byte{'x'}, size)
		if size > 0 {
			content[size/2] = byte(rnd.IntN(3))
		}
		dir := []string{"a", "a/b", "z\xff", "tree/x{1}"}[i%4]
		testkit.Write(t, content, filepath.Join(dir, fmt.Sprintf("f%02d\xfe", i)))
	}
	testkit.Must(t, os.Mkdir("out", 0o777))
	for i := range 10 { // names of one inode, below several roots and outside
		testkit.Must(t, os.Link(fmt.Sprintf("a/f%02d\xfe", 4*i), []string{"z\xff", "tree", "out"}[i%3]+fmt.Sprintf("/link%d", i)))
	}
	testkit.Write(t, []byte("the report"), "a/own")
	top, err := os.Getwd()
	testkit.Must(t, err)
	t.Chdir("a")
	for range 45 { // deeper than a path may lead
		testkit.Must(t, os.Mkdir(strings.Repeat("d", 90), 0o777))
		t.Chdir(strings.Repeat("d", 90))
	}
	t.Chdir(top)
	all := []dedupe.Selection{
		{Roots: []string{"."}},
		{Roots: []string{"tree", "a", "a/b", "./z\xff"}},
		{Roots: []string{"a/../a", "tree"}, Filter: dedupe.Filter{MinSize: 1, Exclude: []string{"*1*", "x\\{1\\}/"}}},
		{Roots: []string{"z\xff", ".", "a/f00\xfe"}, Filter: dedupe.Filter{MaxSize: 1 << 20, Include: []string{"*\xfe", "**/link?"}}},
	}
	return all[seed%uint64(len(all))]
}

// disturb changes files between the walk and the first read, the same way each time.
func disturb(t *testing.T, grow bool) {
	size := int64(5000)
	if grow {
		size++
	}
	testkit.Must(t, os.Truncate("z\xff/f02\xfe", size))
	testkit.Must(t, os.Chmod("tree/x{1}/f03\xfe", 0o640))
}

// scanned returns the report of a scan.
func scanned(t *testing.T, sel dedupe.Selection, own []os.FileInfo, disturbing, nfs bool) string {
	t.Helper()
	r, err := dedupe.Scan(t.Context(), sel, dedupe.Engine{
		Mode: dedupe.Goroutines, Workers: 4, Ignore: own, NFS: nfs,
		Recall: func(context.Context, *dedupe.Inventory) {
			if disturbing {
				disturb(t, true)
			}
		},
	})
	testkit.Must(t, err)
	return text(t, r, func(b *bytes.Buffer, r dedupe.Report, o report.Options) error {
		return report.Write(b, report.JSON, r, nil, o)
	})
}

// text returns a report without what is measured.
func text(t *testing.T, r dedupe.Report, write func(*bytes.Buffer, dedupe.Report, report.Options) error) string {
	t.Helper()
	s := &r.Stats
	s.Work, s.Elapsed, s.CPU, s.PeakMemory, s.WorkerProcesses, s.NFS = dedupe.Work{}, 0, 0, 0, 0, nil
	r.Started, r.Finished = r.Started.Truncate(1<<62), r.Finished.Truncate(1<<62)
	var b bytes.Buffer
	testkit.Must(t, write(&b, r, report.Options{Dir: "/dir", Tool: report.Tool{Name: "test"}}))
	return strings.ReplaceAll(b.String(), `{"path"`, "\n"+`{"path"`)
}

func answered(t *testing.T, j *Job) string {
	t.Helper()
	r, parts, failed := j.Answer()
	if w := r.Stats.Work; w.FilesKnown != 0 || w.OpensSpared != 0 || w.BytesSpared != 0 {
		t.Errorf("without an index, %+v", w)
	}
	out := text(t, r, func(b *bytes.Buffer, r dedupe.Report, o report.Options) error {
		return report.WriteParts(b, report.JSON, r, parts, o)
	})
	testkit.Must(t, *failed)
	return out
}

// chaos runs units in this process: in any order, some twice, some at once, some not to the
// end, and with objects that are damaged meanwhile.
type chaos struct {
	t   *testing.T
	rnd *rand.Rand
	w   *worker
	dir string // of the store
	all []unit

	disturbs bool // once, before the first unit that does not walk
	damages  int  // so many objects
}

func (c *chaos) do(ctx context.Context, u unit) error {
	if c.disturbs && u.Stage != walking {
		c.disturbs = false
		disturb(c.t, true)
	}
	c.all = append(c.all, u)
	run := []unit{u}
	if c.rnd.IntN(4) == 0 { // again, or again much later
		run = append(run, c.all[c.rnd.IntN(len(c.all))], u)
	}
	if c.rnd.IntN(4) == 0 {
		slices.Reverse(run)
	}
	var err error
	for _, u := range run {
		if failed := c.w.run(ctx, u); failed != nil && (u.name() == run[0].name()) {
			err = failed
		}
	}
	if c.damages > 0 && c.rnd.IntN(10) == 0 {
		c.damages--
		c.damage()
	}
	return err
}

// damage truncates an object, or changes a byte in it.
func (c *chaos) damage() {
	entries, err := os.ReadDir(c.dir)
	testkit.Must(c.t, err)
	path := filepath.Join(c.dir, entries[c.rnd.IntN(len(entries))].Name())
	b, err := os.ReadFile(path)
	if err != nil || len(b) == 0 || strings.HasSuffix(path, lockFile) || strings.HasSuffix(path, beginObject) {
		return
	}
	at := c.rnd.IntN(len(b))
	if c.rnd.IntN(2) == 0 {
		testkit.Must(c.t, os.Truncate(path, int64(at)))
		return
	}
	b[at] ^= 1 << c.rnd.IntN(8)
	testkit.Must(c.t, os.Remove(path))
	testkit.Must(c.t, os.WriteFile(path, b, 0o666))
}

// TestChaos runs jobs in tiny units, however they are cut, repeated, ended early or
// damaged. The report must be that of a scan, byte by byte.
func TestChaos(t *testing.T) {
	for seed := range uint64(12) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Chdir(t.TempDir())
			sel := fill(t, seed)
			own, err := os.Stat("a/own")
			testkit.Must(t, err)
			disturbs := seed%2 == 0 // a walk that ran again would find what is there now
			want := scanned(t, sel, []os.FileInfo{own}, disturbs, seed%3 == 0)
			if disturbs {
				disturb(t, false)
			}

			rnd := rand.New(rand.NewPCG(seed, 1))
			spec := Spec{Selection: sel, Workers: 4, Limits: Limits{
				Entries: 1 + rnd.Int64N(100), Copies: 1 + rnd.Int64N(40), Bytes: 1 + rnd.Int64N(8<<20), Merged: 1 + rnd.Int64N(200),
			}}
			j, err := Open(t.TempDir(), spec)
			testkit.Must(t, err)
			defer j.Close()
			j.nfsAlways = seed%3 == 0
			id, _ := identityOf(own)
			c := &chaos{t: t, rnd: rnd, w: newWorker(j.store, spec, []identity{id}), dir: j.dir, disturbs: disturbs}
			if !disturbs {
				c.damages = 5
			}
			if seed%4 > 0 {
				c.w.late = func(context.Context) bool { return rnd.IntN(3) == 0 }
			}
			testkit.Must(t, j.run(t.Context(), Options{Concurrency: 1}, c.do))
			if diff := gocmp.Diff(want, answered(t, j)); diff != "" {
				t.Errorf("%+v (-scan +job):\n%s", spec.Limits, diff)
			}
		})
	}
}

// begin opens a job in small units, and returns a worker for it.
func begin(t *testing.T, sel dedupe.Selection) (*Job, *worker) {
	t.Helper()
	spec := Spec{Selection: sel, Workers: 4, Limits: Limits{Entries: 20, Copies: 10, Bytes: 1 << 20, Merged: 100}}
	j, err := Open(t.TempDir(), spec)
	testkit.Must(t, err)
	t.Cleanup(func() { j.Close() })
	return j, newWorker(j.store, spec, nil)
}

// TestConcurrent runs units at once, and each by two workers at once.
func TestConcurrent(t *testing.T) {
	t.Chdir(t.TempDir())
	sel := fill(t, 2)
	want := scanned(t, sel, nil, false, false)
	j, w := begin(t, sel)
	testkit.Must(t, j.run(t.Context(), Options{Concurrency: 4}, func(ctx context.Context, u unit) error {
		other := make(chan error)
		go func() { other <- newWorker(j.store, j.spec, nil).run(ctx, u) }()
		return cmp.Or(w.run(ctx, u), <-other)
	}))
	if diff := gocmp.Diff(want, answered(t, j)); diff != "" {
		t.Errorf("(-scan +job):\n%s", diff)
	}
}

// TestLost has some units fail again and again. What they were to find is a problem, and the
// report is not complete.
func TestLost(t *testing.T) {
	t.Chdir(t.TempDir())
	for i := range 100 {
		testkit.Write(t, []byte("all alike"), fmt.Sprintf("a/d%d/f", i))
	}
	for _, lost := range []stage{walking, reading} {
		j, w := begin(t, dedupe.Selection{Roots: []string{"a"}})
		losses := 0
		testkit.Must(t, j.run(t.Context(), Options{Concurrency: 1}, func(ctx context.Context, u unit) error {
			if u.Stage == lost && len(j.rounds) > 0 && losses < 2 {
				losses++
				return lostError{errors.New("it was killed")}
			}
			return w.run(ctx, u)
		}))
		r, parts, failed := j.Answer()
		problems, files := 0, 0
		for p := range parts.Problems {
			if problems++; !strings.HasPrefix(p.Path, "a") || !strings.HasSuffix(p.Err.Error(), "it was killed") {
				t.Error(p)
			}
		}
		for g := range parts.Groups {
			files += int(g.Copies)
		}
		testkit.Must(t, *failed)
		if r.Complete || r.Reason != dedupe.ReasonProblems || losses == 0 || problems == 0 || files+problems > 100 || lost == reading && files+problems < 100 {
			t.Errorf("%s: complete %v, %d units lost, %d problems, %d files in groups", lost, r.Complete, losses, problems, files)
		}
	}
	j, w := begin(t, dedupe.Selection{Roots: []string{"a"}})
	err := j.run(t.Context(), Options{Concurrency: 1}, func(ctx context.Context, u unit) error {
		if u.Stage == grouping {
			return lostError{errors.New("it was killed")}
		}
		return w.run(ctx, u)
	})
	if err == nil || !strings.Contains(err.Error(), `stage "groups"`) {
		t.Errorf("a job without groups ended: %v", err)
	}
}

// TestCancel cancels a job in the middle. No unit may run after that.
func TestCancel(t *testing.T) {
	t.Chdir(t.TempDir())
	j, w := begin(t, fill(t, 0))
	err := j.run(t.Context(), Options{Concurrency: 1}, func(ctx context.Context, u unit) error {
		if u.Stage == sizing {
			testkit.Must(t, j.Cancel())
		}
		return w.run(ctx, u)
	})
	if !errors.Is(err, errCancelled) || len(j.rounds) == 0 || j.rounds[len(j.rounds)-1].stage != walking {
		t.Errorf("error %v after %d rounds", err, len(j.rounds))
	}
}

// TestOpen opens a job twice, which must fail while the first one is open, and in a folder
// below a root.
func TestOpen(t *testing.T) {
	t.Chdir(t.TempDir())
	testkit.Must(t, os.MkdirAll("root/in", 0o777))
	testkit.Must(t, os.Symlink("root/in", "link"))
	spec := Spec{Selection: dedupe.Selection{Roots: []string{"root"}}, Limits: DefaultLimits()}
	for _, dir := range []string{"root", "root/in/deep/er", "link", "link/x", "./root/../root/in"} {
		if _, err := Open(dir, spec); err == nil || !strings.Contains(err.Error(), "inside the root") {
			t.Errorf("%s: %v", dir, err)
		}
	}
	first, err := Open("rootless", spec)
	testkit.Must(t, err)
	if _, err := Open("rootless", spec); err == nil || !strings.Contains(err.Error(), "another process works on this job") {
		t.Errorf("a second time: %v", err)
	}
	testkit.Must(t, first.Close())
	second, err := Open("rootless", spec)
	testkit.Must(t, err)
	if first.Resumed || !second.Resumed || !first.begun.Equal(second.begun) {
		t.Error("the second is not the first")
	}
	spec.HashAll = true
	other, err := Open("rootless", spec)
	testkit.Must(t, err)
	testkit.Must(t, second.Remove())
	testkit.Must(t, other.Close())
	if other.Resumed {
		t.Error("another job is resumed")
	}
}

// TestConfirm changes a file after all were read, as another NFS client may. It and all its
// names must be problems, in no group, as in a scan.
func TestConfirm(t *testing.T) {
	t.Chdir(t.TempDir())
	const size, files = 1000, 60
	var first string // to be read, in the order of inodes; a change shows only in the end
	least := uint64(math.MaxUint64)
	for i := range files {
		path := fmt.Sprintf("a/d%d/f%d", i%7, i)
		testkit.Write(t, bytes.Repeat([]byte{byte(i % 2)}, size), path)
		info, err := os.Stat(path)
		testkit.Must(t, err)
		if id, _ := identityOf(info); id.Inode < least {
			first, least = path, id.Inode
		}
	}
	testkit.Must(t, os.Link(first, "a/d3/name"))
	testkit.Must(t, os.Link(first, "a/d0/name"))
	sel := dedupe.Selection{Roots: []string{"a"}}
	for _, changing := range []bool{false, true} {
		change := func() {
			if changing {
				testkit.Must(t, os.Chmod(first, 0o600))
			}
		}
		var read atomic.Int64
		r, err := dedupe.Scan(t.Context(), sel, dedupe.Engine{Mode: dedupe.Goroutines, Workers: 1, NFS: true, Read: func(n int64) {
			if read.Add(n) == size*files {
				change()
			}
		}})
		testkit.Must(t, err)
		r.Workers = 4 // as in the job
		want := text(t, r, func(b *bytes.Buffer, r dedupe.Report, o report.Options) error {
			return report.Write(b, report.JSON, r, nil, o)
		})
		j, w := begin(t, sel)
		j.nfsAlways = true
		confirmed := 0
		testkit.Must(t, j.run(t.Context(), Options{Concurrency: 1}, func(ctx context.Context, u unit) error {
			if u.Stage == confirming {
				if confirmed++; confirmed == 1 {
					change()
				}
			}
			return w.run(ctx, u)
		}))
		if diff := gocmp.Diff(want, answered(t, j)); diff != "" || confirmed == 0 || r.Complete == changing {
			t.Errorf("changing %v, %d units that confirm, complete %v (-scan +job):\n%s", changing, confirmed, r.Complete, diff)
		}
	}
}

// TestPartsAlone scans a large directory among small ones. Each part of it must be a unit of
// its own, which lists the directory only once or twice.
func TestPartsAlone(t *testing.T) {
	t.Chdir(t.TempDir())
	for i := range 500 {
		testkit.Write(t, []byte("all alike"), fmt.Sprintf("a/large/f%d", i))
		testkit.Write(t, []byte("all alike"), fmt.Sprintf("a/d%d/f", i%100))
	}
	j, w := begin(t, dedupe.Selection{Roots: []string{"a"}})
	testkit.Must(t, j.run(t.Context(), Options{Concurrency: 1}, w.run))
	parts := 0
	for _, r := range j.rounds {
		for _, u := range r.units {
			if u.Stage != walking || u.Pack == "" {
				continue
			}
			all, err := unpack(j.store, u.Pack, (*taker).takeFrontier)
			testkit.Must(t, err)
			if slices.ContainsFunc(all, isPart) {
				parts++
				if len(all) != 1 {
					t.Errorf("a part of a directory is one of %d frontiers", len(all))
				}
			}
		}
	}
	if r, _, _ := j.Answer(); parts < 25 || !r.Complete || r.Stats.Files != 600 || r.Stats.Directories != 102 {
		t.Errorf("%d parts, %+v", parts, r.Stats)
	}
}
