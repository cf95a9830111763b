package main

import (
	"archive/tar"
	"bytes"
	"io/fs"
	"path"
	"slices"
	"strings"
	"time"
)

// makeArchive adds the tar.gz for a platform. Unpacked into a prefix without its first
// directory, it is installed.
func (r *release) makeArchive(p platform) error {
	all, err := r.files(p)
	if err != nil {
		return err
	}
	name := base(p.os, p.arch)
	for i := range all {
		all[i].name = name + "/" + all[i].name
	}
	data, err := r.pack(all)
	if err != nil {
		return err
	}
	data, err = compress(data)
	r.add(name+".tar.gz", data)
	return err
}

// pack returns a tar of files and of the directories that hold them, sorted by name.
func (r *release) pack(all []file) ([]byte, error) {
	all = slices.Clone(all)
	seen := make(map[string]bool)
	for _, f := range all {
		seen[f.name] = true
	}
	for _, f := range slices.Clone(all) {
		for dir := path.Dir(f.name); dir != "." && !seen[dir]; dir = path.Dir(dir) {
			seen[dir] = true
			all = append(all, file{name: dir, mode: fs.ModeDir | 0o755})
		}
	}
	slices.SortFunc(all, func(a, b file) int { return strings.Compare(a.name, b.name) })
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, f := range all {
		if err := w.WriteHeader(header(f, r.when)); err != nil {
			return nil, err
		}
		if _, err := w.Write(f.data); err != nil {
			return nil, err
		}
	}
	err := w.Close()
	return b.Bytes(), err
}

// sticky is the bit of directories in which users remove only their own files.
const sticky = 0o1000

func header(f file, when time.Time) *tar.Header {
	h := &tar.Header{Typeflag: tar.TypeReg, Name: f.name, Mode: int64(f.mode.Perm()), Size: int64(len(f.data)), Uid: f.user, Gid: f.user, ModTime: when, Format: tar.FormatUSTAR}
	if f.mode.IsDir() {
		h.Typeflag, h.Name = tar.TypeDir, f.name+"/"
	}
	if f.mode&fs.ModeSticky != 0 {
		h.Mode |= sticky
	}
	return h
}
