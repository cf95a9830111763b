package main

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestRead has the reference read a list with a file that is not there.
func TestRead(t *testing.T) {
	dir := t.TempDir()
	var list []string
	for _, name := range []string{"a", "new\nline"} {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, make([]byte, 600_000), 0o666); err != nil {
			t.Fatal(err)
		}
		list = append(list, path)
	}
	if err := read([]string{"-workers", "2"}, strings.NewReader(strings.Join(list, "\x00"))); err != nil {
		t.Error(err)
	}
	list = append(list, filepath.Join(dir, "missing"))
	err := read([]string{"-workers", "2"}, strings.NewReader(strings.Join(list, "\x00")))
	if !errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), "missing") {
		t.Error(err)
	}
}

func TestRefused(t *testing.T) {
	for want, args := range map[string][]string{
		"-workers 0: want at least 1":   {"-workers", "0"},
		"flag provided but not defined": {"-more"},
	} {
		if err := read(args, nil); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v", args, err)
		}
	}
}
