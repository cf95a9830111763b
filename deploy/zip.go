//go:build ignore

// Zip creates a zip file for Lambda. The same content always gives the same bytes:
//
//	go run deploy/zip.go out.zip bootstrap...
//
// Each file is executable, has a fixed time, and loses its directory. A zip file over
// 10 MiB is an error.
package main

import (
	"archive/zip"
	"bytes"
	"compress/flate"
	"fmt"
	"io"
	"log"
	"os"
	"path/filepath"
	"time"
)

const limit = 10 << 20 // bytes

func main() {
	log.SetFlags(0)
	log.SetPrefix("zip: ")
	if len(os.Args) < 3 {
		log.Fatal("use: go run deploy/zip.go OUT FILE...")
	}
	if err := run(os.Args[1], os.Args[2:]); err != nil {
		log.Fatal(err)
	}
}

func run(out string, files []string) error {
	var b bytes.Buffer
	w := zip.NewWriter(&b)
	w.RegisterCompressor(zip.Deflate, func(w io.Writer) (io.WriteCloser, error) {
		return flate.NewWriter(w, flate.BestCompression)
	})
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		h := &zip.FileHeader{
			Name:     filepath.Base(file),
			Method:   zip.Deflate,
			Modified: time.Date(1980, 1, 1, 0, 0, 0, 0, time.UTC),
		}
		h.SetMode(0o755)
		f, err := w.CreateHeader(h)
		if err != nil {
			return err
		}
		if _, err := f.Write(data); err != nil {
			return err
		}
	}
	if err := w.Close(); err != nil {
		return err
	}
	if b.Len() > limit {
		return fmt.Errorf("%s would have %d bytes, but the limit is %d", out, b.Len(), limit)
	}
	return os.WriteFile(out, b.Bytes(), 0o644)
}
