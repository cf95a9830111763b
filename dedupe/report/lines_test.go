package report

import (
	"bytes"
	"fmt"
	"slices"
	"testing"

	"efsdedupe/dedupe"
	"efsdedupe/dedupe/report/reporttest"
)

// large returns a report with a group that takes several lines.
func large() dedupe.Report {
	r := many()
	g := dedupe.Group{Size: 20, Reclaimable: 20 * 1999}
	g.Digest[0] = 7
	var files []dedupe.File
	for i := range 2000 {
		files = append(files, dedupe.File{Path: fmt.Sprintf("large/%050d", i), Inode: uint64(1e6 + i)})
	}
	g.Copies = copiesOf(files...)
	r.Groups = slices.Insert(r.Groups, 0, g)
	return r
}

// TestLinePages cuts reports in lines into pages of any size. Each page must match the
// schema; together they have all groups, and are the whole report in CSV and NDJSON.
func TestLinePages(t *testing.T) {
	schema := reporttest.Compile(t, schemaFile)
	for name, r := range map[string]dedupe.Report{"everything": everything(), "many": many(), "problems": withProblems(), "nothing": nothing(), "large": large()} {
		var whole, table bytes.Buffer
		if err := Write(&whole, NDJSON, r, nil, Options{}); err != nil {
			t.Fatal(err)
		}
		if err := Write(&table, CSV, r, nil, Options{}); err != nil {
			t.Fatal(err)
		}
		lines := slices.Collect(bytes.Lines(whole.Bytes()))
		head := lines[len(lines)-1]
		for _, size := range []int{1, 3, 10, 1000} {
			var rows, all []byte
			var groups int
			for i, rest := 0, lines[:len(lines)-1]; i == 0 || len(rest) > 0; i++ {
				p := LinePage{Head: head, First: i == 0, Groups: groups}
				for len(rest) > 0 && p.Len() < size && p.Add(rest[0]) {
					rest = rest[1:]
				}
				if len(rest) > 0 {
					p.Next = "1-2-3"
				}
				page, err := p.Encode(JSON)
				if err != nil {
					t.Fatal(err)
				}
				if err := schema.Validate(reporttest.Parse(t, page)); err != nil {
					t.Errorf("%s, %d lines, page %d: %v", name, size, i, err)
				}
				part, err := p.Encode(CSV)
				if err != nil {
					t.Fatal(err)
				}
				rows = append(rows, part...)
				if part, err = p.Encode(NDJSON); err != nil {
					t.Fatal(err)
				}
				all = append(all, part...)
				groups = p.Begun()
			}
			if !bytes.Equal(rows, table.Bytes()) {
				t.Errorf("%s, %d lines: the rows are\n%.500s\nwant\n%.500s", name, size, rows, table.Bytes())
			}
			if want := append(slices.Clone(head), bytes.TrimSuffix(whole.Bytes(), head)...); !bytes.Equal(all, want) {
				t.Errorf("%s, %d lines: the lines are others", name, size)
			}
			if groups != len(r.Groups) {
				t.Errorf("%s, %d lines: %d groups of %d", name, size, groups, len(r.Groups))
			}
		}
	}
}

// TestLinePageBytes checks that a page is no larger than allowed, unless one line is.
func TestLinePageBytes(t *testing.T) {
	var whole bytes.Buffer
	if err := Write(&whole, NDJSON, large(), nil, Options{}); err != nil {
		t.Fatal(err)
	}
	lines := slices.Collect(bytes.Lines(whole.Bytes()))
	for _, line := range lines {
		if len(line) > mostLine+1000 {
			t.Errorf("a line has %d bytes", len(line))
		}
	}
	for _, most := range []int{100_000, 200_000, 1 << 20} {
		p := LinePage{Head: lines[len(lines)-1], MaxBytes: most}
		for _, line := range lines[:len(lines)-1] {
			if !p.Add(line) {
				break
			}
		}
		page, err := p.Encode(JSON)
		if err != nil || QuotedSize(page) > most {
			t.Errorf("%d bytes of at most %d, %v", QuotedSize(page), most, err)
		}
	}
}
