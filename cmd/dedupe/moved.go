package main

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"
)

// movedCommand tells those who still use a command of the experiment where it is
// now.
func movedCommand(was, is string) *cobra.Command {
	words := strings.Fields(was)
	return &cobra.Command{
		Use:                words[len(words)-1],
		Hidden:             true,
		DisableFlagParsing: true,
		RunE: func(*cobra.Command, []string) error {
			return fmt.Errorf("'%s' has moved: build the experiment with 'make build', then run 'build/experiment %s'", was, is)
		},
	}
}
