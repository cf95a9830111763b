package main

import (
	"testing"

	"efsdedupe/cmd/internal/clitest"
)

func TestHelp(t *testing.T) {
	clitest.CheckHelp(t, program, run, "scan", "report", "cost", "cost advise", "cost import-prices", "fixtures", "index", "index stats", "index prune", "index verify",
		"job", "job run", "job plan", "serve", "doctor", "version")
}
