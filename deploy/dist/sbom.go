package main

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"maps"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	cdx "github.com/CycloneDX/cyclonedx-go"

	"efsdedupe/dedupe/report"
)

// modules returns the modules that are linked into any of the programs, by path. It leaves
// out those that a folder of this project replaces.
func (r *release) modules() map[string]*debug.Module {
	all := make(map[string]*debug.Module)
	for _, build := range r.builds {
		for _, m := range build.Deps {
			if m.Replace == nil {
				all[m.Path] = m
			}
		}
	}
	return all
}

// makeSBOM adds the bill of materials, as CycloneDX has it: the modules of the programs,
// the Go standard library, and the certificates of the image.
func (r *release) makeSBOM() error {
	all := r.modules()
	roots, err := certificatesModule()
	if err != nil {
		return err
	}
	all[roots.Path] = roots
	var needs []string
	var components []cdx.Component
	for _, path := range slices.Sorted(maps.Keys(all)) {
		m := all[path]
		components = append(components, library(m.Path, m.Version, m.Sum))
	}
	goVersion := strings.TrimPrefix(r.builds[platforms()[0]].GoVersion, "go")
	components = append(components, library("stdlib", goVersion, ""))
	for _, c := range components {
		needs = append(needs, c.BOMRef)
	}
	bom := cdx.NewBOM()
	self := library("efsdedupe", report.Version, "")
	self.Type, self.Name = cdx.ComponentTypeApplication, program
	self.Licenses = &cdx.Licenses{{License: &cdx.License{ID: "Apache-2.0"}}}
	bom.Metadata = &cdx.Metadata{Timestamp: r.when.UTC().Format(time.RFC3339), Component: &self}
	bom.Components = &components
	bom.Dependencies = &[]cdx.Dependency{{Ref: self.BOMRef, Dependencies: &needs}}
	var b bytes.Buffer
	e := cdx.NewBOMEncoder(&b, cdx.BOMFileFormatJSON)
	err = e.SetPretty(true).SetEscapeHTML(false).EncodeVersion(bom, cdx.SpecVersion1_6)
	r.add(base("sbom.cdx.json"), b.Bytes())
	return err
}

// library describes a Go module. Its sum is what go.sum has, or empty.
func library(path, version, sum string) cdx.Component {
	purl := "pkg:golang/" + path + "@" + version
	c := cdx.Component{BOMRef: purl, Type: cdx.ComponentTypeLibrary, Name: path, Version: version, PackageURL: purl}
	if hash, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(sum, "h1:")); err == nil && len(hash) > 0 {
		c.Hashes = &[]cdx.Hash{{Algorithm: cdx.HashAlgoSHA256, Value: hex.EncodeToString(hash)}}
	}
	return c
}

// certificatesModule returns the module that holds the certificates of the image.
func certificatesModule() (*debug.Module, error) {
	const path = "golang.org/x/crypto/x509roots/fallback"
	self, _ := debug.ReadBuildInfo()
	for _, m := range self.Deps {
		if m.Path == path {
			return m, nil
		}
	}
	return nil, errors.New("this program has no " + path)
}
