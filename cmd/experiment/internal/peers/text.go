package peers

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"runtime"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/google/renameio/v2"
	"golang.org/x/sys/unix"
)

// document is all that was found, for machines.
type document struct {
	Machine  string    `json:"machine"`
	Floor    int64     `json:"memory_floor_bytes"` // peak memory below it is shown as it
	Settings settings  `json:"settings"`
	Programs []program `json:"programs"`
	Missing  []string  `json:"missing,omitempty"`
	Results  []*result `json:"results"`
	Verdicts []verdict `json:"targets"`
}

// settings are the Options that the figures depend on.
type settings struct {
	Runs   int           `json:"runs"`
	Seed   uint64        `json:"seed"`
	Scale  float64       `json:"scale"`
	Budget time.Duration `json:"budget_ns"`
	Limit  time.Duration `json:"limit_ns"`
}

// machine says where this runs, as far as it can be told.
func machine() string {
	model := runtime.GOARCH
	if f, err := os.Open("/proc/cpuinfo"); err == nil {
		defer f.Close()
		for lines := bufio.NewScanner(f); lines.Scan(); {
			if key, value, _ := strings.Cut(lines.Text(), ":"); strings.TrimSpace(key) == "model name" {
				model = strings.TrimSpace(value)
				break
			}
		}
	}
	var u unix.Utsname
	unix.Uname(&u) // what it can't tell stays empty
	return fmt.Sprintf("%d cores of %s, %s %s", runtime.NumCPU(), model, unix.ByteSliceToString(u.Sysname[:]), unix.ByteSliceToString(u.Release[:]))
}

func (d *document) writeHead(w io.Writer) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintf(w, "%s; a peak memory of less than %.1f MiB shows as that\n\n", d.Machine, float64(d.Floor)/(1<<20))
	for _, p := range d.Programs {
		fmt.Fprintf(t, "%s\t%s\t%s\n", p.Name, p.Version, p.Command)
	}
	for _, m := range d.Missing {
		fmt.Fprintf(t, "%s\n", m)
	}
	return t.Flush()
}

// writeText writes a result as a table: medians, and dedupe's ratios to each
// program, which stand for dedupe divided by the other.
func (r *result) writeText(w io.Writer) error {
	fmt.Fprintf(w, "\n%s: %s", r.ID, r.Title)
	if r.MustRead > 0 {
		fmt.Fprintf(w, "; %s of %s files must be read, %s groups", humanize.Comma(int64(r.MustRead)), humanize.Comma(int64(r.Files)), humanize.Comma(int64(r.Groups)))
	}
	fmt.Fprintln(w)
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	_, onEFS := r.Rows[0].Medians[opens]
	head := "\truns\twall ms\tCPU ms\tpeak MiB\twall ×\tCPU ×\tmemory ×\t"
	if onEFS {
		head += "opens\tread MiB\tmetered MiB\tUSD a million\topens ×\tmetered ×\t"
	}
	fmt.Fprintln(t, head)
	for _, row := range r.Rows {
		m, x := row.Medians, row.Ratios
		fmt.Fprintf(t, "%s\t%d\t%s\t%s\t%s\t%s\t%s\t%s\t", row.Program, row.Runs,
			number(m, wall, 1e3, 1), number(m, cpu, 1e3, 1), number(m, memory, 1./(1<<20), 1),
			number(x, wall, 1, 2), number(x, cpu, 1, 2), number(x, memory, 1, 2))
		if onEFS {
			fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%s\t", number(m, opens, 1, 0), number(m, volume, 1./(1<<20), 1), number(m, metered, 1./(1<<20), 1),
				number(m, metered, 1e6*pricePerGB/(1<<30), 0), number(x, opens, 1, 2), number(x, metered, 1, 2))
		}
		fmt.Fprintln(t)
	}
	if err := t.Flush(); err != nil {
		return err
	}
	return r.writeNotes(w)
}

// pricePerGB is what EFS charges for a GB that is read with Elastic throughput,
// in USD. Source: Amazon EFS pricing, us-east-1.
const pricePerGB = 0.03

// number is a figure with some decimals, times a factor, or nothing.
func number(of map[string]float64, name string, factor float64, decimals int) string {
	v, ok := of[name]
	if !ok {
		return ""
	}
	return fmt.Sprintf("%.*f", decimals, v*factor)
}

// writeNotes writes who failed, who found something else, and dedupe's figures.
func (r *result) writeNotes(w io.Writer) error {
	agreed := 0
	for _, row := range r.Rows {
		if row.Failure != "" {
			fmt.Fprintf(w, "%s: %s\n", row.Program, row.Failure)
		}
		switch v := r.Verdicts[row.Program]; v {
		case "":
		case same:
			agreed++
		default:
			fmt.Fprintf(w, "%s is wrong: %s\n", row.Program, v)
		}
	}
	if r.Groups > 0 {
		fmt.Fprintf(w, "%d programs found the true groups\n", agreed)
	}
	for _, name := range []string{opensEach, memoryEach, processEach, growth} {
		if v, ok := r.Figures[name]; ok {
			fmt.Fprintf(w, "%s: %.5g\n", name, v)
		}
	}
	return nil
}

func (d *document) writeTargets(w io.Writer) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintf(t, "\ntree\ttarget\tat most\tis\t\n")
	for _, v := range d.Verdicts {
		is, held := fmt.Sprintf("%.5g", v.Value), "missed"
		switch {
		case !v.Measured:
			is, held = "", "not measured"
		case v.Held:
			held = "held"
		}
		fmt.Fprintf(t, "%s\t%s\t%.3g\t%s\t%s\n", v.Tree, v.target, v.AtMost, is, held)
	}
	return t.Flush()
}

// save writes the files that were asked for.
func (d *document) save(o Options) error {
	if o.JSON != "" {
		b, err := json.MarshalIndent(d, "", "\t")
		if err != nil {
			return err
		}
		if err := renameio.WriteFile(o.JSON, append(b, '\n'), 0o644); err != nil {
			return err
		}
	}
	if o.Markdown == "" {
		return nil
	}
	return renameio.WriteFile(o.Markdown, d.markdown(), 0o644)
}

// markdown is the table for the README: dedupe's ratios to each program.
func (d *document) markdown() []byte {
	var b bytes.Buffer
	var versions []string
	for _, p := range d.Programs {
		if p.Version != "" && p.Name != processes {
			versions = append(versions, p.Name+" "+p.Version)
		}
	}
	fmt.Fprintf(&b, "%s; %s. b3sum and read find nothing: they hash, or only read, the files that must be read.\n\n", d.Machine, strings.Join(versions, ", "))
	fmt.Fprintf(&b, "| tree | dedupe divided by | wall | CPU | memory | opens | metered bytes |\n| --- | --- | --- | --- | --- | --- | --- |\n")
	for _, r := range d.Results {
		title := r.ID + " " + r.Title
		for _, row := range r.Rows {
			x := row.Ratios
			if len(x) == 0 || r.ID == growthID {
				continue
			}
			name := row.Program
			if v, ok := r.Verdicts[name]; ok && v != same {
				name += " (other groups)"
			}
			fmt.Fprintf(&b, "| %s | %s | %s | %s | %s | %s | %s |\n", title, name, number(x, wall, 1, 2), number(x, cpu, 1, 2),
				number(x, memory, 1, 2), number(x, opens, 1, 2), number(x, metered, 1, 2))
			title = ""
		}
	}
	return b.Bytes()
}
