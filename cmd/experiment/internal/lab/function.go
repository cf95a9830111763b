package lab

import (
	"encoding/json"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"efsdedupe/cmd/experiment/internal/contenders"
	"efsdedupe/cmd/experiment/internal/results"
	"efsdedupe/cmd/experiment/internal/task"
)

// Product is the mode that runs no tasks but the product's own scan, in
// goroutines: with all that it does to read and hash less.
const Product = "product"

// Modes are those that need no contender.
func Modes() []string { return append(task.Modes(), task.Helpers, StepFunctions, Product) }

// NeedsProduct reports whether the program [Options.Product] runs.
func (o *Options) NeedsProduct() bool { return slices.Contains(o.Workloads, task.Scan) }

// NeedsPredictor reports whether the program [Options.Predictor] runs.
func (o *Options) NeedsPredictor() bool { return slices.Contains(o.Workloads, task.Predict) }

// ModesOf are the modes of a contender, as an experiment names them.
func ModesOf(c contenders.Contender) []string {
	modes := make([]string, len(c.Modes))
	for i, mode := range c.Modes {
		modes[i] = c.Name + "-" + mode
	}
	return modes
}

// function is a program that runs tasks, and how to ask it to, in one mode.
type function struct {
	name    string   // of the mode, as an experiment shows it
	command []string // program and arguments
	mode    string
	helpers int // that share the tasks; 0 where they are not shared
}

// functions returns who has a mode of a workload: more than one if different numbers of
// helpers can share its tasks.
func (o *Options) functions(workload, mode string) []function {
	program := o.Bootstrap
	if workload == task.Predict {
		program = o.Predictor
	}
	for _, c := range o.Contenders {
		if slices.Contains(ModesOf(c), mode) {
			return []function{{name: mode, command: c.Command, mode: strings.TrimPrefix(mode, c.Name+"-")}}
		}
	}
	switch mode {
	case Product:
		return []function{{name: mode, command: []string{o.Product}, mode: mode}}
	case task.Helpers:
		var all []function
		for _, n := range results.Steps(o.Helpers) {
			all = append(all, function{name: fmt.Sprintf("%s-%d", mode, n), command: []string{program}, mode: mode, helpers: n})
		}
		return all
	case StepFunctions:
		return []function{{name: fmt.Sprintf("%s-%d", mode, o.Helpers), command: []string{program}, mode: task.Join, helpers: o.Helpers}}
	}
	return []function{{name: mode, command: []string{program}, mode: mode}}
}

// event asks a function for its tasks.
func (x *running) event(s *series, root string) ([]byte, error) {
	if s.function.mode == Product {
		return json.Marshal(map[string]any{"path": ".", "mode": "goroutines", "workers": x.Workers, "limit": x.Tasks})
	}
	e := task.Event{
		Workload: s.workload.name, Mode: s.function.mode, Tasks: x.Tasks, Workers: x.Workers,
		Root: root, Steps: fibSteps, URL: s.workload.url, Helpers: s.function.helpers,
	}
	if s.Transitions > 0 {
		return stateMachineEvent(e)
	}
	return json.Marshal(e)
}

// check returns the algorithm of an answer's checksums, if they are those that
// the tasks must have.
func (f function) check(w *workload, body []byte) (digest string, err error) {
	var a task.Answer
	if f.mode == Product {
		a, err = answerOfReport(body, len(w.truth["blake3"]))
	} else {
		err = json.Unmarshal(body, &a)
	}
	if err != nil {
		return "", fmt.Errorf("its answer can't be read: %w: %.200s", err, body)
	}
	err = w.truth.check(a.Digest, a.Checksums)
	if err == nil && f.helpers > 0 && w.name == task.Scan {
		err = checkGroups(a.Checksums, a.Groups)
	}
	return a.Digest, err
}

// answerOfReport makes of a report's groups what tasks answer. The standard
// set's files are named in the order of the tasks, and all are in groups.
func answerOfReport(body []byte, tasks int) (task.Answer, error) {
	var report struct {
		Complete bool
		Groups   []struct {
			Digest string
			Files  []struct{ Path string }
		}
	}
	if err := json.Unmarshal(body, &report); err != nil {
		return task.Answer{}, err
	}
	digests := make(map[string]string)
	var names []string
	for _, g := range report.Groups {
		for _, f := range g.Files {
			name := filepath.Base(f.Path)
			names = append(names, name)
			digests[name] = g.Digest
		}
	}
	slices.Sort(names)
	if !report.Complete || len(names) != tasks {
		return task.Answer{}, fmt.Errorf("a report of %d of %d files", len(names), tasks)
	}
	a := task.Answer{Digest: "blake3"}
	for _, name := range names {
		a.Checksums = append(a.Checksums, digests[name])
	}
	return a, nil
}
