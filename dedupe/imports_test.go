package dedupe

import (
	"os/exec"
	"slices"
	"strings"
	"testing"
)

const experiment = "cmd/experiment/internal/"

// mayImport says what each package may import from this module.
var mayImport = map[string][]string{
	"dedupe":                     {"dedupe/limits", "dedupe/mount", "dedupe/pool"},
	"dedupe/limits":              nil,
	"dedupe/pool":                {"dedupe/limits"},
	"dedupe/cost":                nil,
	"dedupe/index":               {"dedupe", "dedupe/limits", "dedupe/mount"},
	"dedupe/mount":               {"dedupe/limits"},
	"dedupe/mount/mounttest":     {"dedupe/mount"},
	"dedupe/index/dynamodb":      {"dedupe/index", "dedupe/internal/awshttp"},
	"dedupe/internal/awshttp":    nil,
	"dedupe/job/s3":              {"dedupe/internal/awshttp", "dedupe/jobs"},
	"dedupe/choose":              {"dedupe"},
	"dedupe/report":              {"dedupe", "dedupe/choose", "dedupe/cost", "dedupe/mount"},
	"dedupe/report/reporttest":   nil,
	"dedupe/job":                 {"dedupe", "dedupe/cost", "dedupe/index", "dedupe/limits", "dedupe/mount", "dedupe/pool", "dedupe/report"},
	"dedupe/jobs":                {"dedupe", "dedupe/choose", "dedupe/cost", "dedupe/job", "dedupe/limits", "dedupe/report"},
	"dedupe/jobs/stepfunctions":  {"dedupe", "dedupe/internal/awshttp", "dedupe/job", "dedupe/job/s3", "dedupe/jobs"},
	"dedupe/service":             {"dedupe", "dedupe/choose", "dedupe/cost", "dedupe/index", "dedupe/job", "dedupe/jobs", "dedupe/mount", "dedupe/report"},
	"fixtures":                   nil,
	"fixtures/aws":               nil,
	"fixtures/efs":               nil,
	"fixtures/lambda/box":        nil,
	"fixtures/lambda/runtimeapi": nil,
	"fixtures/nfs":               {"fixtures"},
	"fixtures/nfs/guest":         {"fixtures", "fixtures/lambda/runtimeapi", "fixtures/nfs"},
	"fixtures/testkit":           nil,
	"cmd/internal/cli":           {"dedupe/cost", "dedupe/limits", "dedupe/report"},
	"cmd/internal/docs":          nil,
	"cmd/internal/clitest":       {"cmd/internal/cli", "fixtures/testkit"},
	"cmd/dedupe": {"cmd/internal/cli", "dedupe", "dedupe/choose", "dedupe/cost", "dedupe/index", "dedupe/index/dynamodb", "dedupe/job", "dedupe/jobs", "dedupe/limits", "dedupe/mount",
		"dedupe/report", "dedupe/service", "fixtures"},
	"cmd/lambda": {"dedupe", "dedupe/index", "dedupe/index/dynamodb", "dedupe/job", "dedupe/job/s3", "dedupe/jobs", "dedupe/jobs/stepfunctions", "dedupe/limits",
		"dedupe/report", "dedupe/service"},
	"cmd/experiment": {experiment + "contenders", experiment + "lab", experiment + "peers", experiment + "predict", experiment + "results", experiment + "task",
		"cmd/internal/cli", "dedupe", "dedupe/cost", "dedupe/job", "dedupe/report", "fixtures", "fixtures/efs", "fixtures/lambda/box", "fixtures/lambda/runtimeapi"},
	"cmd/experiment/bootstrap": {experiment + "task"},
	experiment + "contenders":  nil,
	experiment + "lab": {experiment + "contenders", experiment + "predict", experiment + "results", experiment + "task",
		"dedupe/cost", "dedupe/pool", "fixtures", "fixtures/aws", "fixtures/efs", "fixtures/lambda/box", "fixtures/lambda/runtimeapi"},
	experiment + "peers":        {"fixtures", "fixtures/efs"},
	experiment + "peers/empty":  nil,
	experiment + "peers/launch": nil,
	experiment + "peers/read":   nil,
	experiment + "predict":      {experiment + "task"},
	experiment + "results":      {"cmd/internal/cli", "dedupe/cost", "dedupe/report"},
	experiment + "task":         {"dedupe", "dedupe/pool"},
}

// TestImports checks which packages import which: commands may import everything, the
// engine and the cost model nothing of each other, and fixtures must stay independent,
// because they are the truth to test against.
func TestImports(t *testing.T) {
	const module = "efsdedupe/"
	bootstraps := []string{"cmd/lambda", "cmd/experiment/bootstrap"} // of Lambda functions
	forbidden := map[string][]string{                                // what a package must not know, though others may
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
		may, known := mayImport[name]
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
			if strings.HasPrefix(imported, "github.com/aws/aws-lambda-go") && !slices.Contains(bootstraps, name) {
				t.Errorf("%s imports %s", name, imported)
			}
		}
	}
}

// TestLinks checks that programs that people install do not link what only the experiment
// needs.
func TestLinks(t *testing.T) {
	experiments := []string{
		"efsdedupe/cmd/experiment/", "efsdedupe/fixtures/efs", "efsdedupe/fixtures/lambda/", // contenders, FUSE, cgroups
		"github.com/hanwen/go-fuse", "github.com/go-analyze/charts", "github.com/guptarohit/asciigraph", "golang.org/x/image",
	}
	for program, lacks := range map[string][]string{
		"efsdedupe/cmd/dedupe": append([]string{"github.com/aws/aws-lambda-go"}, experiments...),
		"efsdedupe/cmd/lambda": append([]string{"github.com/spf13/cobra", "efsdedupe/fixtures"}, experiments...),
	} {
		for _, linked := range linkedBy(t, program) {
			if slices.ContainsFunc(lacks, func(prefix string) bool { return strings.HasPrefix(linked, prefix) }) {
				t.Errorf("%s links %s", program, linked)
			}
		}
	}
	// The prefixes are right if the experiment links something with each of them.
	linked := linkedBy(t, "efsdedupe/cmd/experiment")
	for _, prefix := range experiments {
		if !slices.ContainsFunc(linked, func(name string) bool { return strings.HasPrefix(name, prefix) }) {
			t.Errorf("the experiment does not link %s", prefix)
		}
	}
}

// linkedBy lists the packages that a program links.
func linkedBy(t *testing.T, program string) []string {
	t.Helper()
	out, err := exec.Command("go", "list", "-deps", program).Output()
	if err != nil {
		t.Fatal(err)
	}
	return strings.Fields(string(out))
}
