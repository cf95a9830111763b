package main

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"efsdedupe/fixtures/testkit"
)

// predictor builds the program of predictions, which is in a module of its own.
func predictor(t *testing.T) string {
	t.Helper()
	program := filepath.Join(t.TempDir(), "experiment-predictor")
	testkit.Must(t, testkit.Build(program, ".", "-C", "predictor"))
	return program
}

// runPredict runs an experiment with predictions.
func runPredict(t *testing.T, args ...string) (stdout []byte, stderr string) {
	t.Helper()
	needBoxes(t)
	args = append([]string{"run", "--workload", "predict", "--predictor", predictor(t), "--tasks", "4", "--runs", "1", "--timeout", "5m"}, args...)
	cmd := exec.Command(experiment, args...)
	var said strings.Builder
	cmd.Stderr = &said
	out, err := cmd.Output()
	if strings.Contains(said.String(), "can't download") {
		t.Skip("PyPI and npm do not answer: go online: ", said.String())
	}
	if err != nil && len(out) > 0 {
		t.Fatalf("%v\n%s", err, said.String())
	}
	return out, said.String()
}

// TestPredict has every mode of every language agree on all logits, to the bit, or the
// experiment would end; and with golden.txt.
func TestPredict(t *testing.T) {
	out, said := runPredict(t, "--contenders", "--memory", "3008", "--modes", "goroutines,processes,processes-per-task", "--format", "json")
	var r struct {
		Rows []struct {
			Mode  string
			Calls []struct{ Outcome, Error string }
		}
	}
	if err := json.Unmarshal(out, &r); err != nil {
		t.Fatalf("%v: %s", err, said)
	}
	missing := map[string]bool{"goroutines": true, "goroutines-ungated": true, "processes": true, "processes-per-task": true}
	for language, program := range map[string]string{"python-": "python3", "rust-": "cargo"} {
		if _, err := exec.LookPath(program); err != nil {
			t.Logf("no contender %s: %v", language, err)
			continue
		}
		missing[language+"threads"] = true
	}
	for _, row := range r.Rows {
		delete(missing, row.Mode)
		for i, c := range row.Calls {
			if c.Outcome != "ok" || len(row.Calls) != 3 {
				t.Errorf("%s, call %d of %d: %s: %s", row.Mode, i, len(row.Calls), c.Outcome, c.Error)
			}
		}
	}
	if len(missing) > 0 {
		t.Errorf("no rows of %v: %s", missing, said)
	}
}

// TestPredictMemory has so many sessions that no function holds them: they are killed,
// and that is a result.
func TestPredictMemory(t *testing.T) {
	out, said := runPredict(t, "--memory", "256", "--tasks", "20", "--modes", "processes")
	if !strings.Contains(string(out), "out of memory") {
		t.Errorf("%s%s", out, said)
	}
}

// TestPredictOwnModel has a model that is none.
func TestPredictOwnModel(t *testing.T) {
	model := filepath.Join(t.TempDir(), "model.onnx")
	if err := os.WriteFile(model, []byte("no model"), 0o666); err != nil {
		t.Fatal(err)
	}
	out, said := runPredict(t, "--memory", "1769", "--model", model)
	if len(out) > 0 || !strings.Contains(said, "can't predict with the model") || !strings.Contains(said, model) || strings.Count(said, "\n") != 1 {
		t.Errorf("%s%s", out, said)
	}
}
