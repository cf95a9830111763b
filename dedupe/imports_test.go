package dedupe

import (
	"os/exec"
	"slices"
	"strings"
	"testing"
)

// TestImports holds the direction in which packages import each other: commands
// know all, the engine and the cost model know nothing of one another, fixtures
// are the independent truth.
func TestImports(t *testing.T) {
	const module = "efsdedupe/"
	allowed := map[string][]string{ // packages of this module that one may import
		"dedupe":                {"dedupe/pool"},
		"dedupe/pool":           nil,
		"dedupe/cost":           nil,
		"dedupe/index":          {"dedupe"},
		"dedupe/index/dynamodb": {"dedupe/index"},
		"dedupe/report":         {"dedupe", "dedupe/cost"},
		"dedupe/service":        {"dedupe", "dedupe/cost", "dedupe/index", "dedupe/report"},
		"dedupe/runtimeapi":     nil,
		"dedupe/bench": {"dedupe/bench/box", "dedupe/bench/results", "dedupe/bench/task", "dedupe/cost", "dedupe/pool", "dedupe/runtimeapi",
			"fixtures", "fixtures/contenders", "fixtures/efs"},
		"dedupe/bench/box":      nil,
		"dedupe/bench/results":  {"dedupe/cost", "dedupe/report"},
		"dedupe/bench/task":     {"dedupe", "dedupe/pool"},
		"fixtures":              nil,
		"fixtures/contenders":   nil,
		"fixtures/dynalite":     nil,
		"fixtures/efs":          nil,
		"fixtures/peers":        {"fixtures", "fixtures/efs"},
		"fixtures/peers/empty":  nil,
		"fixtures/peers/launch": nil,
		"cmd/dedupe": {"dedupe", "dedupe/bench", "dedupe/bench/results", "dedupe/bench/task", "dedupe/cost", "dedupe/index", "dedupe/index/dynamodb",
			"dedupe/report", "dedupe/runtimeapi", "dedupe/service", "fixtures", "fixtures/contenders", "fixtures/efs"},
		"cmd/lambda": {"dedupe", "dedupe/bench/task", "dedupe/index", "dedupe/index/dynamodb", "dedupe/service"},
	}
	forbidden := map[string][]string{ // what a package must not know, though others may
		"dedupe":        {"net", "net/http"},
		"dedupe/cost":   {"os", "io/fs", "net", "net/http"},
		"dedupe/report": {"os", "net", "net/http"},
	}
	out, err := exec.Command("go", "list", "-f", `{{.ImportPath}} {{join .Imports " "}}`, module+"...").Output()
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(out)) {
		fields := strings.Fields(line)
		name := strings.TrimPrefix(fields[0], module)
		may, known := allowed[name]
		if !known {
			t.Errorf("package %s is not on the map: say here what it may import", name)
		}
		for _, imported := range fields[1:] {
			if ours, ok := strings.CutPrefix(imported, module); ok && !slices.Contains(may, ours) {
				t.Errorf("%s imports %s", name, ours)
			}
			if slices.Contains(forbidden[name], imported) {
				t.Errorf("%s imports %s", name, imported)
			}
			if strings.HasPrefix(imported, "github.com/aws/aws-lambda-go") && name != "cmd/lambda" {
				t.Errorf("%s imports %s", name, imported)
			}
		}
	}
}
