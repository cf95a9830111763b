package main

import (
	"bytes"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// collectNotices reads the licenses of all that is linked into the programs, which whoever
// passes the programs on has to include. A module without a license is an error.
func (r *release) collectNotices() error {
	goroot, err := r.goCommand("env", "GOROOT")
	if err != nil {
		return err
	}
	var b bytes.Buffer
	if err := writeNotices(&b, "the Go standard library", strings.TrimSpace(goroot)); err != nil {
		return err
	}
	paths := slices.Sorted(maps.Keys(r.modules()))
	dirs, err := r.goCommand(append([]string{"list", "-m", "-f", "{{.Dir}}"}, paths...)...)
	if err != nil {
		return err
	}
	for i, dir := range strings.Split(strings.TrimSpace(dirs), "\n") {
		if err := writeNotices(&b, paths[i], dir); err != nil {
			return err
		}
	}
	r.notices = b.Bytes()
	return nil
}

// goCommand runs the go command in the project and returns what it prints.
func (r *release) goCommand(args ...string) (string, error) {
	cmd := exec.Command("go", args...)
	cmd.Dir, cmd.Stderr = r.top, os.Stderr
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("go %s: %w", args[0], err)
	}
	return string(out), nil
}

// writeNotices writes the licenses and notices that are in a directory.
func writeNotices(b *bytes.Buffer, name, dir string) error {
	found := false
	notice := regexp.MustCompile(`(?i)^((un)?licen[sc]e|copying|notice)`)
	entries, err := os.ReadDir(dir)
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	for _, e := range entries {
		if !e.Type().IsRegular() || !notice.MatchString(e.Name()) {
			continue
		}
		data, err := os.ReadFile(filepath.Join(dir, e.Name()))
		if err != nil {
			return err
		}
		found = true
		fmt.Fprintf(b, "\n%s\n%s: %s\n%[1]s\n\n%[4]s", strings.Repeat("=", 72), name, e.Name(), data)
	}
	if !found {
		return fmt.Errorf("%s has no license in %s", name, dir)
	}
	return nil
}
