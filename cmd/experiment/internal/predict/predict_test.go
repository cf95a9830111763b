package predict

import (
	"errors"
	"flag"
	"image"
	"image/color"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"efsdedupe/cmd/experiment/internal/task"
)

var update = flag.Bool("update", false, "write golden.txt anew, with tract; needs cargo, takes minutes")

// prepared returns the files, which are kept where the command keeps them.
func prepared(t *testing.T) Files {
	t.Helper()
	dir, err := os.UserCacheDir()
	if err != nil {
		t.Fatal(err)
	}
	f, err := Prepare(t.Context(), filepath.Join(dir, "dedupe", "predict"), "", os.Stderr)
	if offline := new(url.Error); errors.As(err, &offline) {
		t.Skip("PyPI and npm do not answer: go online: ", offline)
	}
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func TestPrepare(t *testing.T) {
	f := prepared(t)
	for i := range Images {
		content, err := os.ReadFile(filepath.Join(f.Images, task.ImageName(i)))
		if err != nil {
			t.Fatal(err)
		}
		if len(content) < 10_000 {
			t.Errorf("image %d has %d bytes", i, len(content))
		}
	}
	own, err := Prepare(t.Context(), filepath.Dir(filepath.Dir(f.Model)), "mine.onnx", io.Discard)
	if err != nil || !own.Own || !filepath.IsAbs(own.Model) || filepath.Base(own.Model) != "mine.onnx" || own.Images != f.Images {
		t.Errorf("%+v, error %v", own, err)
	}
}

// TestGolden makes golden.txt, or sees that nobody has cut it short.
func TestGolden(t *testing.T) {
	if *update {
		f := prepared(t)
		target := filepath.Join("..", "..", "..", "..", "build", "golden")
		run(t, "cargo", "build", "--release", "--locked", "--quiet", "--manifest-path", "golden/Cargo.toml", "--target-dir", target)
		out := run(t, filepath.Join(target, "release", "golden"), f.Model, f.Images)
		if err := os.WriteFile("golden.txt", out, 0o666); err != nil {
			t.Fatal(err)
		}
		return // and so is not what this program has
	}
	if lines := strings.Count(golden, "\n"); lines != Images {
		t.Errorf("%d lines, want %d", lines, Images)
	}
	if err := Check(strings.Split(strings.TrimSpace(golden), "\n")); err != nil {
		t.Error(err)
	}
}

func run(t *testing.T, program string, args ...string) []byte {
	t.Helper()
	cmd := exec.Command(program, args...)
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func TestCheck(t *testing.T) {
	const golden = "7 1.5\n8 -2.25\n"
	for _, good := range [][]string{{}, {"7 1.500900 abc"}, {"7 1.500000 abc", "8 -2.250900 def"}} {
		if err := check(good, golden); err != nil {
			t.Errorf("%q: %v", good, err)
		}
	}
	for want, bad := range map[string][]string{
		"image 0 is of class 8, logit 1.500000, and must be 7, 1.500000": {"8 1.500000 abc"},
		"image 1 is of class 8, logit -2.248900, and must be 8":          {"7 1.5 abc", "8 -2.248900 abc"},
		"image 0 is of class 7, logit NaN":                               {"7 NaN abc"},
		"3 predictions: there are 2 images":                              {"7 1.5", "8 -2.25", "9 1"},
		"the prediction of image 0 is":                                   {"cat"},
	} {
		if err := check(bad, golden); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: error %v, want %q", bad, err, want)
		}
	}
}

func TestFetchFails(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/changed" {
			http.NotFound(w, r)
			return
		}
		io.WriteString(w, "something else")
	}))
	defer server.Close()
	for path, want := range map[string]string{"/changed": "the SHA-256 is ", "/gone": "status 404"} {
		p := pack{name: "it", url: server.URL + path, sha256: strings.Repeat("0", 64)}
		_, err := cache{t.TempDir(), io.Discard}.fetch(t.Context(), p)
		if err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), p.url) {
			t.Errorf("%s: error %v, want %q", path, err, want)
		}
	}
}

// TestReadWeights has what tensors don't need: a pickle that calls a function, and one
// that ends early.
func TestReadWeights(t *testing.T) {
	for want, pickle := range map[string]string{
		"a pickle calls posix.system":   "\x80\x02cposix\nsystem\n(X\x02\x00\x00\x00idtR.",
		"EOF":                           "\x80\x02(",
		"a pickle has the opcode 0x50,": "P",
	} {
		if _, err := readWeights([]byte(pickle)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: error %v, want %q", pickle, err, want)
		}
	}
}

// TestCrops has a picture of 2 × 448 pixels and one more, in which every pixel is known.
func TestCrops(t *testing.T) {
	m := image.NewRGBA(image.Rect(0, 0, 2*side+1, 2*side))
	for y := range m.Rect.Dy() {
		for x := range m.Rect.Dx() {
			m.SetRGBA(x, y, color.RGBA{uint8(x), uint8(y), uint8(x % 2), 255})
		}
	}
	all := crops(m)
	if len(all) != 10 {
		t.Fatalf("%d images", len(all))
	}
	plain, mirrored := all[0], all[1]
	// Of columns 6 and 7, and rows 10 and 11: half a step is rounded up.
	want := color.RGBA{7, 11, 1, 255}
	if got := plain.RGBAAt(3, 5); got != want {
		t.Errorf("pixel %v, want %v", got, want)
	}
	if got := mirrored.RGBAAt(side-1-3, 5); got != want {
		t.Errorf("mirrored pixel %v, want %v", got, want)
	}
}
