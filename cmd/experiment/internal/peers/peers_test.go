package peers

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"efsdedupe/fixtures"
	"efsdedupe/fixtures/efs"
)

// TestMain is the test, or one of the programs that the tests compare: this
// binary, under their names.
func TestMain(m *testing.M) {
	switch filepath.Base(os.Args[0]) {
	case ours, "fdupes", "jdupes":
		if err := find(filepath.Base(os.Args[0]), os.Args[1:]); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// find is a finder that reads every file once. The one that goes by the name of
// jdupes finds only one group.
func find(name string, args []string) error {
	if args[0] == "--version" || args[0] == "version" {
		fmt.Println(name, "1.2.3")
		return nil
	}
	byContent := make(map[string][]string)
	opened := 0
	err := filepath.WalkDir(args[len(args)-1], func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		b, err := os.ReadFile(path)
		if opened++; len(b) > 0 {
			byContent[string(b)] = append(byContent[string(b)], path)
		}
		return err
	})
	type file struct {
		Path   string `json:"path"`
		Base64 []byte `json:"path_base64"`
	}
	type group struct {
		Files []file `json:"files"`
	}
	var groups []group
	for _, names := range byContent {
		if len(names) < 2 {
			continue
		}
		var g group
		for _, n := range names {
			g.Files = append(g.Files, file{n, []byte(n)})
		}
		groups = append(groups, g)
	}
	switch name {
	case ours:
		return errors.Join(err, json.NewEncoder(os.Stdout).Encode(map[string]any{"groups": groups, "stats": map[string]int{"opens": opened}}))
	case "jdupes":
		fmt.Printf("%s\x00%s\x00\x00", groups[0].Files[0].Path, groups[0].Files[1].Path)
		return err
	}
	for _, g := range groups {
		for _, f := range g.Files {
			fmt.Println(f.Path)
		}
		fmt.Println()
	}
	return err
}

// fake makes this binary the programs of some names, the only ones in PATH
// besides what the tests themselves need, and returns the path of the first.
func fake(t *testing.T, names ...string) string {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	programs := make(map[string]string)
	for _, name := range []string{"go", "sh", "sleep"} {
		if programs[name], err = exec.LookPath(name); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range names {
		programs[name] = self
	}
	dir := t.TempDir()
	for name, path := range programs {
		if err := os.Symlink(path, filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv("PATH", dir)
	t.Setenv("GORACE", "atexit_sleep_ms=0") // else each of them takes a second
	return filepath.Join(dir, names[0])
}

// TestSideBySide runs all of it on a small tree, with a peer that is right and
// one that is not.
func TestSideBySide(t *testing.T) {
	dedupe := fake(t, ours, "fdupes", "jdupes")
	dir := t.TempDir()
	table, samples := filepath.Join(dir, "table.md"), filepath.Join(dir, "samples.json")
	var out bytes.Buffer
	o := Defaults()
	o.Trees, o.Scale, o.Runs, o.Seed = "6,start", 0.0001, 2, 3
	o.Dir, o.Dedupe, o.Markdown, o.JSON = filepath.Join(dir, "peers"), dedupe, table, samples
	err := Run(t.Context(), o, &out, t.Output())
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"rdfind is missing; apt-get install rdfind\n",
		"\n6: 100 files of one size in one directory, a twentieth copies; 100 of 100 files must be read, 5 groups\n",
		"\njdupes is wrong: 4 of 5 groups not as they are, 8 files missed, 0 files called copies that are none\n",
		"\n2 programs found the true groups\n",
		"\nopens a file that must be read: 1\n",
		"missed", "held", "not measured",
	} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("it does not say %q:\n%s", want, out.String())
		}
	}
	var doc document
	b, err := os.ReadFile(samples)
	if err != nil || json.Unmarshal(b, &doc) != nil || len(doc.Results) != 2 {
		t.Fatalf("%v: %s", err, b)
	}
	count := make(map[string]int)
	for _, s := range doc.Results[0].Samples {
		count[s.Program]++
	}
	for _, name := range []string{ours, "fdupes", "jdupes", reader} {
		if count[name] != 2 {
			t.Errorf("%s ran %d times", name, count[name])
		}
	}
	b, err = os.ReadFile(table)
	if err != nil || !strings.Contains(string(b), "| 6 100 files") || !strings.Contains(string(b), "jdupes (other groups)") {
		t.Errorf("%v: %s", err, b)
	}
}

// TestOnEFS counts what programs do on the mount, where it is known: a file is
// opened once by each.
func TestOnEFS(t *testing.T) {
	b := newTestBench(t)
	efs.MountForTest(t, t.TempDir(), efs.Elastic())
	r := &result{ID: "7a"}
	files := shape{"standard", 6, ofFixtures(fixtures.TwoSets, 100_000)}
	if err := b.measure(t.Context(), tree{id: "7a", shape: files, efs: true}, r); err != nil {
		t.Fatal(err)
	}
	r.summarise()
	for _, name := range []string{ours, reader} {
		w, _ := r.row(name)
		if w.Medians[opens] != 6 || w.Medians[volume] != 600_000 || w.Ratios[opens] != 1 && name != ours {
			t.Errorf("%s: %+v", name, w)
		}
		// 98 KiB each, 4 KiB for each open and close, and the lookups and listings.
		if least, most := 6*(98<<10+2*4<<10), 6*(98<<10+10*4<<10); w.Medians[metered] < float64(least) || w.Medians[metered] > float64(most) {
			t.Errorf("%s: metered %v bytes, want %d to %d", name, w.Medians[metered], least, most)
		}
	}
	if r.Figures[opensEach] != 1 || r.Verdicts[ours] != same {
		t.Errorf("%v, %v", r.Figures, r.Verdicts)
	}
}

func TestRefused(t *testing.T) {
	dir := t.TempDir()
	for want, change := range map[string]func(o *Options){
		"there is no tree \"99\"; choose from 1, 2, 3": func(o *Options) { o.Trees = "1,99" },
		"--runs 0: choose at least 1":                  func(o *Options) { o.Runs = 0 },
		"--scale -1: choose more than 0":               func(o *Options) { o.Scale = -1 },
		"--scale NaN: choose more than 0":              func(o *Options) { o.Scale = math.NaN() },
		"run make build":                               func(o *Options) { o.Dir, o.Dedupe = dir, filepath.Join(dir, "missing") },
	} {
		o := Defaults()
		change(&o)
		if err := Run(t.Context(), o, t.Output(), t.Output()); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", want, err)
		}
	}
}

func TestChoose(t *testing.T) {
	all := comparisons(1)
	for list, want := range map[string]string{"": "1 2 3 4 5 6 7a 7b 8 9a 9b start growth", "1,7": "1 7a 7b", "7b,growth": "7b growth"} {
		chosen, err := choose(all, list)
		var ids []string
		for _, e := range chosen {
			ids = append(ids, e.id)
		}
		if got := strings.Join(ids, " "); err != nil || got != want {
			t.Errorf("%q: %s, %v", list, got, err)
		}
	}
}
