package dedupe

import (
	"context"
	"os"
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
	for _, sel := range []Selection{{Files: []string{"/etc/passwd"}}, {Roots: []string{"."}, CopiesOf: "/etc/passwd"}} {
		_, err := Scan(context.Background(), sel, Engine{Mode: Goroutines, Workers: 1, Within: dir})
		if err == nil || !strings.Contains(err.Error(), "within a directory") {
			t.Errorf("%+v: %v", sel, err)
		}
	}
}
