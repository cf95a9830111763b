package cli

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"unicode/utf8"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// helpWidth is how wide help may be, in columns.
const helpWidth = 80

// titleKey is the annotation of a flag that has the title of its group.
const titleKey = "title"

// Flags adds the flags that define defines to a command. Its help lists them in this
// order, under a title of their own.
func Flags(cmd *cobra.Command, title string, define func(*pflag.FlagSet)) {
	var f pflag.FlagSet
	define(&f)
	f.VisitAll(func(flag *pflag.Flag) { f.SetAnnotation(flag.Name, titleKey, []string{title}) })
	cmd.Flags().SortFlags = false
	cmd.Flags().AddFlagSet(&f)
}

// Args returns a check that a command has the arguments that are named as in its usage:
// "ROOT", "ROOT..." for one or more, "[ROOT...]" for any number. Its error names the
// first that is missing.
func Args(names ...string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) < len(names) && !strings.HasPrefix(names[len(args)], "[") {
			return fmt.Errorf("%s is missing: use '%s'", strings.TrimSuffix(names[len(args)], "..."), cmd.UseLine())
		}
		if len(args) > len(names) && (len(names) == 0 || !strings.Contains(names[len(names)-1], "...")) {
			return fmt.Errorf("%q is one argument too many: use '%s'", args[len(names)], cmd.UseLine())
		}
		return nil
	}
}

// OnlyCommands is the check of a command that only has others below it. Its error names
// the unknown command, and suggests a similar one, or a scan if it is a path.
func OnlyCommands(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	cmd.SuggestionsMinimumDistance = 2 // letters
	hint := ""
	if similar := cmd.SuggestionsFor(args[0]); len(similar) > 0 {
		hint = fmt.Sprintf(": did you mean '%s %s'?", cmd.CommandPath(), similar[0])
	} else if _, err := os.Lstat(args[0]); err == nil && hasCommand(cmd, "scan") {
		hint = fmt.Sprintf(": to scan it, use '%s scan %s'", cmd.CommandPath(), args[0])
	} else {
		hint = fmt.Sprintf("; see '%s --help'", cmd.CommandPath())
	}
	return fmt.Errorf("unknown command %q%s", args[0], hint)
}

func hasCommand(cmd *cobra.Command, name string) bool {
	for _, c := range cmd.Commands() {
		if c.Name() == name {
			return true
		}
	}
	return false
}

// nameCompletion adds the command that prints scripts for shells, unless it is disabled, with
// help in the words of the other commands.
func nameCompletion(root *cobra.Command, args []string) {
	root.InitDefaultCompletionCmd(args...)
	for _, c := range root.Commands() {
		if c.Name() == "completion" {
			c.Short = "Print a script that completes commands and flags in a shell"
			c.Long = c.Short + ".\n\n'" + c.CommandPath() + " SHELL --help' says how to install it."
		}
	}
}

// completeValues has shells complete the values of flags that are one of a few.
func completeValues(cmd *cobra.Command) {
	cmd.Flags().VisitAll(func(flag *pflag.Flag) {
		if c, ok := flag.Value.(interface{ values() []string }); ok {
			cmd.RegisterFlagCompletionFunc(flag.Name, cobra.FixedCompletions(c.values(), cobra.ShellCompDirectiveNoFileComp))
		}
	})
	for _, c := range cmd.Commands() {
		completeValues(c)
	}
}

// writeUsage writes how a command is used: examples, commands below it, and its flags in
// groups. No line is wider than helpWidth, unless it is an example.
func writeUsage(cmd *cobra.Command) error {
	var errs []error
	print := func(w io.Writer, format string, args ...any) {
		_, err := fmt.Fprintf(w, format, args...)
		errs = append(errs, err)
	}
	w := cmd.OutOrStderr()
	print(w, "Usage:\n  %s\n", cmd.UseLine())
	if cmd.HasExample() {
		print(w, "\nExamples:\n%s\n", cmd.Example)
	}
	if cmd.HasAvailableSubCommands() {
		print(w, "\nCommands:\n")
		for _, c := range cmd.Commands() {
			if c.IsAvailableCommand() {
				indent := 3 + c.NamePadding()
				print(w, "  %-*s %s\n", c.NamePadding(), c.Name(), Wrap(c.Short, helpWidth-indent, strings.Repeat(" ", indent)))
			}
		}
	}
	title := ""
	visitShown(cmd, func(flag *pflag.Flag) {
		if next := titleOf(flag); next != title {
			title = next
			print(w, "\n%s:\n", title)
		}
		print(w, "%s", describe(flag))
	})
	if cmd.HasAvailableSubCommands() {
		print(w, "\n'%s COMMAND --help' says more about a command.\n", cmd.CommandPath())
	}
	return errors.Join(errs...)
}

// visitShown calls visit for the flags that help is about, in the order in which the command
// has defined them.
func visitShown(cmd *cobra.Command, visit func(*pflag.Flag)) {
	cmd.Flags().SortFlags = false
	for _, other := range []bool{false, true} {
		cmd.Flags().VisitAll(func(flag *pflag.Flag) {
			if !flag.Hidden && (titleOf(flag) == otherTitle) == other {
				visit(flag)
			}
		})
	}
}

// otherTitle is the title of the last group, the flags that every command has.
const otherTitle = "Other"

func titleOf(flag *pflag.Flag) string {
	switch titles := flag.Annotations[titleKey]; {
	case len(titles) > 0:
		return titles[0]
	case flag.Name == "help" || flag.Name == "version":
		return otherTitle
	}
	return "Flags"
}

// describe returns the help of a flag: its name and value, and below them what it does.
func describe(flag *pflag.Flag) string {
	line, value, usage := parts(flag)
	if flag.Shorthand == "" {
		line = "    " + line
	}
	if value != "" {
		line += " " + value
	}
	const indent = "\n          "
	return "  " + line + indent + strings.ReplaceAll(Wrap(usage, helpWidth+1-len(indent), ""), "\n", indent) + "\n"
}

// parts returns the names of a flag, its value, and what it does.
func parts(flag *pflag.Flag) (names, value, usage string) {
	switch value, usage = pflag.UnquoteUsage(flag); value {
	case "int", "uint", "float":
		value = "number"
	case "ints", "int64Slice", "strings":
		value = "list"
	}
	names = "--" + flag.Name
	if flag.Shorthand != "" {
		names = "-" + flag.Shorthand + ", " + names
	}
	if zero := flag.DefValue; zero != "" && zero != "0" && zero != "false" && zero != "[]" {
		usage += fmt.Sprintf(" (default %s)", strings.Trim(wholeTime(zero), "[]"))
	}
	return names, value, usage
}

// wholeTime leaves out the zeros of a duration such as 168h0m0s.
func wholeTime(value string) string {
	for _, unit := range []string{"m0s", "h0m"} {
		if strings.HasSuffix(value, unit) {
			value = strings.TrimSuffix(value, unit[1:])
		}
	}
	return value
}

// Wrap breaks text between words into lines of at most width characters, all but
// the first behind indent.
func Wrap(text string, width int, indent string) string {
	var b strings.Builder
	room := width
	for i, word := range strings.Fields(text) {
		n := utf8.RuneCountInString(word)
		switch {
		case i == 0:
		case n+1 > room:
			b.WriteString("\n" + indent)
			room = width - len(indent)
		default:
			b.WriteByte(' ')
			room--
		}
		b.WriteString(word)
		room -= n
	}
	return b.String()
}
