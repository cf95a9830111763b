package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"os"
	"runtime"
	"strings"
	"text/tabwriter"
	"unicode/utf8"

	"github.com/dustin/go-humanize"
	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"efsdedupe/cmd/internal/cli"
	"efsdedupe/dedupe"
	"efsdedupe/dedupe/index"
	"efsdedupe/dedupe/limits"
	"efsdedupe/dedupe/mount"
	"efsdedupe/dedupe/report"
)

// checkup is what dedupe doctor found, as JSON has it.
type checkup struct {
	Schema  string       `json:"schema"`
	Tool    report.Tool  `json:"tool"`
	Machine machineFacts `json:"machine"`
	Tree    treeFacts    `json:"tree"`
	Advice  []advice     `json:"advice"` // empty if there is nothing to change
}

const checkupSchema = "dedupe-doctor/1"

// machineFacts is what this process may use.
type machineFacts struct {
	System         string  `json:"system"` // such as linux/amd64
	Kernel         string  `json:"kernel"`
	Cgroups        string  `json:"cgroups"`         // such as v2; empty for none
	Processors     int     `json:"processors"`      // that the Go runtime uses
	ProcessorLimit float64 `json:"processor_limit"` // of cgroups; 0 means no limit
	ProcessorsFrom string  `json:"processor_limit_from,omitempty"`
	MemoryLimit    int64   `json:"memory_limit_bytes"` // for dedupe and its workers; 0 means no limit
	MemoryFrom     string  `json:"memory_limit_from,omitempty"`
	Descriptors    uint64  `json:"descriptors"`            // that this process may have open
	Threads        *int    `json:"threads_left,omitempty"` // that this user and container may start; nil means no limit
	Workers        workers `json:"workers"`                // of a scan without --workers
}

// workers is how many workers run in each mode.
type workers struct {
	Goroutines int `json:"goroutines"`
	Processes  int `json:"processes"`
}

// treeFacts is what is known about the file system of a path.
type treeFacts struct {
	Path        string   `json:"path"`
	PathBase64  []byte   `json:"path_base64,omitempty"` // if it is not UTF-8
	Type        string   `json:"type"`                  // such as nfs4; empty if unknown
	Source      string   `json:"source"`
	Point       string   `json:"mount_point"`
	PointBase64 []byte   `json:"mount_point_base64,omitempty"` // if it is not UTF-8
	Options     []string `json:"options"`
	ReadAhead   *int64   `json:"read_ahead_bytes,omitempty"` // nil if unknown
	Index       bool     `json:"index"`                      // a scan can use an index
	IndexFile   string   `json:"index_file"`                 // of --index auto; empty if there is no place for one
}

// advice is something to change.
type advice struct {
	ID      string `json:"id"`
	Problem string `json:"problem"`
	Change  string `json:"change"`
}

func doctorCommand(s cli.Std) *cobra.Command {
	format := report.Text
	cmd := &cobra.Command{
		Use:   "doctor [flags] [PATH]",
		Short: "Report what this machine and a mount support, and what to change",
		Long: `Report what this machine and the mount of PATH support: processors, memory,
descriptors and threads, and so how many workers a scan has; the file system,
its options, and whether an index can be used there. Then say what to change to
make scans faster or cheaper. PATH is the current directory unless you name one.

It reads no file below PATH and changes nothing.

Exit codes: 0 the report was written, whatever it advises; 2 PATH does not
exist; 130 interrupted.`,
		Example: `  dedupe doctor /mnt/efs
  dedupe doctor --format json /mnt/efs`,
		Args: cli.Args("[PATH]"),
		RunE: func(cmd *cobra.Command, args []string) error {
			path := "."
			if len(args) > 0 {
				path = args[0]
			}
			c, err := cli.Await(cmd.Context(), func() (checkup, error) { return examine(path) })
			if err != nil {
				return err
			}
			return c.write(cmd.Context(), s.Out, format)
		},
	}
	cmd.Flags().Var(cli.OneOf(&format, report.Text, report.JSON), "format", "the format of the report")
	return cmd
}

// examine looks at this machine and at the mount of a path. It fails if there is nothing at
// the path.
func examine(path string) (checkup, error) {
	if _, err := os.Stat(path); errors.Is(err, fs.ErrPermission) {
		return checkup{}, fmt.Errorf("can't examine the mount: %w; name a directory or file that this user can reach, or run 'dedupe doctor' as another user", err)
	} else if err != nil {
		return checkup{}, fmt.Errorf("can't examine the mount: %w; name a directory or file that exists", err)
	}
	c := checkup{Schema: checkupSchema, Tool: report.ThisTool(program), Machine: examineMachine(), Advice: []advice{}}
	c.Tree.Path, c.Tree.PathBase64 = path, ifNotText(path)
	c.Tree.Options = []string{}
	c.advise(c.Machine.advice()...)
	c.advise(accessAdvice(path)...)
	on, err := mountOf(path)
	if err != nil {
		c.advise(advice{"mounts", "dedupe can't tell which file system this is: " + cli.Visible(err.Error()), "mount /proc, and name a path that nothing is mounted over"})
	} else {
		c.Tree.describe(on)
		c.advise(mountAdvice(on)...)
	}
	err = index.Usable(path)
	c.Tree.Index = err == nil
	c.advise(indexAdvice(err)...)
	if c.Tree.IndexFile, err = (&indexFlags{name: "auto"}).path(); err == nil {
		err = index.CheckFile(c.Tree.IndexFile)
	}
	if err != nil {
		c.advise(advice{"index_file", "--index auto does not work: " + cli.Visible(err.Error()), "scan with --index FILE, a file on this machine's own disk, or with --index dynamodb://TABLE"})
	}
	return c, nil
}

func (c *checkup) advise(all ...advice) { c.Advice = append(c.Advice, all...) }

// ifNotText returns the bytes of a name that is not UTF-8, for which JSON has no string.
func ifNotText(name string) []byte {
	if utf8.ValidString(name) {
		return nil
	}
	return []byte(name)
}

func examineMachine() machineFacts {
	m := machineFacts{System: runtime.GOOS + "/" + runtime.GOARCH, Cgroups: limits.CgroupVersions(), Processors: runtime.GOMAXPROCS(0)}
	var name unix.Utsname
	if err := unix.Uname(&name); err == nil {
		m.Kernel = unix.ByteSliceToString(name.Release[:])
	}
	m.ProcessorLimit, m.ProcessorsFrom = limits.Processors()
	m.MemoryLimit, m.MemoryFrom = limits.Memory(os.Getenv)
	var open unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &open); err == nil {
		m.Descriptors = open.Cur
	}
	if left := limits.TasksLeft(); left != math.MaxInt {
		m.Threads = &left
	}
	m.Workers.Goroutines = defaultWorkers(dedupe.Goroutines, m.MemoryLimit)
	m.Workers.Processes = defaultWorkers(dedupe.Processes, m.MemoryLimit)
	return m
}

// defaultWorkers returns how many workers a scan without --workers has.
func defaultWorkers(mode dedupe.Mode, memory int64) int {
	eng := dedupe.Engine{Mode: mode, Memory: memory}
	eng.Workers = eng.FittingWorkers()
	return eng.RunnableWorkers()
}

func mountOf(path string) (*mount.Mount, error) {
	real, err := mount.RealPath(path)
	if err != nil {
		return nil, err
	}
	all := mount.Read()
	on, _, err := all.Exactly(real)
	if err != nil {
		on, _, err = all.Of(real)
	}
	return on, err
}

func (t *treeFacts) describe(on *mount.Mount) {
	t.Type, t.Source, t.Options = on.Kind, on.Source, append(t.Options, on.Options()...)
	t.Point, t.PointBase64 = on.Point, ifNotText(on.Point)
	if n := on.ReadAhead(); n >= 0 {
		t.ReadAhead = &n
	}
}

func (c *checkup) write(ctx context.Context, out io.Writer, format report.Format) error {
	write := c.writeText
	if format == report.JSON {
		write = c.writeJSON
	}
	_, err := cli.Await(ctx, func() (struct{}, error) { return struct{}{}, write(out) })
	return err
}

func (c *checkup) writeJSON(out io.Writer) error {
	e := json.NewEncoder(out)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	return e.Encode(c)
}

func (c *checkup) writeText(out io.Writer) error {
	t := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	row := func(name, format string, args ...any) {
		fmt.Fprintf(t, "  %s\t%s\n", name, fmt.Sprintf(format, args...))
	}
	m := &c.Machine
	fmt.Fprintln(t, "This machine")
	row("system", "%s, kernel %s, cgroups %s", m.System, report.Printable(m.Kernel), cmp.Or(m.Cgroups, "none"))
	row("processors", "%d%s", m.Processors, m.processorLimit())
	row("memory limit", "%s", m.memoryLimit())
	row("descriptors", "%s", humanize.Comma(int64(min(m.Descriptors, math.MaxInt64))))
	row("threads", "%s", m.threads())
	row("workers", "%d goroutines, or %d processes", m.Workers.Goroutines, m.Workers.Processes)

	tree := &c.Tree
	fmt.Fprintf(t, "\n%s\n", report.Printable(tree.Path))
	row("file system", "%s", tree.fileSystem())
	row("options", "%s", cmp.Or(report.Printable(strings.Join(tree.Options, ",")), "unknown"))
	row("read-ahead", "%s", tree.readAhead())
	row("index", "%s", tree.index())

	fmt.Fprintln(t, "\nWhat to change")
	for _, a := range c.Advice {
		fmt.Fprintf(t, "  - %s.\n    %s.\n", a.Problem, strings.ToUpper(a.Change[:1])+a.Change[1:])
	}
	if len(c.Advice) == 0 {
		fmt.Fprintln(t, "  Nothing.")
	}
	return t.Flush()
}

func (m *machineFacts) processorLimit() string {
	if m.ProcessorLimit == 0 {
		return ""
	}
	return fmt.Sprintf(", of which %g may be used at once (%s)", m.ProcessorLimit, report.Printable(m.ProcessorsFrom))
}

func (m *machineFacts) memoryLimit() string {
	if m.MemoryLimit == 0 {
		return "none"
	}
	return fmt.Sprintf("%s (%s)", humanize.IBytes(uint64(m.MemoryLimit)), report.Printable(m.MemoryFrom))
}

func (m *machineFacts) threads() string {
	if m.Threads == nil {
		return "no limit"
	}
	return humanize.Comma(int64(*m.Threads)) + " more may start"
}

func (t *treeFacts) fileSystem() string {
	if t.Type == "" {
		return "unknown"
	}
	return fmt.Sprintf("%s, %s at %s", t.Type, report.Printable(t.Source), report.Printable(t.Point))
}

func (t *treeFacts) readAhead() string {
	if t.ReadAhead == nil {
		return "unknown"
	}
	return humanize.IBytes(uint64(*t.ReadAhead)) + "; dedupe asks for up to 1 MiB at a time, whatever it is"
}

func (t *treeFacts) index() string {
	if !t.Index {
		return "not used here: every scan reads everything"
	}
	return "reliable: later scans read only what has changed"
}
