package main

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"efsdedupe/cmd/internal/cli"
)

// moved returns a command that tells those who still use it where it is now.
func moved(was, is string) func(cli.Std) *cobra.Command {
	return func(cli.Std) *cobra.Command {
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
}
