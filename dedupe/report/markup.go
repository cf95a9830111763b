package report

import (
	"fmt"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/dustin/go-humanize"
)

// markup is HTML. Only constants of this package and values that markupf escaped become
// markup.
type markup string

// fileName is the name of a file or folder: any bytes but zero.
type fileName string

// attribute is text in an attribute, or where HTML allows no elements.
type attribute string

// markupf formats HTML. It escapes every argument that is not markup, and separates the
// thousands of integers. It takes no template engine, which would slow the start of every
// command.
func markupf(format string, args ...any) markup {
	for i, a := range args {
		switch a := a.(type) {
		case markup:
			args[i] = string(a)
		case fileName:
			args[i] = string(visible(string(a), true, true))
		case attribute:
			args[i] = string(visible(string(a), false, false))
		case string:
			args[i] = string(visible(a, false, true))
		case int64:
			args[i] = humanize.Comma(a)
		case int:
			args[i] = humanize.Comma(int64(a))
		default:
			panic(fmt.Sprintf("markupf does not escape a %T", a))
		}
	}
	return markup(fmt.Sprintf(format, args...))
}

// combining is how many marks may be on one letter. More would cover other lines.
const combining = 3

// visible returns text as HTML in which nothing is hidden: control characters, marks that
// change the direction of text, other invisible characters and bytes that are not text are
// escaped, as in \x1b and \u202e. In names, spaces at the ends and backslashes are escaped
// too, so that every name looks different.
func visible(s string, isName, elements bool) markup {
	if plain(s) && (!isName || strings.TrimSpace(s) == s) {
		return escapeMarkup(s)
	}
	begin, end := "<u>", "</u>"
	if !elements {
		begin, end = "", ""
	}
	var b strings.Builder
	escaping, marks := false, 0
	for i := 0; i < len(s); {
		r, size := utf8.DecodeRuneInString(s[i:])
		if marks++; !unicode.Is(unicode.M, r) {
			marks = 0
		}
		atEnd := r == ' ' && (i == 0 || i == len(s)-1)
		escape := hidden(r, size) || marks > combining || isName && (r == '\\' || atEnd)
		if escape != escaping {
			b.WriteString(map[bool]string{true: begin, false: end}[escape])
			escaping = escape
		}
		if escape {
			b.WriteString(escaped(r, s[i:i+size]))
		} else {
			b.WriteString(string(escapeMarkup(s[i : i+size])))
		}
		i += size
	}
	if escaping {
		b.WriteString(end)
	}
	return markup(b.String())
}

// escapeMarkup is html.EscapeString, without the table of all entities that its package
// has.
func escapeMarkup(s string) markup {
	if !strings.ContainsAny(s, `&<>"'`) {
		return markup(s)
	}
	return markup(strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;", `"`, "&#34;", "'", "&#39;").Replace(s))
}

// hidden reports whether nobody can see a character, or it changes how others look.
func hidden(r rune, size int) bool {
	switch r {
	case utf8.RuneError:
		return size == 1
	case '\u115f', '\u1160', '\u2800', '\u3164', '\uffa0': // letters and a symbol without ink
		return true
	}
	return !unicode.IsPrint(r)
}

func escaped(r rune, raw string) string {
	switch {
	case r == utf8.RuneError && len(raw) == 1, r == ' ':
		return fmt.Sprintf(`\x%02x`, raw[0])
	case r == '\\':
		return `\\`
	}
	quoted := strconv.QuoteRuneToASCII(r)
	return strings.Trim(quoted, "'")
}
