package cli

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"efsdedupe/dedupe/report"
)

// manName is the command that writes the manual. Packages are made with it, so it is not in
// the help.
const manName = "man"

func manCommand(Std) *cobra.Command {
	return &cobra.Command{
		Use:                   manName + " DIR",
		DisableFlagsInUseLine: true,
		Short:                 "Write a manual page for each command into a directory",
		Hidden:                true,
		Args:                  Args("DIR"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := os.MkdirAll(args[0], 0o777); err != nil {
				return err
			}
			return writeManual(cmd.Root(), args[0])
		},
	}
}

// writeManual writes the pages of a command and of those below it, such as
// dedupe-index-verify.1. They say what the help says.
func writeManual(cmd *cobra.Command, dir string) error {
	if cmd.HasParent() && !cmd.IsAvailableCommand() {
		return nil
	}
	cmd.InitDefaultHelpFlag()
	cmd.InitDefaultVersionFlag()
	if err := os.WriteFile(filepath.Join(dir, pageName(cmd)+".1"), []byte(manualPage(cmd)), 0o666); err != nil {
		return err
	}
	for _, c := range cmd.Commands() {
		if err := writeManual(c, dir); err != nil {
			return err
		}
	}
	return nil
}

func pageName(cmd *cobra.Command) string { return strings.ReplaceAll(cmd.CommandPath(), " ", "-") }

// manualPage returns the page of a command. Source of the format: man(7).
func manualPage(cmd *cobra.Command) string {
	var b strings.Builder
	print := func(format string, args ...any) { fmt.Fprintf(&b, format, args...) }
	name := pageName(cmd)
	print(".TH %s 1 \"\" \"%s %s\" \"User Commands\"\n", roff(strings.ToUpper(name)), cmd.Root().Name(), report.Version)
	print(".SH NAME\n%s \\- %s\n", roff(name), roff(cmd.Short))
	print(".SH SYNOPSIS\n.B %s\n%s\n", roff(cmd.CommandPath()), roff(strings.TrimPrefix(cmd.UseLine(), cmd.CommandPath()+" ")))
	print(".SH DESCRIPTION\n")
	text := cmd.Long
	if text == "" {
		text = cmd.Short + "."
	}
	for i, paragraph := range strings.Split(text, "\n\n") {
		codes, found := strings.CutPrefix(paragraph, "Exit codes: ")
		switch {
		case found:
			print(".SH EXIT STATUS\n%s\n", roff(codes))
		case strings.HasPrefix(paragraph, "  "):
			print(".PP\n.nf\n%s\n.fi\n", roff(paragraph))
		case i > 0:
			print(".PP\n%s\n", roff(paragraph))
		default:
			print("%s\n", roff(paragraph))
		}
	}
	printCommands(print, cmd)
	printOptions(print, cmd)
	if cmd.HasExample() {
		print(".SH EXAMPLES\n.nf\n%s\n.fi\n", roff(cmd.Example))
	}
	if cmd.HasParent() {
		print(".SH SEE ALSO\n.BR %s (1)\n", roff(pageName(cmd.Parent())))
	}
	return b.String()
}

func printOptions(print func(string, ...any), cmd *cobra.Command) {
	print(".SH OPTIONS\n")
	title := ""
	visitShown(cmd, func(flag *pflag.Flag) {
		if next := titleOf(flag); next != title {
			title = next
			print(".SS %s\n", roff(title))
		}
		names, value, usage := parts(flag)
		print(".TP\n\\fB%s\\fR", roff(names))
		if value != "" {
			print(" \\fI%s\\fR", roff(value))
		}
		print("\n%s\n", roff(usage))
	})
}

func printCommands(print func(string, ...any), cmd *cobra.Command) {
	if cmd.HasAvailableSubCommands() {
		print(".SH COMMANDS\n")
	}
	for _, c := range cmd.Commands() {
		if c.IsAvailableCommand() {
			print(".TP\n.BR %s (1)\n%s\n", roff(pageName(c)), roff(c.Short))
		}
	}
}

// roff returns a text as a formatter shows it unchanged: no line of it is a request, and its
// hyphens can be copied to a command line.
func roff(text string) string {
	text = strings.NewReplacer(`\`, `\e`, `-`, `\-`, `'`, `\(aq`, "`", `\(ga`, `^`, `\(ha`, `~`, `\(ti`).Replace(text)
	lines := strings.Split(text, "\n")
	for i, line := range lines {
		if strings.HasPrefix(line, ".") {
			lines[i] = `\&` + line
		}
	}
	return strings.Join(lines, "\n")
}
