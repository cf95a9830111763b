package dedupe_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"efsdedupe/dedupe"
)

// A scan names the files that are identical.
func ExampleScan() {
	dir, err := os.MkdirTemp("", "")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(dir)
	for name, content := range map[string]string{"a": "the same", "b": "the same", "c": "another!"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o666); err != nil {
			fmt.Println(err)
			return
		}
	}
	r, err := dedupe.Scan(context.Background(),
		dedupe.Selection{Roots: []string{dir}},
		dedupe.Engine{Mode: dedupe.Goroutines, Workers: dedupe.DefaultWorkers})
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, g := range r.Groups {
		for _, f := range g.Files {
			fmt.Println(filepath.Base(f.Path), f.Size)
		}
	}
	fmt.Println("complete:", r.Complete)
	// Output:
	// a 8
	// b 8
	// complete: true
}
