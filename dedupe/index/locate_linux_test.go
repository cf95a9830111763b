package index

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"efsdedupe/dedupe"
	"efsdedupe/dedupe/mount"
	"efsdedupe/dedupe/mount/mounttest"
	"efsdedupe/fixtures/efs"
	"efsdedupe/fixtures/testkit"
)

// TestEFSMount counts, where EFS does, what scans with an index do: they neither open nor
// read an unchanged tree, and read only the changed file of another.
func TestEFSMount(t *testing.T) {
	src := tree(t)
	mounted, dst := efs.MountForTest(t, src, efs.Options{})
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
	testkit.Write(t, content, filepath.Join(src, "a1")) // by another client
	mounted.DropCaches()
	same(1, 5000)
	same(0, 0)

	var remote *RemoteError
	if l, err := OpenLog(filepath.Join(dst, "index")); !errors.As(err, &remote) {
		l.Close()
		t.Errorf("an index on a network file system: %v", err)
	}
}

// TestHidden finds the mount of a directory if another mount hides the one at its path.
func TestHidden(t *testing.T) {
	top := mounttest.TrustedDir(t, 32<<20)
	testkit.MountTmpfs(t, filepath.Join(top, "a", "b"), "")
	testkit.MountTmpfs(t, filepath.Join(top, "a"), "") // over the previous one
	root := filepath.Join(top, "a", "b")
	testkit.Write(t, []byte("same"), filepath.Join(root, "1"), filepath.Join(root, "2"))
	x := open(t, filepath.Join(t.TempDir(), "index"))
	same(t, x, options(root), 2, 0)
	same(t, x, options(root), 0, 2)

	// Mounts that appear during a scan are found, too.
	opts := options(top)
	use := x.Attach(opts.Selection, &opts.Engine)
	testkit.MountTmpfs(t, filepath.Join(top, "late"), "")
	testkit.Write(t, []byte("same"), filepath.Join(top, "late", "1"), filepath.Join(top, "late", "2"))
	if r, err := dedupe.Scan(t.Context(), opts.Selection, opts.Engine); err != nil || len(r.Groups) != 1 {
		t.Errorf("%+v, %v", r, err)
	}
	if err := use.Flush(t.Context()); err != nil {
		t.Error(err)
	}
	same(t, x, options(filepath.Join(top, "late")), 0, 2)
}

// TestMountedFile mounts files over others. A file from another file system must be read
// in every scan, whatever its directory is on.
func TestMountedFile(t *testing.T) {
	top, elsewhere := mounttest.TrustedDir(t, 32<<20), filepath.Join(t.TempDir(), "tmpfs")
	testkit.MountTmpfs(t, elsewhere, "")
	root, same1, other := filepath.Join(top, "root"), filepath.Join(top, "same"), filepath.Join(elsewhere, "other")
	testkit.Write(t, []byte("same"), filepath.Join(root, "a"), filepath.Join(root, "b"), filepath.Join(root, "c"), filepath.Join(root, "d"), same1, other)
	for name, source := range map[string]string{"c": other, "d": same1} {
		if err := unix.Mount(source, filepath.Join(root, name), "", unix.MS_BIND, ""); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { unix.Unmount(filepath.Join(root, name), unix.MNT_DETACH) })
	}
	x := open(t, filepath.Join(t.TempDir(), "index"))
	same(t, x, options(root), 4, 0)
	same(t, x, options(root), 1, 3)
}

// TestTunnel checks that files on a mount that does not reveal its file system are read,
// that the user is told unless he identifies it, and that two file systems do not get the
// same identity.
func TestTunnel(t *testing.T) {
	root, second := tree(t), filepath.Join(t.TempDir(), "second")
	testkit.MountTmpfs(t, second, "")
	testkit.Write(t, []byte("0123456789"), filepath.Join(second, "a"), filepath.Join(second, "b"))
	tunnel := func(dir string) string {
		var st unix.Statx_t
		if err := unix.Statx(unix.AT_FDCWD, dir, 0, unix.STATX_MNT_ID, &st); err != nil {
			t.Fatal(err)
		}
		point := "/"
		if dir == second {
			point = second
		}
		return fmt.Sprintf("%d 22 %d:%d / %s rw - nfs4 127.0.0.1:/ rw,port=20049\n", st.Mnt_id, st.Dev_major, st.Dev_minor, point)
	}
	x := open(t, filepath.Join(t.TempDir(), "index"))
	use := func(roots ...string) (err error) {
		opts := options(roots...)
		use := x.scan(opts.Selection.Roots, nil) // Attach, with another mount table
		opts.Engine.Recall, opts.Engine.Remember, opts.Engine.Now = use.Recall, use.Remember, x.Now
		use.where.mounts = mount.Parse(tunnel(root) + tunnel(second))
		use.where.err, use.where.given = nil, 0 // on btrfs, mount tables and directories have different devices
		if _, err := dedupe.Scan(t.Context(), opts.Selection, opts.Engine); err != nil {
			t.Fatal(err)
		}
		return use.Flush(t.Context())
	}
	for _, id := range []string{"", "fs-0123"} {
		x.FileSystem = id
		for range 2 {
			var tunnel *mount.TunnelError
			if err := use(root); errors.As(err, &tunnel) != (id == "") {
				t.Errorf("%q: %v", id, err)
			}
		}
	}
	if s, err := x.Stats(t.Context()); err != nil || s.Entries != 9 || !cmp.Equal(s.FileSystems, []string{"fs-0123"}) {
		t.Errorf("%+v, %v", s, err)
	}
	var untold *mount.TunnelError
	if err := use(root, second); !errors.As(err, &untold) {
		t.Errorf("two file systems of one identity: %v", err)
	}
}

// TestWithin checks that a scan's confining directory gets its real place, whatever its
// name, and none if another directory is mounted over it.
func TestWithin(t *testing.T) {
	top := mounttest.TrustedDir(t, 32<<20)
	root := filepath.Join(top, "root")
	testkit.Write(t, []byte("same"), filepath.Join(root, "a"), filepath.Join(root, "sub", "b"))
	x := open(t, filepath.Join(t.TempDir(), "index"))
	same(t, x, options(root), 2, 0)

	within := inside(t, root)
	same(t, x, within, 0, 2)
	if err := os.Rename(root, filepath.Join(top, "moved")); err != nil {
		t.Fatal(err)
	}
	same(t, x, within, 2, 0) // now in another place, which is also remembered
	same(t, x, within, 0, 2)
	same(t, x, options(filepath.Join(top, "moved")), 0, 2)

	testkit.MountTmpfs(t, filepath.Join(top, "moved"), "")
	use := x.Attach(within.Selection, &within.Engine)
	if r, err := dedupe.Scan(t.Context(), within.Selection, within.Engine); err != nil || !r.Complete || r.Stats.FilesKnown != 0 || r.Stats.Opens != 2 {
		t.Errorf("%+v, %v", r.Stats, err)
	}
	var place *PlaceError
	if err := use.Flush(t.Context()); !errors.As(err, &place) || !errors.Is(err, mount.ErrHidden) {
		t.Errorf("%v", err)
	}
}
