package report

import (
	"bytes"
	"encoding/base64"
	"encoding/csv"
	"encoding/json"
	"math"
	"math/big"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"unicode"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"efsdedupe/dedupe"
	"efsdedupe/dedupe/cost"
	"efsdedupe/dedupe/report/reporttest"
	"efsdedupe/fixtures/testkit"
)

// FuzzPath checks that any path, of any bytes, can be recovered from every format.
func FuzzPath(f *testing.F) {
	for _, path := range nastyPaths {
		f.Add([]byte(path))
	}
	f.Add([]byte("crlf\r\nend"))
	f.Add([]byte("cut short \xe2\x82"))
	f.Add([]byte("replacement \uFFFD and \xff"))
	f.Add([]byte("\xed\xa0\x80 surrogate \xc0\xaf overlong"))
	f.Add([]byte{0x00, '\\', 'x', '0', '0'})
	f.Add([]byte(`"\x1b"`))
	f.Add([]byte(`\.`))
	schema := reporttest.Compile(f, schemaFile)
	f.Fuzz(func(t *testing.T, b []byte) {
		path := string(b)
		g := newGroup(1, 1)
		g.Copies = copiesOf(newFile(path, 1, 1), newFile(path+"z", 1, 2))
		s := sample{report: dedupe.Report{
			Mode:     dedupe.Goroutines,
			Workers:  1,
			Roots:    []string{path, "."},
			Groups:   []dedupe.Group{g},
			Problems: []*dedupe.Problem{{Op: "open", Path: path, Err: syscall.EIO}},
		}}
		checkJSONPath(t, schema.Validate, write(t, JSON, s, false), path)
		checkCSVPath(t, write(t, CSV, s, false), path)
		checkPrintable(t, path)
		if got, want := string(write(t, Fdupes, s, false)), path+"\n"+path+"z\n\n"; got != want {
			t.Errorf("fdupes: %q, want %q", got, want)
		}
	})
}

// encodedPath is a path in a JSON report, as a reader of reports would declare it.
type encodedPath struct {
	Path   string
	Base64 *string `json:"path_base64"`
}

func checkJSONPath(t *testing.T, validate func(any) error, doc []byte, want string) {
	t.Helper()
	if err := validate(reporttest.Parse(t, doc)); err != nil {
		t.Error(err)
	}
	var r struct {
		Roots       []string
		RootsBase64 []string `json:"roots_base64"`
		Groups      []struct{ Files []encodedPath }
		Problems    []encodedPath
	}
	if err := json.Unmarshal(doc, &r); err != nil {
		t.Fatal(err)
	}
	root := encodedPath{Path: r.Roots[0]}
	if r.RootsBase64 != nil {
		root.Base64 = &r.RootsBase64[0]
		if second := decode(t, r.RootsBase64[1]); len(r.RootsBase64) != 2 || second != "." {
			t.Errorf("of the other root it made %q", second)
		}
	}
	for what, got := range map[string]encodedPath{"file": r.Groups[0].Files[0], "problem": r.Problems[0], "root": root} {
		switch {
		case got.Base64 == nil && got.Path != want:
			t.Errorf("JSON, %s: %q, want %q", what, got.Path, want)
		case got.Base64 != nil && decode(t, *got.Base64) != want:
			t.Errorf("JSON, %s: %q in base64, want %q", what, decode(t, *got.Base64), want)
		case (got.Base64 == nil) != utf8.ValidString(want):
			t.Errorf("JSON, %s: base64 is for what is not UTF-8, and here for %q: %v", what, want, got.Base64 != nil)
		}
	}
}

func checkCSVPath(t *testing.T, table []byte, want string) {
	t.Helper()
	rows, err := csv.NewReader(bytes.NewReader(table)).ReadAll()
	if err != nil || len(rows) != 3 {
		t.Fatalf("%d rows of CSV, want 3; error %v", len(rows), err)
	}
	got := rows[1][4]
	if rows[1][5] != "" {
		got = decode(t, rows[1][5])
	}
	if got != want {
		t.Errorf("CSV: %q, want %q", got, want)
	}
}

func decode(t *testing.T, s string) string {
	t.Helper()
	b, err := base64.StdEncoding.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// checkPrintable checks that the text of a path is harmless and stands for one path only.
func checkPrintable(t *testing.T, path string) {
	t.Helper()
	text := Printable(path)
	for _, r := range text {
		if !unicode.IsPrint(r) {
			t.Errorf("text: %q holds %U", text, r)
		}
	}
	if strings.HasPrefix(text, `"`) {
		unquoted, err := strconv.Unquote(text)
		if err != nil {
			t.Errorf("text: %q: %v", text, err)
		}
		text = unquoted
	}
	if text != path {
		t.Errorf("text: %q is printed as %q", path, Printable(path))
	}
}

// All numbers are written in full. Readers that use floats lose digits above 2^53; dedupe
// does not.
func TestNumbersAreExact(t *testing.T) {
	g := newGroup(math.MaxInt64, math.MaxInt64)
	a, b := newFile("a", math.MaxInt64, math.MaxUint64), newFile("b", math.MaxInt64, 1<<53+1)
	a.ModTime, b.ModTime = dedupe.Timestamp{Sec: -9223372037, Nsec: 145224192}, dedupe.Timestamp{Sec: 9223372036, Nsec: 854775807}
	g.Copies = copiesOf(a, b)
	p := priced()
	p.Bill.Total, p.Bill.Reclaimable = testkit.Rat("90071992547409930.005"), testkit.Rat("0.004999")
	p.Bill.Items = []cost.Item{{Meter: "m", Quantity: new(big.Rat).SetInt64(math.MaxInt64), UnitPrice: testkit.Rat("0.0000166667"), Cost: testkit.Rat("1/3")}}
	s := sample{projection: p, report: dedupe.Report{
		Groups: []dedupe.Group{g},
		Stats: dedupe.Stats{Files: math.MaxInt64, Bytes: 1<<53 + 1, Elapsed: math.MaxInt64,
			Work: dedupe.Work{Opens: math.MaxInt64 - 1, BytesRead: math.MaxInt64 - 2}},
	}}
	doc := string(write(t, JSON, s, false))
	for _, want := range []string{
		`"files":9223372036854775807,`, `"bytes":9007199254740993,`, `"opens":9223372036854775806,`, `"bytes_read":9223372036854775805,`,
		`"elapsed_ms":9223372036854.775,`,
		`"size":9223372036854775807,`, `"reclaimable_bytes":9223372036854775807,`,
		`"inode":18446744073709551615,"mtime":"1677-09-21T00:12:43.145224192Z"`,
		`"inode":9007199254740993,"mtime":"2262-04-11T23:47:16.854775807Z"`,
		`"quantity":9223372036854775807,`, `"unit_price":0.0000166667,`, `"cost":0.33,`, `"cost_decimal":"0.33",`,
		`"total":90071992547409930.01,`, `"total_decimal":"90071992547409930.01",`, `"reclaimable_cost":0.00,`,
	} {
		if !strings.Contains(doc, want) {
			t.Errorf("no %s in %s", want, doc)
		}
	}
	table := string(write(t, CSV, s, false))
	for _, want := range []string{",9223372036854775807,", ",18446744073709551615,1677-09-21T00:12:43.145224192Z,"} {
		if !strings.Contains(table, want) {
			t.Errorf("no %s in %s", want, table)
		}
	}
}

// TestCSV reads the output with encoding/csv and compares it with the report.
func TestCSV(t *testing.T) {
	s := samples()[0]
	rows, err := csv.NewReader(bytes.NewReader(write(t, CSV, s, false))).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	want := [][]string{{"group", "size", "digest", "reclaimable_bytes", "path", "path_base64", "inode", "mtime", "hard_link",
		"ctime", "links", "allocated", "mtime_unix", "ctime_unix", "reclaimable_allocated_bytes", "kept"}}
	hardLinks := map[string]bool{"/efs/set/01": true, "/c/\t3": true}
	for i, g := range s.report.Groups {
		for f := range g.Files() {
			text, encoded := f.Path, ""
			switch f.Path {
			case "\xff\xfe":
				text, encoded = "\uFFFD\uFFFD", "//4="
			case "new\nline, tab\t and \r\n":
				// encoding/csv drops the CR, so there is base64, too.
				text, encoded = "new\nline, tab\t and \n", "bmV3CmxpbmUsIHRhYgkgYW5kIA0K"
			}
			links, allocated, reclaimable := "", "", ""
			if f.Links > 0 {
				links, allocated, reclaimable = strconv.Itoa(int(f.Links)), strconv.FormatInt(f.Allocated, 10), strconv.FormatInt(g.ReclaimableAllocated, 10)
			}
			want = append(want, []string{
				strconv.Itoa(i + 1), strconv.FormatInt(g.Size, 10), g.Digest.String(), strconv.FormatInt(g.Reclaimable, 10),
				text, encoded, strconv.FormatUint(f.Inode, 10), "2026-11-23T12:34:56.789Z", strconv.FormatBool(hardLinks[f.Path]),
				"2026-11-23T12:34:56.789000001Z", links, allocated, "", "", reclaimable, "false",
			})
		}
	}
	if diff := cmp.Diff(want, rows); diff != "" {
		t.Errorf("rows (-want +got):\n%s", diff)
	}
}
