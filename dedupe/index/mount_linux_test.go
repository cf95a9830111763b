package index

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"efsdedupe/dedupe"
	"efsdedupe/fixtures/efs"
)

// efsMount shows a directory as if it were on EFS.
func efsMount(t *testing.T, src string) (dst string, mount *efs.FileSystem) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("only root can mount without fusermount3")
	}
	if f, err := os.OpenFile("/dev/fuse", os.O_RDWR, 0); err != nil {
		t.Skip("the EFS mount needs /dev/fuse: ", err)
	} else {
		f.Close()
	}
	dst = filepath.Join(t.TempDir(), "mnt")
	if err := os.Mkdir(dst, 0o777); err != nil {
		t.Fatal(err)
	}
	mount, err := efs.Mount(src, dst, efs.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { mount.Close() })
	return dst, mount
}

// TestEFSMount counts, where EFS does, what scans with an index do: an unchanged
// tree is neither opened nor read, of one with a changed file that one alone is.
func TestEFSMount(t *testing.T) {
	src := tree(t)
	dst, mounted := efsMount(t, src)
	x := open(t, filepath.Join(t.TempDir(), "index"))
	x.Now = func() time.Time { return later().Add(time.Hour) }
	want, _ := scan(t, x, options(dst))
	before := mounted.Counters()
	same := func(opens, bytes int64) {
		t.Helper()
		got, _ := scan(t, x, options(dst))
		after := mounted.Counters()
		if diff := cmp.Diff(want, got); diff != "" {
			t.Error(diff)
		}
		if after.Opens-before.Opens != opens || after.BytesRead-before.BytesRead != bytes {
			t.Errorf("%d opens and %d bytes, want %d and %d", after.Opens-before.Opens, after.BytesRead-before.BytesRead, opens, bytes)
		}
		before = after
	}
	same(0, 0)
	content, err := os.ReadFile(filepath.Join(src, "a1"))
	if err != nil {
		t.Fatal(err)
	}
	write(t, content, filepath.Join(src, "a1")) // by another client
	mounted.DropCaches()
	same(1, 5000)
	same(0, 0)

	var remote *RemoteError
	if l, err := OpenLog(filepath.Join(dst, "index")); !errors.As(err, &remote) {
		l.Close()
		t.Errorf("an index on a network file system: %v", err)
	}
}

// TestMountinfo holds how file systems are identified, by lines as Linux writes
// them.
func TestMountinfo(t *testing.T) {
	all := parseMounts(strings.Join([]string{
		`22 1 259:1 / / rw,relatime shared:1 - ext4 /dev/root rw`,
		`30 22 0:40 / /mnt/efs rw - nfs4 fs-0123.efs.us-east-1.amazonaws.com:/ rw,vers=4.1`,
		`31 22 0:41 /part /mnt/a\040b rw shared:2 master:1 - nfs4 fs-0123.efs.us-east-1.amazonaws.com:/ rw`,
		`32 22 0:42 / /mnt/tls rw - nfs4 127.0.0.1:/ rw,port=20049`,
		`33 22 0:43 / /mnt/six rw - nfs4 [::1]:/ rw`,
		`34 22 0:44 / /mnt/fuse rw - fuse.sshfs host:/x rw`,
		`35 22 259:1 /etc/hosts /etc/hosts rw - ext4 /dev/root rw`,
		`a line that is none`,
	}, "\n"))
	for dir, want := range map[string]string{
		"/mnt/efs/x/y":   "nfs:fs-0123.efs.us-east-1.amazonaws.com:/ /x/y true",
		"/mnt/efs":       "nfs:fs-0123.efs.us-east-1.amazonaws.com:/ / true",
		"/mnt/a b/x":     "nfs:fs-0123.efs.us-east-1.amazonaws.com:/ /part/x true",
		"/mnt/fuse/x":    "fuse.sshfs:host:/x /x true",
		"/mnt/tls/x":     "/mnt/tls is mounted from 127.0.0.1:/, a tunnel that does not tell the file system: give its identity /x true",
		"/mnt/six":       "/mnt/six is mounted from [::1]:/, a tunnel that does not tell the file system: give its identity / true",
		"/mnt/efsx/deep": "ext4 /mnt/efsx/deep false",
	} {
		m, err := all.of(dir)
		if err != nil {
			t.Error(err)
			continue
		}
		id, err := m.identity()
		if err != nil {
			id = err.Error()
		}
		if !m.remote() {
			id, _, _ = strings.Cut(id, ":")
		}
		if got := fmt.Sprint(id, " ", m.inside(dir), " ", m.remote()); got != want {
			t.Errorf("%s: %s, want %s", dir, got, want)
		}
	}
	if names := all.in("/etc"); !cmp.Equal(names, []string{"hosts"}) {
		t.Errorf("mounts in /etc: %q", names)
	}
}

// TestMountedFile mounts a file over another: it is not of the file system around
// it, and the index keeps out of that.
func TestMountedFile(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root can mount")
	}
	root, other := t.TempDir(), filepath.Join(t.TempDir(), "other")
	write(t, []byte("same"), filepath.Join(root, "a"), filepath.Join(root, "b"), filepath.Join(root, "c"), other)
	if err := unix.Mount(other, filepath.Join(root, "c"), "", unix.MS_BIND, ""); err != nil {
		t.Skip("this root can't mount: ", err)
	}
	t.Cleanup(func() { unix.Unmount(filepath.Join(root, "c"), unix.MNT_DETACH) })
	x := open(t, filepath.Join(t.TempDir(), "index"))
	same(t, x, options(root), 3, 0)
	same(t, x, options(root), 1, 2)
}

// TestTunnel is that what can't be identified is read, and that the user is told,
// unless he identifies it.
func TestTunnel(t *testing.T) {
	root := tree(t)
	x := open(t, filepath.Join(t.TempDir(), "index"))
	for _, id := range []string{"", "fs-0123"} {
		x.FileSystem = id
		for range 2 {
			opts := options(root)
			use := x.Scan(opts)
			use.where.mounts = parseMounts(`32 22 0:42 / / rw - nfs4 127.0.0.1:/ rw,port=20049`)
			opts.Wrap = use.Wrap
			if _, err := scanWith(t, opts); err != nil {
				t.Fatal(err)
			}
			var tunnel *TunnelError
			if err := use.Flush(t.Context()); errors.As(err, &tunnel) != (id == "") {
				t.Errorf("%q: %v", id, err)
			}
		}
	}
	if s, err := x.Stats(t.Context()); err != nil || s.Entries != 9 || !cmp.Equal(s.FileSystems, []string{"fs-0123"}) {
		t.Errorf("%+v, %v", s, err)
	}
}

func scanWith(t *testing.T, opts dedupe.Options) (dedupe.Report, error) {
	return dedupe.Scan(t.Context(), opts)
}

// TestWithin is that a directory which a scan is confined to has the place where it
// is, whatever it is called by, and none where another is mounted over it.
func TestWithin(t *testing.T) {
	top := t.TempDir()
	root := filepath.Join(top, "root")
	write(t, []byte("same"), filepath.Join(root, "a"), filepath.Join(root, "sub", "b"))
	x := open(t, filepath.Join(t.TempDir(), "index"))
	same(t, x, options(root), 2, 0)

	dir, err := os.Open(root)
	if err != nil {
		t.Fatal(err)
	}
	defer dir.Close()
	within := options(".")
	within.Within = dir
	same(t, x, within, 0, 2)
	if err := os.Rename(root, filepath.Join(top, "moved")); err != nil {
		t.Fatal(err)
	}
	same(t, x, within, 2, 0) // now of another place, which is remembered, too
	same(t, x, within, 0, 2)
	same(t, x, options(filepath.Join(top, "moved")), 0, 2)

	if err := unix.Mount("none", filepath.Join(top, "moved"), "tmpfs", 0, ""); err != nil {
		t.Skip("this user can't mount: ", err)
	}
	t.Cleanup(func() { unix.Unmount(filepath.Join(top, "moved"), unix.MNT_DETACH) })
	use := x.Scan(within)
	within.Wrap = use.Wrap
	if r, err := scanWith(t, within); err != nil || !r.Complete || r.Stats.FilesKnown != 0 || r.Stats.Opens != 2 {
		t.Errorf("%+v, %v", r.Stats, err)
	}
	var place *PlaceError
	if err := use.Flush(t.Context()); !errors.As(err, &place) || !errors.Is(err, errHidden) {
		t.Errorf("%v", err)
	}
}
