// Command read is the reference: it opens, reads and closes each file that a list
// on standard input names, each name with a zero byte after it, and does nothing
// with the bytes. No finder can be faster with so many workers, unless it reads
// less.
//
//	read -workers N <LIST
package main

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"syscall"

	"golang.org/x/sync/errgroup"
)

func main() {
	if err := read(os.Args[1:], os.Stdin); err != nil {
		fmt.Fprintln(os.Stderr, "read:", err)
		os.Exit(1)
	}
}

func read(args []string, list io.Reader) error {
	f := flag.NewFlagSet("read", flag.ContinueOnError)
	workers := f.Int("workers", 2, "files in flight")
	if err := f.Parse(args); err != nil {
		return err
	}
	if *workers < 1 {
		return fmt.Errorf("-workers %d: want at least 1", *workers)
	}
	names, err := io.ReadAll(list)
	if err != nil {
		return err
	}
	var g errgroup.Group
	next := make(chan string)
	for range *workers {
		g.Go(func() error {
			var failed error
			buf := make([]byte, 256<<10)
			for name := range next {
				if err := readFile(name, buf); err != nil {
					failed = errors.Join(failed, fmt.Errorf("%q: %w", name, err))
				}
			}
			return failed
		})
	}
	for name := range bytes.SplitSeq(names, []byte{0}) {
		if len(name) > 0 {
			next <- string(name)
		}
	}
	close(next)
	return g.Wait()
}

// readFile makes no system calls but those: os.File would make more.
func readFile(name string, buf []byte) error {
	fd, err := syscall.Open(name, syscall.O_RDONLY|syscall.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer syscall.Close(fd)
	for {
		n, err := syscall.Read(fd, buf)
		if err == syscall.EINTR {
			continue
		}
		if n <= 0 || err != nil {
			return err
		}
	}
}
