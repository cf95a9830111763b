package dedupe

import (
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/bmatcuk/doublestar/v4"
)

// FuzzExpand checks that a glob matches the same as the globs without braces that it
// stands for.
func FuzzExpand(f *testing.F) {
	for _, seed := range [][2]string{{"*.{a,b}", "x.b"}, {"{a,{b,c}}/**", "c"}, {"a{,/**}/b", "a/x/b"}, {`{\,,[{]}`, "{"}, {`[!{]{\{,}}`, "x{"}, {"{**/x,y}", "a/x"}, {"{}", "a"}, {"{a,b}{c,{d,}}", "b"}} {
		f.Add(seed[0], seed[1])
	}
	f.Fuzz(func(t *testing.T, glob, name string) {
		if strings.Count(glob, "{") > 6 || strings.Count(glob, ",") > 9 || len(name) > 50 || !utf8.ValidString(glob+name) || !doublestar.ValidatePattern(glob) {
			return
		}
		plain, ok := expand(glob, mostAlternatives)
		if !ok {
			return
		}
		got := slices.ContainsFunc(plain, func(g string) bool { return doublestar.MatchUnvalidated(g, name) })
		want := doublestar.MatchUnvalidated(glob, name)
		if got && !want && strings.Contains(glob, "*") {
			return // doublestar misses that * may match nothing before braces
		}
		if got != want {
			t.Errorf("%q matches %q: %v, those it stands for, %q: %v", glob, name, want, plain, got)
		}
	})
}

// TestHostileGlobs has globs that would take longer to match than the age of the
// universe. They must expand in few steps, or be refused.
func TestHostileGlobs(t *testing.T) {
	name := strings.Repeat("a", 255)
	for glob, refused := range map[string]bool{
		strings.Repeat("{*,*}", 60) + "x":                         false,
		strings.Repeat("*{a}", 200) + "x":                         false,
		strings.Repeat("{", 60) + "a" + strings.Repeat(",a}", 60): false,
		strings.Repeat("{a,b}", 60):                               true,
		strings.Repeat("{*,?}", 60) + "x":                         true,
		"{" + strings.Repeat("a*,", 2000) + "b}":                  false, // two of them
	} {
		f, err := Filter{Exclude: []string{glob}}.Plain()
		if (err != nil) != refused {
			t.Errorf("%.40q: %v, refused: %v", glob, err, refused)
		}
		if err == nil && f.excludes(name) != strings.Contains(glob, "a*,") && !strings.HasPrefix(glob, "{{") {
			t.Errorf("%.40q matches: %v", glob, f.excludes(name))
		}
	}
	if _, err := (Filter{Include: slices.Repeat([]string{"{a,b,c}"}, 600)}).Plain(); err == nil {
		t.Error("many globs have any number of alternatives")
	}
}

// FuzzCanMatch checks that a class is refused only if it matches no character of a name.
func FuzzCanMatch(f *testing.F) {
	for _, seed := range []string{"[a-z]", "[z-a]", "[^z-a]", "[/]", "[^/]", "[--/]", "[.-/]", `[\]-a]`, "[^\x01-.0-\U0010ffff]", "[^\x01-\U0010ffff]", "[\x00-\x01]", "[a-c-e]", "[--]", "[é-a]"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, glob string) {
		if len(glob) < 3 || glob[0] != '[' || after(glob, 0) != len(glob) || !utf8.ValidString(glob) || !doublestar.ValidatePattern(glob) {
			return
		}
		err := canMatch(glob)
		matched := false
		for r := range utf8.MaxRune + 1 {
			if r != 0 && r != '/' && utf8.ValidRune(r) && doublestar.MatchUnvalidated(glob, string(r)) {
				matched = true
				break
			}
		}
		if matched == (err != nil) && (err == nil || !strings.Contains(err.Error(), "range")) && !strings.ContainsAny(glob, "/\x00") {
			t.Errorf("%q matches a character: %v; %v", glob, matched, err)
		}
	})
}
