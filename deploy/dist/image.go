package main

import (
	"bytes"
	"encoding/pem"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"golang.org/x/crypto/x509roots/fallback/bundle"

	"efsdedupe/dedupe/report"
)

// imageUser owns nothing in the image but its home, which holds an index of its own.
const imageUser = 65532

const imageHome = "home/dedupe"

// makeImage adds the image for both architectures of Linux, as a tar of an OCI layout.
// Source of the format: the OCI image specification, image-layout.md.
func (r *release) makeImage() error {
	all := mutate.IndexMediaType(empty.Index, types.OCIImageIndex)
	for _, p := range platforms() {
		if p.os != "linux" {
			continue
		}
		image, err := r.image(p)
		if err != nil {
			return fmt.Errorf("can't make the image for %s: %w", p.arch, err)
		}
		all = mutate.AppendManifests(all, mutate.IndexAddendum{Add: image, Descriptor: v1.Descriptor{Platform: &v1.Platform{OS: p.os, Architecture: p.arch}}})
	}
	dir, err := os.MkdirTemp("", "dedupe-dist-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	at, err := layout.Write(dir, empty.Index)
	if err != nil {
		return err
	}
	err = at.AppendIndex(all, layout.WithAnnotations(map[string]string{
		"org.opencontainers.image.ref.name": report.Version,
		"io.containerd.image.name":          "docker.io/library/" + program + ":" + report.Version, // what docker load calls it
	}))
	if err != nil {
		return err
	}
	blobs, err := readTree(dir)
	if err != nil {
		return err
	}
	data, err := r.pack(blobs)
	r.add(base("oci.tar"), data)
	return err
}

// image returns the image for a platform: one layer, and how to run the program in it.
func (r *release) image(p platform) (v1.Image, error) {
	all, err := r.imageFiles(p)
	if err != nil {
		return nil, err
	}
	content, err := r.pack(all)
	if err != nil {
		return nil, err
	}
	open := func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(content)), nil }
	layer, err := tarball.LayerFromOpener(open, tarball.WithMediaType(types.OCILayer))
	if err != nil {
		return nil, err
	}
	base := mutate.ConfigMediaType(mutate.MediaType(empty.Image, types.OCIManifestSchema1), types.OCIConfigJSON)
	image, err := mutate.Append(base, mutate.Addendum{Layer: layer, History: v1.History{Created: v1.Time{Time: r.when}, CreatedBy: "make dist"}})
	if err != nil {
		return nil, err
	}
	config, err := image.ConfigFile()
	if err != nil {
		return nil, err
	}
	config = config.DeepCopy()
	config.OS, config.Architecture, config.Created = p.os, p.arch, v1.Time{Time: r.when}
	config.Config = v1.Config{
		Entrypoint: []string{"/usr/bin/" + program},
		User:       fmt.Sprintf("%d:%d", imageUser, imageUser),
		Env:        []string{"PATH=/usr/bin", "HOME=/" + imageHome},
		WorkingDir: "/" + imageHome,
		Labels: map[string]string{
			"org.opencontainers.image.title":       program,
			"org.opencontainers.image.description": strings.SplitN(description, "\n", 2)[0],
			"org.opencontainers.image.version":     report.Version,
			"org.opencontainers.image.revision":    r.revision,
			"org.opencontainers.image.licenses":    "Apache-2.0",
		},
	}
	return mutate.ConfigFile(image, config)
}

// imageFiles returns all files of the image: the program, the certificates that an index in
// DynamoDB needs, its user, and licenses.
func (r *release) imageFiles(p platform) ([]file, error) {
	installed, err := r.files(p)
	if err != nil {
		return nil, err
	}
	user := fmt.Sprintf("%s:x:%d:", program, imageUser)
	all := []file{
		{name: "etc/passwd", mode: 0o644, data: fmt.Appendf(nil, "root:x:0:0:root:/:/sbin/nologin\n%s%d::/%s:/sbin/nologin\n", user, imageUser, imageHome)},
		{name: "etc/group", mode: 0o644, data: []byte("root:x:0:\n" + user + "\n")},
		{name: "etc/ssl/certs/ca-certificates.crt", mode: 0o644, data: certificates()},
		{name: imageHome, mode: fs.ModeDir | 0o755, user: imageUser},
		{name: "tmp", mode: fs.ModeDir | fs.ModeSticky | 0o777},
	}
	for _, f := range installed {
		if strings.HasPrefix(f.name, "bin/") || strings.HasPrefix(f.name, docs) {
			f.name = "usr/" + f.name
			all = append(all, f)
		}
	}
	return all, nil
}

// certificates returns Mozilla's root certificates, of the version in go.mod. It leaves out
// those that Mozilla trusts with conditions, which a file can't express.
func certificates() []byte {
	var b bytes.Buffer
	for root := range bundle.Roots() {
		if root.Constraint == nil {
			b.Write(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: root.Certificate}))
		}
	}
	return b.Bytes()
}

// readTree reads all files below a directory.
func readTree(dir string) (all []file, err error) {
	err = filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		name, err := filepath.Rel(dir, path)
		if err != nil {
			return err
		}
		data, err := os.ReadFile(path)
		all = append(all, file{name: filepath.ToSlash(name), mode: 0o644, data: data})
		return err
	})
	return all, err
}
