package dedupe_test

import (
	"bytes"
	"context"
	"fmt"
	"log"
	"os"
	"path/filepath"
	"strings"

	"efsdedupe/dedupe"
	"efsdedupe/dedupe/index"
	"efsdedupe/dedupe/report"
)

// A scan lists the files that are identical.
func ExampleScan() {
	dir := makeFiles()
	defer os.RemoveAll(dir)
	r, err := dedupe.Scan(context.Background(),
		dedupe.Selection{Roots: []string{dir}},
		dedupe.Engine{Mode: dedupe.Goroutines, Workers: dedupe.DefaultWorkers})
	if err != nil {
		log.Fatal(err)
	}
	for _, g := range r.Groups {
		for f := range g.Files() {
			fmt.Println(filepath.Base(f.Path), f.Size)
		}
	}
	fmt.Println("complete:", r.Complete)
	// Output:
	// a 8
	// b 8
	// complete: true
}

// With an index, the next scan reads only the files that changed.
func ExampleScan_index() {
	dir := makeFiles()
	defer os.RemoveAll(dir)
	file, err := index.OpenLog(filepath.Join(dir, "index"))
	if err != nil {
		log.Fatal(err)
	}
	defer file.Close()
	sel := dedupe.Selection{Roots: []string{dir}}
	eng := dedupe.Engine{Mode: dedupe.Goroutines, Workers: dedupe.DefaultWorkers}
	use := index.New(file).Attach(sel, &eng)
	r, err := dedupe.Scan(context.Background(), sel, eng)
	if err != nil {
		log.Fatal(err)
	}
	if err := use.Flush(context.Background()); err != nil {
		log.Print("the next scan reads everything again: ", err)
	}
	fmt.Println("groups:", len(r.Groups))
	// Output:
	// groups: 1
}

// A saved report of any size can be read again and converted to another format.
func Example_readReport() {
	dir := makeFiles()
	defer os.RemoveAll(dir)
	r, err := dedupe.Scan(context.Background(),
		dedupe.Selection{Roots: []string{dir}},
		dedupe.Engine{Mode: dedupe.Goroutines, Workers: 1})
	if err != nil {
		log.Fatal(err)
	}
	var saved, converted bytes.Buffer
	if err := report.Write(&saved, report.JSON, r, nil, report.Options{}); err != nil {
		log.Fatal(err)
	}
	if _, err := report.Convert(&converted, report.Fdupes, &saved, report.Options{}); err != nil {
		log.Fatal(err)
	}
	fmt.Print(strings.ReplaceAll(converted.String(), dir+"/", ""))
	// Output:
	// a
	// b
}

// makeFiles makes a directory with two identical files and another of their size.
func makeFiles() (dir string) {
	dir, err := os.MkdirTemp("", "")
	if err != nil {
		log.Fatal(err)
	}
	for name, content := range map[string]string{"a": "the same", "b": "the same", "c": "another!"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o666); err != nil {
			log.Fatal(err)
		}
	}
	return dir
}
