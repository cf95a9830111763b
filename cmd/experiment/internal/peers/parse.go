package peers

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"
)

// parser makes groups of names of what a program wrote. Where a format writes a
// newline in a name as it is, the pieces of the name are names next to each
// other; [view.identify] joins them.
type parser func(data []byte) ([][]string, error)

// groups drops groups of no names, which formats may have between separators.
func groups(all [][]string) [][]string {
	var some [][]string
	for _, g := range all {
		if len(g) > 0 {
			some = append(some, g)
		}
	}
	return some
}

// parseFdupes reads the format of fdupes, which rmlint has, too: a name a line,
// an empty line between groups. Nothing is escaped.
func parseFdupes(data []byte) ([][]string, error) {
	return separated(data, "\n")
}

// parseJdupes reads what jdupes -0 writes: as fdupes, with zero bytes, so that
// all names are whole.
func parseJdupes(data []byte) ([][]string, error) {
	return separated(data, "\x00")
}

func separated(data []byte, end string) ([][]string, error) {
	if len(data) > 0 && !strings.HasSuffix(string(data), end) {
		return nil, errors.New("the end is missing")
	}
	all := [][]string{nil}
	for name := range strings.SplitSeq(string(data), end) {
		if name == "" {
			all = append(all, nil)
			continue
		}
		all[len(all)-1] = append(all[len(all)-1], name)
	}
	return groups(all), nil
}

// parseFclones reads fclones' variant of fdupes' format: bytes that are not
// text are escaped.
func parseFclones(data []byte) ([][]string, error) {
	all, err := parseFdupes(data)
	if err != nil {
		return nil, err
	}
	for _, g := range all {
		for i := range g {
			if g[i], err = unescape(g[i]); err != nil {
				return nil, err
			}
		}
	}
	return all, nil
}

// unescape undoes STFU-8, the escaping of the Rust crate stfu8.
func unescape(s string) (string, error) {
	var b strings.Builder
	for {
		before, after, found := strings.Cut(s, `\`)
		b.WriteString(before)
		if !found {
			return b.String(), nil
		}
		if after == "" {
			return "", fmt.Errorf("%q ends in an escape", s)
		}
		plain := map[byte]byte{'\\': '\\', 'n': '\n', 'r': '\r', 't': '\t', '"': '"'}
		digits := map[byte]int{'x': 2, 'u': 6}[after[0]]
		c, known := plain[after[0]]
		switch {
		case known:
			b.WriteByte(c)
			s = after[1:]
			continue
		case digits == 0 || len(after) <= digits:
			return "", fmt.Errorf("%q has an unknown escape", s)
		}
		n, err := strconv.ParseUint(after[1:1+digits], 16, 32)
		if err != nil {
			return "", fmt.Errorf("%q has an unknown escape", s)
		}
		if digits == 2 {
			b.WriteByte(byte(n))
		} else {
			b.Write(utf8.AppendRune(nil, rune(n)))
		}
		s = after[1+digits:]
	}
}

// parseRdfind reads rdfind's results: a line a file, the name last and as it is,
// and a group from one first occurrence to the next.
func parseRdfind(data []byte) ([][]string, error) {
	const head = "# Automatically generated\n# duptype id depth size device inode priority name\n"
	const tail = "# end of file\n"
	body, begun := strings.CutPrefix(string(data), head)
	body, ended := strings.CutSuffix(body, tail)
	if !begun || !ended {
		return nil, errors.New("it is not a list that rdfind wrote, or not all of it")
	}
	var all [][]string
	for line := range strings.Lines(body) {
		line = strings.TrimSuffix(line, "\n")
		if !strings.HasPrefix(line, "DUPTYPE_") {
			if len(all) == 0 {
				return nil, fmt.Errorf("%q comes before the first group", line)
			}
			g := all[len(all)-1]
			g[len(g)-1] += "\n" + line
			continue
		}
		fields := strings.SplitN(line, " ", 8)
		if len(fields) < 8 {
			return nil, fmt.Errorf("%q lacks fields", line)
		}
		switch {
		case fields[0] == "DUPTYPE_FIRST_OCCURRENCE":
			all = append(all, nil)
		case len(all) == 0:
			return nil, fmt.Errorf("%q comes before the first group", line)
		}
		all[len(all)-1] = append(all[len(all)-1], fields[7])
	}
	return all, nil
}

// parseCzkawka reads czkawka's text: a head, then groups, each of them a line
// with its size, names in quotation marks with nothing escaped, and an empty
// line. Bytes that are not UTF-8 are lost.
func parseCzkawka(data []byte) ([][]string, error) {
	const begin = "---- Size "
	_, body, found := strings.Cut(string(data), "\n"+begin)
	if !found {
		if bytes.Contains(data, []byte("Not found any duplicates")) {
			return nil, nil
		}
		return nil, errors.New("it is not a list that czkawka wrote")
	}
	var all [][]string
	for part := range strings.SplitSeq(body, "\n"+begin) {
		_, names, found := strings.Cut(part, "\n")
		names = strings.TrimRight(names, "\n")
		if !found || len(names) < 2 || names[0] != '"' || names[len(names)-1] != '"' {
			return nil, fmt.Errorf("%q is not a group", part)
		}
		all = append(all, strings.Split(names[1:len(names)-1], "\"\n\""))
	}
	return all, nil
}

// own is what dedupe says of itself.
type own struct {
	Complete bool `json:"complete"`
	Stats    struct {
		Opens      int64 `json:"opens"`
		BytesRead  int64 `json:"bytes_read"`
		PeakMemory int64 `json:"peak_memory_bytes"`
		Processes  int64 `json:"worker_processes"`
	} `json:"stats"`
}

// parseDedupe reads a JSON report. It shares no code with what writes it.
func parseDedupe(data []byte) ([][]string, error) {
	var doc struct {
		Groups []struct {
			Files []struct {
				Path   string `json:"path"`
				Base64 []byte `json:"path_base64"`
			} `json:"files"`
		} `json:"groups"`
	}
	if err := json.Unmarshal(data, &doc); err != nil {
		return nil, err
	}
	var all [][]string
	for _, g := range doc.Groups {
		var names []string
		for _, f := range g.Files {
			if len(f.Base64) > 0 {
				f.Path = string(f.Base64)
			}
			names = append(names, f.Path)
		}
		all = append(all, names)
	}
	return groups(all), nil
}
