package report

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"efsdedupe/dedupe"
	"efsdedupe/dedupe/report/reporttest"
)

// lateTimes has times that RFC 3339 cannot express.
const lateTimes = `{"schema":"dedupe.report/v2","roots":["."],"mode":"goroutines","workers":1,"complete":true,"problems":[],
	"stats":{"files":2,"bytes":2,"directories":1},
	"groups":[{"size":1,"digest":"0000000000000000000000000000000000000000000000000000000000000000","reclaimable_bytes":1,"files":[
		{"path":"a","inode":1,"mtime":"9999-12-31T23:59:59.999999999Z","mtime_unix":253402300800.5,"ctime_unix":-62167219200.000000001,"ctime":"0000-01-01T00:00:00Z"},
		{"path":"b","inode":2,"mtime":"2026-01-01T00:00:00Z"}]}]}`

// chosenDoc has what only some scans ask for.
const chosenDoc = `{"schema":"dedupe.report/v2","roots":["."],"mode":"goroutines","workers":1,"complete":true,"problems":[],
	"stats":{"files":2,"bytes":2,"directories":1},
	"selection":{"roots":[{"path":"."}],"min_size":1,"max_size":0,"include":[],"exclude":[],"newer":"2026-01-01T00:00:00Z","older":"2026-02-01T00:00:00Z",
		"files_from":"\ufffd","files_from_base64":"/w==","files0_from":"\ufffd","files0_from_base64":"/w==","copies_of":"\ufffd","copies_of_base64":"/w==",
		"keep":"oldest","priority":["\ufffd"],"priority_base64":["/w=="],"protect":["\ufffd"],"protect_base64":["/w=="],
		"isolate":true,"min_copies":2,"unique":true,"folders":true},
	"duplicate_folders":[{"files":1,"bytes":1,"reclaimable_bytes":1,"paths":[{"path":"./\ufffd","path_base64":"Li//","kept":true},{"path":"./b"}]},
		{"files":3,"bytes":4,"reclaimable_bytes":0,"paths":[{"path":"./c"},{"path":"./d"}]}],
	"unique":[{"path":"./u","inode":3,"mtime":"2026-01-01T00:00:00Z","links":2,"allocated":0,"size":3},
		{"path":"./v","inode":3,"mtime":"2026-01-01T00:00:00Z","links":2,"allocated":0,"hard_link":true,"size":3}],
	"groups":[{"size":1,"digest":"0000000000000000000000000000000000000000000000000000000000000000","reclaimable_bytes":1,"files":[
		{"path":"./b/1","inode":1,"mtime":"2026-01-01T00:00:00Z","kept":true},{"path":"./a/1","inode":2,"mtime":"2026-01-02T00:00:00Z"}]}]}`

// Whatever the order of keys, a report keeps the folders, the unique files and the marks
// that it has.
func TestConvertChosen(t *testing.T) {
	once := convert(t, JSON, chosenDoc, Options{})
	var sorted any
	if err := json.Unmarshal(once, &sorted); err != nil {
		t.Fatal(err)
	}
	inOrder, err := json.Marshal(sorted)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(canonical(t, once)), string(canonical(t, convert(t, JSON, string(inOrder), Options{})))); diff != "" {
		t.Errorf("(-once +twice):\n%s", diff)
	}
	for _, want := range []string{`"priority_base64":["/w=="]`, `"newer":"2026-01-01T00:00:00Z"`, `{"path":"./b/1","inode":1,"mtime":"2026-01-01T00:00:00Z","kept":true}`,
		`"duplicate_folders":[{"files":1,"bytes":1,"reclaimable_bytes":1,"paths":[{"path":"./\ufffd","path_base64":"Li//","kept":true},{"path":"./b"}]},{"files":3,`,
		`"hard_link":true,"size":3}]`} {
		if !strings.Contains(string(once), want) {
			t.Errorf("%s is not in %s", want, once)
		}
	}
}

func convert(t testing.TB, f Format, doc string, o Options) []byte {
	t.Helper()
	var b bytes.Buffer
	if _, err := Convert(&b, f, strings.NewReader(doc), o); err != nil {
		t.Fatalf("%s: %v", f, err)
	}
	return b.Bytes()
}

// TestConvert writes reports as JSON and converts that. The result must be the same as
// writing the report directly, for any order of keys, and after a byte order mark.
func TestConvert(t *testing.T) {
	for _, s := range samples() {
		doc := string(write(t, JSON, s, false))
		var sorted any // encoding/json sorts keys
		d := json.NewDecoder(strings.NewReader(doc))
		d.UseNumber()
		if err := d.Decode(&sorted); err != nil {
			t.Fatal(err)
		}
		inOrder, err := json.MarshalIndent(sorted, "", "\t")
		if err != nil {
			t.Fatal(err)
		}
		for name, in := range map[string]string{"as written": doc, "sorted": string(inOrder), "with a mark": "\ufeff" + doc, "unknown fields": withUnknown(doc)} {
			for _, f := range []Format{JSON, CSV, Fdupes, Text} {
				o := s.options(false)
				want, got := write(t, f, s, false), convert(t, f, in, o)
				if f == JSON { // the order of keys may differ
					want, got = canonical(t, want), canonical(t, got)
				}
				if diff := cmp.Diff(lines(f, want), lines(f, got)); diff != "" {
					t.Errorf("%s as %s, %s (-written +converted):\n%s", s.name, f, name, diff)
				}
			}
		}
	}
}

// lines leaves out what a JSON report does not contain: the device of an inode, and
// fractions of cents.
func lines(f Format, text []byte) []string {
	all := strings.Split(string(text), "\n")
	if f != Text {
		return all
	}
	for i, line := range all {
		before, _, _ := strings.Cut(line, " (hard link to")
		all[i] = before
	}
	return all
}

func canonical(t *testing.T, doc []byte) []byte {
	t.Helper()
	d := json.NewDecoder(bytes.NewReader(doc))
	d.UseNumber()
	var v any
	if err := d.Decode(&v); err != nil {
		t.Fatalf("%v: %s", err, doc)
	}
	sorted, err := json.MarshalIndent(v, "", " ")
	if err != nil {
		t.Fatal(err)
	}
	return sorted
}

// withUnknown adds fields of a later version.
func withUnknown(doc string) string {
	return strings.NewReplacer(`{"schema"`, `{"later":{"groups":[{}]},"schema"`, `"size":`, `"later":[1,{}],"size":`, `"inode":`, `"later":null,"inode":`).Replace(doc)
}

// TestConvertV1 converts a version 1 report. The result must match the schema of version
// 2 and keep everything from version 1.
func TestConvertV1(t *testing.T) {
	schema := reporttest.Compile(t, schemaFile)
	files, err := filepath.Glob("testdata/v1/*.json")
	if err != nil || len(files) < 3 {
		t.Fatalf("%d files, %v", len(files), err)
	}
	for _, name := range files {
		old, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		rewritten := convert(t, JSON, string(old), Options{})
		if err := schema.Validate(reporttest.Parse(t, rewritten)); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		var was, is map[string]any
		if err := json.Unmarshal(old, &was); err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal(rewritten, &is); err != nil {
			t.Fatal(err)
		}
		was["schema"] = reportSchema
		if missing := lacks(was, is, ""); missing != "" {
			t.Errorf("%s: rewriting it loses %s", name, missing)
		}
	}
}

// lacks lists what one value has and another lacks.
func lacks(was, is any, path string) string {
	switch was := was.(type) {
	case map[string]any:
		now, _ := is.(map[string]any)
		for key, value := range was {
			if missing := lacks(value, now[key], path+"."+key); missing != "" {
				return missing
			}
		}
	case []any:
		now, _ := is.([]any)
		if len(now) != len(was) {
			return path
		}
		for i := range was {
			if missing := lacks(was[i], now[i], path+"[]"); missing != "" {
				return missing
			}
		}
	default:
		if !cmp.Equal(was, is) {
			return path
		}
	}
	return ""
}

// TestLateTimes checks that no time is lost.
func TestLateTimes(t *testing.T) {
	again := string(convert(t, JSON, lateTimes, Options{}))
	for _, want := range []string{
		`"mtime":"9999-12-31T23:59:59.999999999Z","mtime_unix":253402300800.5,"ctime":"0000-01-01T00:00:00Z","ctime_unix":-62167219200.000000001`,
		`"mtime":"2026-01-01T00:00:00Z"}`,
	} {
		if !strings.Contains(again, want) {
			t.Errorf("no %s in %s", want, again)
		}
	}
	if rows := string(convert(t, CSV, lateTimes, Options{})); !strings.Contains(rows, ",0000-01-01T00:00:00Z,,,253402300800.5,-62167219200.000000001,,false\n") {
		t.Errorf("%s", rows)
	}
}

// TestSetAside has files before the size of their group, more than fit in memory. The
// result must be the same as with the size first.
func TestSetAside(t *testing.T) {
	g := newGroup(5, 5*99_999)
	for i := range 100_000 {
		g.Copies = append(g.Copies, dedupe.CopyOf(newFile(strings.Repeat("long/", i%20)+"name", 5, uint64(i))))
	}
	s := sample{report: nothing()}
	s.report.Groups = []dedupe.Group{g}
	want := write(t, CSV, s, false)
	doc := string(write(t, JSON, s, false))
	start, size := strings.Index(doc, `"size":5,`), len(`"size":5,`)
	doc = doc[:start] + doc[start+size:]
	at := strings.Index(doc, `]}],"problems"`)
	doc = doc[:at] + `],"size":5` + doc[at+1:]

	spilled := false
	spill := func() (io.ReadWriteSeeker, error) {
		spilled = true
		return os.Create(filepath.Join(t.TempDir(), "spill"))
	}
	for _, o := range []Options{{}, {Spill: spill}} {
		if got := convert(t, CSV, doc, o); !bytes.Equal(got, want) {
			t.Errorf("spill %v: %d bytes, want %d", o.Spill != nil, len(got), len(want))
		}
	}
	if !spilled {
		t.Error("all was kept in memory")
	}
	full := Options{Spill: func() (io.ReadWriteSeeker, error) { return nil, io.ErrShortWrite }}
	if _, err := Convert(io.Discard, CSV, strings.NewReader(doc), full); err == nil || !strings.Contains(err.Error(), "can't set files aside") {
		t.Errorf("no temporary file: error %v", err)
	}
	if _, err := Convert(io.Discard, Fdupes, strings.NewReader(doc), full); err != nil {
		t.Errorf("fdupes needs no size: %v", err)
	}
}

func TestConvertErrors(t *testing.T) {
	for _, test := range []struct{ name, doc, want string }{
		{"later report", `{"schema": "dedupe.report/v3"}`, `its schema is "dedupe.report/v3"`},
		{"groups of no kind", `{"schema": "dedupe.report/v2", "groups": [5]}`, "not a JSON report: " + "/groups/0 is not a group"},
		{"a digest that is none", `{"schema": "dedupe.report/v2", "groups": [{"digest": "0102"}]}`, "not a JSON report: " + "/groups/0/digest is not a digest"},
		{"a number for text in stats", `{"schema": "dedupe.report/v2", "stats": {"files": "5"}}`, "not a JSON report: " + "stats.files can't be the string that it is"},
		{"groups twice", `{"schema": "dedupe.report/v2", "groups": [], "groups": []}`, "not a JSON report: " + "duplicate object member name"},
		{"a bill", `{"schema": "dedupe.projection/v1"}`, "it is a bill (dedupe.projection/v1), not a report"},
		{"a group without files", `{"schema": "dedupe.report/v2", "groups": [{"size": 1}]}`, "not a JSON report: a group lacks"},
		{"a year too far", `{"schema": "dedupe.report/v2", "groups": [{"files": [{"mtime_unix": -9223372036854775808.5}]}]}`, "not a JSON report: "},
		{"an amount too large", `{"schema": "dedupe.report/v2", "projection": {"total": 1e999999999, "usage": {"arch": "arm64"}}}`, "not a JSON report: total is 1e999999999: no bill has such a number"},
	} {
		_, err := Convert(io.Discard, JSON, strings.NewReader(test.doc), Options{})
		if err == nil || !strings.HasPrefix(err.Error(), test.want) {
			t.Errorf("%s: error %v, want %s", test.name, err, test.want)
		}
	}
	if _, err := Convert(io.Discard, Text, broken{}, Options{}); !errors.Is(err, dedupe.ErrChanged) {
		t.Errorf("a broken file: error %v", err)
	}
}

// FuzzConvert checks that whatever Convert reads, it can write in every format, and as
// JSON that it reads back as the same.
func FuzzConvert(f *testing.F) {
	for _, s := range samples() {
		f.Add(write(f, JSON, s, false))
	}
	f.Add([]byte(lateTimes))
	f.Add([]byte(`{"schema":"dedupe.report/v1","groups":[{"files":[{"path":"a","inode":1}],"size":1,"digest":"","reclaimable_bytes":0}]}`))
	f.Fuzz(func(t *testing.T, doc []byte) {
		var once, twice bytes.Buffer
		if _, err := Convert(&once, JSON, bytes.NewReader(doc), Options{}); err != nil {
			if strings.Contains(err.Error(), "panic") {
				t.Error(err)
			}
			return
		}
		if _, err := Convert(&twice, JSON, bytes.NewReader(once.Bytes()), Options{}); err != nil {
			t.Fatalf("%v: %s", err, &once)
		}
		if a, b := canonical(t, once.Bytes()), canonical(t, twice.Bytes()); !bytes.Equal(a, b) {
			t.Errorf("once %s\ntwice %s", a, b)
		}
		for _, format := range []Format{Text, CSV, Fdupes} {
			if _, err := Convert(io.Discard, format, bytes.NewReader(once.Bytes()), Options{All: len(doc)%2 == 0, Bill: true}); err != nil {
				t.Errorf("%s: %v", format, err)
			}
		}
	})
}
