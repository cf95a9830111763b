package cli

import "testing"

func TestWrap(t *testing.T) {
	for _, test := range []struct {
		text  string
		width int
		want  string
	}{
		{"", 5, ""},
		{"abc", 2, "abc"},
		{"ab cd ef", 5, "ab cd\n..ef"},
		{"ab cd ef gh", 5, "ab cd\n..ef\n..gh"},
		{"äö üß e", 5, "äö üß\n..e"},
		{"  a   b ", 5, "a b"},
	} {
		if got := Wrap(test.text, test.width, ".."); got != test.want {
			t.Errorf("%q in %d columns is %q, want %q", test.text, test.width, got, test.want)
		}
	}
}
