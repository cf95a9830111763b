package peers

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
)

// The names of the programs that the code itself talks of.
const (
	ours      = "dedupe"
	processes = "dedupe-processes"
	reader    = "read"
)

// program is something to run on a tree: a finder of duplicates if it has a
// parser, else a reference, which reads the files that a finder must read.
type program struct {
	Name    string `json:"name"`
	Version string `json:"version"`
	Command string `json:"command"` // as a shell would have it, with DIR, OUT and LIST

	path    string
	install string // how to get it
	args    func(j job) []string
	writes  bool // its answer to job.out itself; else to standard output
	parse   parser
}

// job is what a program is asked for.
type job struct {
	root    string   // the directory
	out     string   // the file for the answer
	list    string   // a file with the names of files that must be read
	files   []string // those names
	workers int      // files in flight, for the reference
}

// known are all programs, in the order of the rows, dedupe first. All look for
// the same thing: copies among the files of at least one byte, below hidden
// names, too, hard links being no copies. What of that a program does not do by
// default is a flag here. No cache is used. How many threads they run, and what
// they take for a proof, is left to them.
func known(dedupe, read string) []program {
	scan := func(more ...string) func(j job) []string {
		return func(j job) []string {
			return append(append([]string{"scan", "--quiet", "--format", "json"}, more...), j.root)
		}
	}
	return []program{
		// To standard output, as most others: --output would sync the file.
		{Name: ours, path: dedupe, install: "make build", args: scan(), parse: parseDedupe},
		{Name: processes, path: dedupe, install: "make build", args: scan("--mode", "processes"), parse: parseDedupe},
		// Without --no-ignore and --hidden it would leave files out by their names.
		{Name: "fclones", install: "cargo install fclones", writes: true, parse: parseFclones, args: func(j job) []string {
			return []string{"group", "--hidden", "--no-ignore", "--min", "1", "--format", "fdupes", "--output", j.out, j.root}
		}},
		// By default it looks at files from 8 KiB on, and has a cache; with found
		// duplicates it fails, without -W. Its JSON ends at the first name that is
		// not UTF-8: hence the text.
		{Name: "czkawka", path: "czkawka_cli", install: "cargo install czkawka_cli", writes: true, parse: parseCzkawka, args: func(j job) []string {
			return []string{"dup", "-m", "1", "-H", "-N", "-M", "-W", "-f", j.out, "-d", j.root}
		}},
		{Name: "jdupes", install: "apt-get install jdupes", parse: parseJdupes, args: func(j job) []string {
			return []string{"-r", "-q", "-0", j.root}
		}},
		{Name: "fdupes", install: "apt-get install fdupes", parse: parseFdupes, args: func(j job) []string {
			return []string{"-r", "-q", "-n", j.root}
		}},
		// Hard links are copies by default, hidden files are left out, and other
		// things than duplicates looked for. The size is in its units: 1B is 512.
		{Name: "rmlint", install: "apt-get install rmlint", writes: true, parse: parseFdupes, args: func(j job) []string {
			return []string{"-T", "df", "-r", "-L", "-s", "1", "--no-backup", "-o", "fdupes:" + j.out, j.root}
		}},
		{Name: "rdfind", install: "apt-get install rdfind", writes: true, parse: parseRdfind, args: func(j job) []string {
			return []string{"-outputname", j.out, j.root}
		}},
		// One process where the names are few, as of the standard set, else xargs.
		{Name: "b3sum", install: "apt-get install b3sum", args: func(j job) []string {
			if len(strings.Join(j.files, "")) > 64<<10 {
				return nil
			}
			return j.files
		}},
		{Name: reader, path: read, install: "part of this module", args: func(j job) []string {
			return []string{"-workers", strconv.Itoa(j.workers)}
		}},
	}
}

// installed returns those programs that are here, with their versions, and says
// of each other one how to get it.
func installed(ctx context.Context, all []program) (here []program, missing []string) {
	for _, p := range all {
		path, err := exec.LookPath(cmp.Or(p.path, p.Name))
		if err == nil {
			path, err = filepath.Abs(path)
		}
		if err != nil {
			missing = append(missing, fmt.Sprintf("%s is missing; %s", p.Name, p.install))
			continue
		}
		p.path = path
		if p.Name != reader {
			p.Version = version(ctx, path)
		}
		shown := p.command(job{root: "DIR", out: "OUT", list: "LIST", files: []string{"FILE..."}, workers: 2})
		p.Command = filepath.Base(shown.argv[0]) + " " + strings.Join(shown.argv[1:], " ")
		here = append(here, p)
	}
	return here, missing
}

// version is the first number with a dot that a program prints when it is
// asked; of dedupe, its revision.
func version(ctx context.Context, path string) string {
	out, _ := exec.CommandContext(ctx, path, "--version").CombinedOutput()
	if r := regexp.MustCompile(`revision ([0-9a-z]{7})[0-9a-z]*(, modified)?`).FindSubmatch(out); r != nil {
		return string(r[1]) + string(r[2])
	}
	return string(regexp.MustCompile(`\d+(\.\d+)+`).Find(out))
}

// command is a program with its arguments.
type command struct {
	name   string
	argv   []string
	stdin  string // these are files
	stdout string
	stderr string
	out    string // where the answer is
}

func (p program) command(j job) command {
	c := command{name: p.Name, stdin: os.DevNull, stdout: j.out, stderr: j.out + ".stderr", out: j.out}
	c.argv = append([]string{p.path}, p.args(j)...)
	if p.writes {
		c.stdout = os.DevNull
	}
	if p.parse == nil {
		c.stdin = j.list
	}
	if len(c.argv) == 1 { // it takes no list, and the names are too many
		c.argv = []string{"xargs", "-0", p.path}
	}
	return c
}
