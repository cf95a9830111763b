package dedupe

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// A list could lead out of the directory that a scan must not leave.
func TestNoListsWithin(t *testing.T) {
	dir, err := os.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer dir.Close()
	eng := Engine{Mode: Goroutines, Workers: 1, Within: dir}
	if _, err := Scan(context.Background(), Selection{Files: []string{"/etc/passwd"}}, eng); err == nil || !strings.Contains(err.Error(), "within a directory") {
		t.Errorf("a list: %v", err)
	}
	if err := os.Symlink("/etc/passwd", filepath.Join(dir.Name(), "link")); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{"/etc/passwd", "../../../etc/passwd", "link", "none"} {
		_, err := Scan(context.Background(), Selection{Roots: []string{"."}, CopiesOf: path}, eng)
		if root := (*RootError)(nil); !errors.As(err, &root) || root.Path != path {
			t.Errorf("copies of %s: %v", path, err)
		}
		if there, err := eng.HasWithin(context.Background(), path); there || err != nil {
			t.Errorf("%s is there: %v", path, err)
		}
	}
}
