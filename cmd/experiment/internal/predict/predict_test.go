package predict

import (
	"os"
	"testing"
)

func TestPrepare(t *testing.T) {
	f, err := Prepare(t.Context(), os.Getenv("PD"), "", os.Stderr)
	t.Log(f, err)
}
