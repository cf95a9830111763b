//go:build nfs

package dedupe

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"efsdedupe/dedupe/mount"
)

// These tests run inside a machine of package fixtures/nfs; its TestOtherClients starts
// them. What they change in serverDir, another client changes for the one at clientDir.
const (
	serverDir = "/srv/efs/changes"
	clientDir = "/mnt/efs/changes"
)

// onServer returns a new directory on the server, and the same on the client.
func onServer(t *testing.T) (server, client string) {
	t.Helper()
	name := strings.ReplaceAll(t.Name(), "/", "_")
	server, client = filepath.Join(serverDir, name), filepath.Join(clientDir, name)
	if err := os.MkdirAll(server, 0o777); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(server) })
	return server, client
}

// changes are what another client may do to a file. They leave its path.
var changes = map[string]func(path string) error{
	"rewritten": func(path string) error {
		before, err := os.Stat(path)
		if err != nil {
			return err
		}
		f, err := os.OpenFile(path, os.O_WRONLY, 0)
		if err != nil {
			return err
		}
		_, err = f.WriteAt([]byte("other"), before.Size()/2)
		return errors.Join(err, f.Close(), os.Chtimes(path, before.ModTime(), before.ModTime()))
	},
	"replaced": func(path string) error {
		b, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		b[0]++
		return errors.Join(os.WriteFile(path+".new", b, 0o666), os.Rename(path+".new", path))
	},
	"appended to": func(path string) error {
		f, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND, 0)
		if err != nil {
			return err
		}
		_, err = f.WriteString("more")
		return errors.Join(err, f.Close())
	},
	"deleted": os.Remove,
}

// change makes a change, and repeats it until it shows in the file's ctime: the server's
// clock ticks a few hundred times a second.
func change(t *testing.T, path, how string) {
	t.Helper()
	was, err := statAt(unix.AT_FDCWD, path, 0)
	if err != nil {
		t.Fatal(err)
	}
	for {
		if err := changes[how](path); err != nil {
			t.Fatal(err)
		}
		now, err := statAt(unix.AT_FDCWD, path, 0)
		if err != nil || now.changeTime != was.changeTime || now.inode != was.inode {
			return
		}
	}
}

// TestOtherClients has another client change a file at several moments of a scan whose
// client knows all files already: after the walk, after reads, after each file is signed.
// The file must be a problem and in no group.
func TestOtherClients(t *testing.T) {
	for _, size := range []int{1000, 80 << 10, 400 << 10, mediumMax + 1} {
		for how := range changes {
			t.Run(fmt.Sprintf("%d bytes %s", size, how), func(t *testing.T) {
				s := &changedScan{size: size, how: how}
				s.moments = s.run(t, -1)
				for i := 0; i < s.moments; i += max(s.moments/8, 1) {
					s.run(t, i)
				}
				s.run(t, s.moments-1)
				s.held = true
				s.run(t, s.moments-1)
			})
		}
	}
}

// changedScan is a scan during which a file changes.
type changedScan struct {
	size    int
	how     string
	moments int  // that a scan has
	held    bool // somebody else on the client has the file open
}

// run scans four equal files and changes one at a moment, unless that is negative. It
// returns how many moments there were.
func (s *changedScan) run(t *testing.T, moment int) (moments int) {
	t.Helper()
	server, client := onServer(t)
	for i := range 4 {
		if err := os.WriteFile(filepath.Join(server, fmt.Sprint(i)), bytes.Repeat([]byte{7}, s.size), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	sel, eng := Selection{Roots: []string{client}}, Engine{Mode: Goroutines, Workers: 1}
	if r, err := Scan(t.Context(), sel, eng); err != nil || !r.Complete || r.Stats.DuplicateFiles != 3 {
		t.Fatalf("before: %+v, error %v", r, err)
	}
	const target = "2"
	if s.held {
		f, err := os.Open(filepath.Join(client, target))
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
	}
	pass := func() {
		if moments == moment {
			change(t, filepath.Join(server, target), s.how)
		}
		moments++
	}
	eng.Recall = func(context.Context, *Inventory) { pass() }
	eng.Read = func(int64) { pass() }
	eng.Remember = func(context.Context, time.Time, []Signed) { pass() }
	r, err := Scan(t.Context(), sel, eng)
	if err != nil {
		t.Fatal(err)
	}
	wrong := moment >= 0
	at := slices.IndexFunc(r.Problems, func(p *Problem) bool { return filepath.Base(p.Path) == target && errors.Is(p, ErrChanged) })
	if (at >= 0) != wrong || r.Complete == wrong || len(r.Problems) > 1 {
		t.Errorf("changed at moment %d: complete %t, problems %v", moment, r.Complete, r.Problems)
	}
	for f := range r.Files() {
		if wrong && filepath.Base(f.Path) == target {
			t.Errorf("changed at moment %d, and in a group", moment)
		}
	}
	if err := os.RemoveAll(server); err != nil {
		t.Fatal(err)
	}
	return moments
}

// TestRecheck has another client change a file after it was listed. An index that knows it
// must not be believed.
func TestRecheck(t *testing.T) {
	server, client := onServer(t)
	for i := range 40 {
		if err := os.WriteFile(filepath.Join(server, fmt.Sprint(i)), []byte("same"), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	eng := Engine{Workers: 8}
	found, _, err := Walk(t.Context(), Selection{Roots: []string{client}}, nil, eng)
	if err != nil || !found.NFS() {
		t.Fatalf("%+v, error %v", found, err)
	}
	for c := range found.Copies() {
		c.Learn(0, Digest{1})
	}
	change(t, filepath.Join(server, "7"), "rewritten")
	if !eng.recheck(t.Context(), found.copies) {
		t.Error("it did not finish")
	}
	for _, c := range found.copies {
		if changed := filepath.Base(c.path()) == "7"; changed != (c.known == nil) {
			t.Errorf("%s: known %v", c.path(), c.known)
		}
	}
}

// TestFreshListing has another client change files in directories of many sizes. A client
// that listed them before must see the files as the server does, even while signals keep
// interrupting it.
func TestFreshListing(t *testing.T) {
	for _, files := range []int{10, 100, 1000, 5000} {
		t.Run(fmt.Sprint(files), func(t *testing.T) {
			server, client := onServer(t)
			for i := range files {
				if err := os.WriteFile(filepath.Join(server, fmt.Sprintf("file%05d", i)), []byte("same"), 0o666); err != nil {
					t.Fatal(err)
				}
			}
			const calm = 4
			for round := range calm + 1 {
				for i := round; i < files; i += 97 {
					change(t, filepath.Join(server, fmt.Sprintf("file%05d", i)), "rewritten")
				}
				if round == calm {
					defer sendSignals(t)()
				}
				walkFresh(t, server, client, files)
			}
		})
	}
}

// walkFresh checks that a walk sees files as they are on the server.
func walkFresh(t *testing.T, server, client string, files int) {
	t.Helper()
	meter := mount.Read().NewMeter()
	found, _, err := Walk(t.Context(), Selection{Roots: []string{client}}, nil, Engine{Workers: 64})
	sent := meter.Traffic([]string{client}, true)
	if err != nil || found.Files != int64(files) {
		t.Fatalf("%+v, error %v", found, err)
	}
	stale := 0
	for f := range found.All() {
		now, err := statAt(unix.AT_FDCWD, filepath.Join(server, filepath.Base(f.Path)), 0)
		if err != nil {
			t.Fatal(err)
		}
		if f.ChangeTime != now.changeTime || f.ModTime != now.modTime || f.Size != now.size {
			stale++
		}
	}
	if stale > 0 {
		t.Errorf("%d of %d files are not as on the server; messages %v, %d bytes received", stale, files, sent.Messages, sent.BytesReceived)
	}
}

// sendSignals keeps sending each thread the signal with which Go's runtime preempts
// goroutines, until the function it returns is called.
func sendSignals(t *testing.T) (stop func()) {
	t.Helper()
	ended, end := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		for {
			threads, err := os.ReadDir("/proc/self/task")
			if err != nil {
				t.Error(err)
				return
			}
			for _, thread := range threads {
				select {
				case <-end:
					return
				default:
				}
				if id, err := strconv.Atoi(thread.Name()); err == nil {
					unix.Tgkill(os.Getpid(), id, unix.SIGURG) // a thread may have ended
				}
			}
		}
	}()
	return func() { close(end); <-ended }
}

// TestMountedTwice scans a directory of the server at two mounts that the client keeps
// apart. Each file is one copy with two names, whichever mount it is read from.
func TestMountedTwice(t *testing.T) {
	server, client := onServer(t)
	const size = 100_000
	write(t, random(size), filepath.Join(server, "a"), filepath.Join(server, "b"))
	second := t.TempDir()
	if err := unix.Mount("127.0.0.1:/", second, "nfs4", 0, "vers=4.1,addr=127.0.0.1,clientaddr=127.0.0.1,nosharecache,actimeo=600"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Unmount(second, unix.MNT_DETACH) })
	again := filepath.Join(second, strings.TrimPrefix(client, "/mnt/efs"))
	one, err := statAt(unix.AT_FDCWD, filepath.Join(client, "a"), 0)
	two, err2 := statAt(unix.AT_FDCWD, filepath.Join(again, "a"), 0)
	if err := errors.Join(err, err2); err != nil || one.device == two.device || one.inode != two.inode {
		t.Fatalf("the test needs two devices with the same inodes: %+v, %+v, %v", one, two, err)
	}
	write(t, random(size), filepath.Join(server, "own"))
	own, err := os.Stat(filepath.Join(client, "own")) // as an output file at the other mount
	if err != nil {
		t.Fatal(err)
	}
	for _, mode := range []Mode{Goroutines, Processes} {
		for _, roots := range [][]string{{client}, {again}, {client, again}, {again, filepath.Join(client, "a")}} {
			r, err := Scan(t.Context(), Selection{Roots: roots}, Engine{Mode: mode, Workers: 4, Worker: worker, Ignore: []os.FileInfo{own}})
			if err != nil || !r.Complete {
				t.Fatalf("%s %q: %v, problems %v", mode, roots, err, r.Problems)
			}
			if len(r.Groups) != 1 || r.Groups[0].Reclaimable != size || r.Stats.Bytes != 2*size || r.Stats.Opens != 2 {
				t.Errorf("%s %q: %+v", mode, roots, r)
			}
		}
	}
}
