package peers

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"efsdedupe/fixtures/efs"
)

// bench is what all experiments share.
type bench struct {
	Options
	launcher string // these three are programs
	empty    string
	reader   string
	floor    int64 // bytes of memory that the launcher makes of less
	programs []program
	missing  []string
	log      io.Writer // how far it is
}

// out returns the path of a file that programs write.
func (b *bench) out(name string) string { return filepath.Join(b.Dir, "out", name) }

// newBench builds the small programs and looks for the others.
func newBench(ctx context.Context, o Options, log io.Writer) (*bench, error) {
	dir, err := filepath.Abs(o.Dir)
	if err != nil {
		return nil, err
	}
	o.Dir = dir
	bin := filepath.Join(dir, "bin")
	b := &bench{Options: o, launcher: filepath.Join(bin, "launch"), empty: filepath.Join(bin, "empty"), reader: filepath.Join(bin, "read"), log: log}
	for _, sub := range []string{"bin", "out"} {
		if err := os.MkdirAll(filepath.Join(dir, sub), 0o755); err != nil {
			return nil, err
		}
	}
	for _, path := range []string{b.launcher, b.empty, b.reader} {
		source := "efsdedupe/cmd/experiment/internal/peers/" + filepath.Base(path)
		build := exec.CommandContext(ctx, "go", "build", "-trimpath", "-ldflags", "-s -w", "-o", path, source)
		build.Env = append(os.Environ(), "CGO_ENABLED=0")
		if out, err := build.CombinedOutput(); err != nil {
			return nil, fmt.Errorf("go build: %w: %s; run it inside the module", err, out)
		}
	}
	nothing, err := b.launch(ctx, b.command("nothing", b.empty))
	if err != nil {
		return nil, err
	}
	b.floor = nothing.Memory
	b.programs, b.missing = installed(ctx, known(o.Dedupe, b.reader))
	if !slices.ContainsFunc(b.programs, func(p program) bool { return p.Name == ours }) {
		return nil, fmt.Errorf("there is no %s; run make build, or name it with --dedupe", o.Dedupe)
	}
	return b, nil
}

// command returns a command whose output is discarded.
func (b *bench) command(name string, argv ...string) command {
	return command{name: name, argv: argv, stdin: os.DevNull, stdout: os.DevNull, stderr: b.out("stderr")}
}

// measure makes a tree and runs all programs on it.
func (b *bench) measure(ctx context.Context, t tree, r *result) (err error) {
	fmt.Fprintf(b.log, "making the tree, unless it is there\n")
	s, err := t.shape.makeSet(ctx, b.Dir, b.Seed)
	if err != nil {
		return err
	}
	r.base = ours
	m := &measured{tree: t, bench: b, root: s.dir, view: viewOf(s.dir, s.dir), result: r}
	if t.efs {
		m.root = filepath.Join(b.Dir, "mnt")
		m.view = viewOf(m.root, s.dir)
		options := efs.Elastic()
		options.Cold = true
		if m.mount, err = efs.Mount(s.dir, m.root, options); err != nil {
			return err
		}
		defer func() {
			if closing := m.mount.Close(); err == nil {
				err = closing
			}
		}()
	}
	if err := m.prepare(s); err != nil {
		return err
	}
	if !t.cold && !t.efs {
		if err := m.warm(ctx); err != nil {
			return err
		}
	}
	return m.rounds(ctx)
}

// measured is a tree while programs run on it.
type measured struct {
	tree
	*bench
	result   *result
	root     string // where programs look
	view     view
	mount    *efs.FileSystem // nil for a tree on disk
	programs []program
	commands []command
	truth    grouping
}

// prepare writes down what programs are asked for.
func (m *measured) prepare(s set) error {
	m.truth = m.view.grouping(s.groups(m.root))
	files := s.mustRead(m.root)
	m.result.Files, m.result.MustRead, m.result.Groups = len(s.files), len(files), len(m.truth.groups)
	if n := len(m.truth.unknown); n > 0 {
		return fmt.Errorf("%d files of %s are gone, such as %q: remove it, and the next run makes it again", n, s.dir, m.truth.unknown[0])
	}
	j := job{root: m.root, list: m.out("list"), files: files, workers: 2}
	if m.efs {
		j.workers = 64
	}
	if err := os.WriteFile(j.list, []byte(strings.Join(files, "\x00")), 0o666); err != nil {
		return err
	}
	for _, p := range m.bench.programs {
		if p.Name == processes && !m.processes {
			continue
		}
		j.out = m.out(p.Name)
		m.programs = append(m.programs, p)
		m.commands = append(m.commands, p.command(j))
	}
	return nil
}

// warm lists the tree and reads all that programs must read, so that the first
// is not the one that waits for the disk.
func (m *measured) warm(ctx context.Context) error {
	err := filepath.WalkDir(m.root, func(_ string, d fs.DirEntry, err error) error {
		if err == nil {
			_, err = d.Info()
		}
		return err
	})
	if err != nil {
		return err
	}
	at := slices.IndexFunc(m.programs, func(p program) bool { return p.Name == reader })
	_, err = m.launch(ctx, m.commands[at])
	return err
}

func (m *measured) rounds(ctx context.Context) error {
	n := len(m.programs)
	fmt.Fprintf(m.log, "%d programs, %d runs of each, or as many as fit into %v: up to %v, and more for those that take longer\n", n, m.Runs, m.Budget, time.Duration(n)*m.Budget)
	return interleave(ctx, n, m.Runs, m.Budget, func(i, round int) (sample, error) {
		s, err := m.once(ctx, i)
		if err != nil {
			return s, err
		}
		s.Round = round
		m.note(m.result, s)
		if round == 0 && s.Failure == "" {
			m.check(i)
		}
		return s, nil
	})
}

// note keeps a sample, and says how far the rounds are.
func (b *bench) note(r *result, s sample) {
	r.Samples = append(r.Samples, s)
	fmt.Fprintf(b.log, "round %d  %-17s  %9v  %sabout %v left\n", s.Round+1, s.Program, s.Wall.Round(100*time.Microsecond),
		strings.TrimPrefix(s.Failure+"  ", "  "), left(r.Samples, b.Runs, b.Budget).Round(time.Second))
}

// once runs a program and counts what it did.
func (m *measured) once(ctx context.Context, i int) (sample, error) {
	var before efs.Counters
	switch {
	case m.cold:
		if err := dropPageCache(); err != nil {
			return sample{}, err
		}
	case m.mount != nil:
		m.mount.DropCaches()
		before = m.mount.Counters()
	}
	c := m.commands[i]
	os.Remove(c.out) // so that no answer is taken for that of another tree
	s, err := m.launch(ctx, c)
	if err != nil {
		return s, err
	}
	if m.mount != nil {
		m.mount.DropCaches() // waits for what is still read ahead
		s.EFS = since(before, m.mount.Counters())
	}
	if strings.HasPrefix(c.name, ours) && s.Failure == "" {
		return s, s.ask(c.out)
	}
	return s, nil
}

// ask takes from dedupe's report what only it can know.
func (s *sample) ask(report string) error {
	b, err := os.ReadFile(report)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(b, &s.Own); err != nil {
		return fmt.Errorf("%s: no report: %w", s.Program, err)
	}
	if s.Own.Stats.Processes > 0 {
		s.Memory = s.Own.Stats.PeakMemory // wait4 knows only the largest process
	}
	return nil
}

// check compares what a program found with the truth.
func (m *measured) check(i int) {
	p := m.programs[i]
	if p.parse == nil {
		return
	}
	var found [][]string
	b, err := os.ReadFile(m.commands[i].out)
	if err == nil {
		found, err = p.parse(b)
	}
	verdict := same
	if err != nil {
		verdict = "no answer: " + err.Error()
	} else if d := differences(m.view.grouping(found), m.truth); d != "" {
		verdict = d
	}
	m.result.verdict(p.Name, verdict)
}

// since is what was counted between two looks at the counters.
func since(before, after efs.Counters) *efs.Counters {
	return &efs.Counters{
		Opens:                after.Opens - before.Opens,
		Closes:               after.Closes - before.Closes,
		Reads:                after.Reads - before.Reads,
		BytesRead:            after.BytesRead - before.BytesRead,
		Lookups:              after.Lookups - before.Lookups,
		Getattrs:             after.Getattrs - before.Getattrs,
		Accesses:             after.Accesses - before.Accesses,
		Readdirs:             after.Readdirs - before.Readdirs,
		Readlinks:            after.Readlinks - before.Readlinks,
		MeteredReadBytes:     after.MeteredReadBytes - before.MeteredReadBytes,
		MeteredMetadataBytes: after.MeteredMetadataBytes - before.MeteredMetadataBytes,
	}
}
