package main

import (
	"testing"

	"efsdedupe/cmd/internal/clitest"
)

func TestHelp(t *testing.T) {
	clitest.CheckHelp(t, program, run, "run", "mount", "invoke", "peers", "crowd", "version")
}
