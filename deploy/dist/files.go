package main

import (
	"bytes"
	"compress/gzip"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
)

// file is a file that users get, or a directory.
type file struct {
	name string // below the prefix, such as bin/dedupe
	mode fs.FileMode
	data []byte
	user int // that owns it, by number
}

const docs = "share/doc/dedupe/"

// files returns what an installation has on a platform, below a prefix such as /usr/local.
func (r *release) files(p platform) ([]file, error) {
	binary, err := os.ReadFile(r.program(p))
	if err != nil {
		return nil, err
	}
	all := []file{{name: "bin/" + program, mode: 0o755, data: binary}}
	share := os.DirFS(filepath.Join(r.top, "build"))
	err = fs.WalkDir(share, "share", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		data, err := fs.ReadFile(share, name)
		all = append(all, file{name: name, mode: 0o644, data: data})
		return err
	})
	if err != nil {
		return nil, err
	}
	license, err := os.ReadFile(filepath.Join(r.top, "LICENSE"))
	return append(all,
		file{name: docs + "LICENSE", mode: 0o644, data: license},
		file{name: docs + "NOTICES", mode: 0o644, data: r.notices}), err
}

// copyright is what Debian has instead of a license that all its packages share.
const copyright = `dedupe is licensed under the Apache License, version 2.0:
/usr/share/common-licenses/Apache-2.0. NOTICES has the licenses of what is linked in.
`

// debian returns the files as Debian wants them below /usr: compressed manual pages,
// completions for zsh in a directory of their own, and a file about copyright.
func debian(all []file) ([]file, error) {
	var out []file
	for _, f := range all {
		switch {
		case strings.HasPrefix(f.name, "share/man/"):
			data, err := compress(f.data)
			if err != nil {
				return nil, err
			}
			f.name, f.data = f.name+".gz", data
		case strings.HasPrefix(f.name, "share/zsh/"):
			f.name = "share/zsh/vendor-completions/" + path.Base(f.name)
		case f.name == docs+"LICENSE":
			f.name, f.data = docs+"copyright", []byte(copyright)
		}
		out = append(out, f)
	}
	return out, nil
}

// compress returns the same bytes for the same data: its header has no name and no time.
func compress(data []byte) ([]byte, error) {
	var b bytes.Buffer
	w, err := gzip.NewWriterLevel(&b, gzip.BestCompression)
	if err != nil {
		return nil, err
	}
	if _, err := w.Write(data); err != nil {
		return nil, err
	}
	err = w.Close()
	return b.Bytes(), err
}
