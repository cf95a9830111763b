// Command dist makes what users install from the programs that make has built:
//
//	main.go     what a release consists of, and its checksums
//	files.go    the files that users get
//	archive.go  tar.gz
//	deb.go      Debian packages
//	image.go    the OCI image
//	sbom.go     the bill of materials
//	notices.go  the licenses of what is linked in
//
// The same programs give the same bytes, wherever and whenever it runs. See README.md.
package main

import (
	"bytes"
	"crypto/sha256"
	"debug/buildinfo"
	"fmt"
	"log"
	"os"
	"path/filepath"
	"strings"
	"time"

	"efsdedupe/dedupe/report"
)

func main() {
	log.SetFlags(0)
	log.SetPrefix("dist: ")
	if len(os.Args) != 2 {
		log.Fatal("use 'make dist'")
	}
	if err := build(os.Args[1]); err != nil {
		log.Fatal(err)
	}
}

const program = "dedupe"

// platform is a system and an architecture, as Go names them.
type platform struct{ os, arch string }

func (p platform) String() string { return p.os + "-" + p.arch }

func platforms() []platform {
	return []platform{{"linux", "amd64"}, {"linux", "arm64"}, {"darwin", "amd64"}, {"darwin", "arm64"}}
}

// release is what all packages have in common.
type release struct {
	top      string    // the folder of the project
	when     time.Time // of the revision that was built, which all files get
	revision string
	builds   map[platform]*buildinfo.BuildInfo
	notices  []byte // the licenses of what is linked in
	made     []made
}

// made is a finished file of the release.
type made struct {
	name string
	data []byte
}

// build makes build/dist in the folder of the project.
func build(top string) error {
	r := release{top: top, when: time.Unix(0, 0), builds: make(map[platform]*buildinfo.BuildInfo)}
	if err := r.readBuilds(); err != nil {
		return err
	}
	if err := r.collectNotices(); err != nil {
		return err
	}
	for _, p := range platforms() {
		if err := r.makeArchive(p); err != nil {
			return err
		}
		if p.os == "linux" {
			if err := r.makeDeb(p); err != nil {
				return err
			}
		}
	}
	if err := r.makeImage(); err != nil {
		return err
	}
	if err := r.makeSBOM(); err != nil {
		return err
	}
	r.makeSums()
	return r.write()
}

// readBuilds reads what go build recorded in the programs. Outside a clone of the
// repository it records no revision; files are then of 1970.
func (r *release) readBuilds() error {
	for _, p := range platforms() {
		info, err := buildinfo.ReadFile(r.program(p))
		if err != nil {
			return err
		}
		r.builds[p] = info
		for _, s := range info.Settings {
			switch s.Key {
			case "vcs.revision":
				r.revision = s.Value
			case "vcs.time":
				if r.when, err = time.Parse(time.RFC3339, s.Value); err != nil {
					return fmt.Errorf("%s: %w", r.program(p), err)
				}
			}
		}
	}
	return nil
}

// program returns the path of the program for a platform.
func (r *release) program(p platform) string {
	return filepath.Join(r.top, "build", "release", p.String(), program)
}

// add adds a finished file to the release.
func (r *release) add(name string, data []byte) { r.made = append(r.made, made{name, data}) }

// makeSums adds SHA256SUMS, for sha256sum --check.
func (r *release) makeSums() {
	var sums bytes.Buffer
	for _, m := range r.made {
		fmt.Fprintf(&sums, "%x  %s\n", sha256.Sum256(m.data), m.name)
	}
	r.add("SHA256SUMS", sums.Bytes())
}

// write replaces build/dist by the files of the release.
func (r *release) write() error {
	dir := filepath.Join(r.top, "build", "dist")
	if err := os.RemoveAll(dir); err != nil {
		return err
	}
	if err := os.MkdirAll(dir, 0o777); err != nil {
		return err
	}
	for _, m := range r.made {
		if err := os.WriteFile(filepath.Join(dir, m.name), m.data, 0o666); err != nil {
			return err
		}
	}
	return nil
}

// base returns the name of a file of the release: the program, its version and parts.
func base(parts ...string) string {
	return strings.Join(append([]string{program, report.Version}, parts...), "-")
}
