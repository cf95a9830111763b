package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"

	"github.com/goreleaser/nfpm/v2"
	"github.com/goreleaser/nfpm/v2/deb"
	"github.com/goreleaser/nfpm/v2/files"

	"efsdedupe/dedupe/report"
)

const description = `find identical files on Amazon EFS, and price them
dedupe finds identical files, exactly, and says what the copies are worth and
what asking costs at 50 million calls a month.`

// makeDeb adds the Debian package for a platform.
func (r *release) makeDeb(p platform) error {
	all, err := r.files(p)
	if err != nil {
		return err
	}
	if all, err = debian(all); err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "dedupe-dist-") // the packager takes files, not bytes
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	info := &nfpm.Info{
		Name:        program,
		Arch:        p.arch,
		Platform:    p.os,
		Version:     report.Version,
		Section:     "utils",
		Priority:    "optional",
		Maintainer:  "The efsdedupe authors <authors@efsdedupe.invalid>",
		Description: description,
		License:     "Apache-2.0",
		MTime:       r.when,
		// Names have no wildcards.
		DisableGlobbing: true,
		Overridables:    nfpm.Overridables{Recommends: []string{"ca-certificates"}}, // for an index in DynamoDB
	}
	for i, f := range all {
		source := filepath.Join(dir, fmt.Sprint(i))
		if err := os.WriteFile(source, f.data, 0o600); err != nil {
			return err
		}
		info.Contents = append(info.Contents, &files.Content{Source: source, Destination: "/usr/" + f.name,
			FileInfo: &files.ContentFileInfo{Owner: "root", Group: "root", Mode: f.mode, MTime: r.when}})
	}
	var b bytes.Buffer
	if err := deb.Default.Package(nfpm.WithDefaults(info), &b); err != nil {
		return fmt.Errorf("can't make the Debian package: %w", err)
	}
	r.add(deb.Default.ConventionalFileName(info), b.Bytes())
	return nil
}
