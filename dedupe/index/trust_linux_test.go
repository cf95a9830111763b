package index

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"efsdedupe/dedupe"
	"efsdedupe/dedupe/mount"
	"efsdedupe/dedupe/mount/mounttest"
	"efsdedupe/fixtures/efs"
	"efsdedupe/fixtures/testkit"
)

// workplace is a folder for one case of TestTrust. It has a directory src with two equal
// files a and b and another file c of the same size, and a mount point m.
type workplace struct {
	*testing.T
	dir string
}

func newWorkplace(t *testing.T) workplace {
	if os.Geteuid() != 0 {
		t.Skip("only root can mount file systems: run it as root")
	}
	w := workplace{t, mounttest.TrustedDir(t, 32<<20)}
	w.fill("src", "AAC")
	if err := os.Mkdir(w.path("m"), 0o777); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mount("none", w.path("m"), "tmpfs", 0, ""); err != nil {
		t.Skip("this root can't mount file systems: run it in a virtual machine or a privileged container: ", err)
	}
	w.unmount()
	return w
}

func (w workplace) path(name string) string { return filepath.Join(w.dir, name) }

// fill writes the files a, b and c to a directory, each of one repeated letter.
func (w workplace) fill(dir, letters string) {
	w.Helper()
	for i, name := range []string{"a", "b", "c"} {
		testkit.Write(w, bytes.Repeat([]byte{letters[i]}, 5000), filepath.Join(w.path(dir), name))
	}
}

// run runs a program in the folder. It skips the test if the machine does not have the
// program.
func (w workplace) run(name string, args ...string) {
	w.Helper()
	if _, err := exec.LookPath(name); err != nil {
		w.Skipf("%s is missing: install it", name)
	}
	cmd := exec.Command(name, args...)
	cmd.Dir = w.dir
	cmd.Env = append(os.Environ(), "SOURCE_DATE_EPOCH=1000000000", "E2FSPROGS_FAKE_TIME=1000000000")
	if out, err := cmd.CombinedOutput(); err != nil {
		w.Fatalf("%s: %v: %s", cmd, err, out)
	}
}

// mount mounts at m until the test ends or unmount is called.
func (w workplace) mount(args ...string) {
	w.Helper()
	w.run("mount", append(args, "m")...)
	w.Cleanup(w.unmount)
}

func (w workplace) unmount() { unix.Unmount(w.path("m"), unix.MNT_DETACH) }

// image mounts a new file system of a type, with the files a, b and c.
func (w workplace) image(kind, size string, options ...string) {
	w.Helper()
	w.run("truncate", "-s", size, "img")
	w.run("mkfs."+kind, append(options, "-q", "img")...)
	w.mount("-o", "loop", "-t", kind, "img")
	w.fill("m", "AAC")
}

// sshfs mounts src through a local SFTP server, without a network.
func (w workplace) sshfs(options ...string) {
	w.Helper()
	const server = "/usr/lib/openssh/sftp-server"
	if _, err := os.Stat(server); err != nil {
		w.Skip("sftp-server is missing: apt install openssh-sftp-server")
	}
	if err := os.WriteFile(w.path("ssh"), []byte("#!/bin/sh\nexec "+server+"\n"), 0o777); err != nil {
		w.Fatal(err)
	}
	w.run("sshfs", append(options, "-o", "ssh_command="+w.path("ssh"), "host:"+w.path("src"), "m")...)
	w.Cleanup(w.unmount)
}

// again changes the content of a file and restores its mtime.
func (w workplace) again(file string, letter byte) {
	w.Helper()
	st, err := os.Stat(w.path(file))
	if err != nil {
		w.Fatal(err)
	}
	testkit.Write(w, bytes.Repeat([]byte{letter}, 5000), w.path(file))
	if err := os.Chtimes(w.path(file), st.ModTime(), st.ModTime()); err != nil {
		w.Fatal(err)
	}
}

// trustTests are mounts, and whether an index trusts their inode numbers and times.
var trustTests = map[string]struct {
	mount   func(w workplace)
	trusted bool
	set     bool              // the type is trusted, but not the times of these files
	change  func(w workplace) // nil: a is rewritten
}{
	"tmpfs":    {mount: func(w workplace) { w.mount("-t", "tmpfs", "t"); w.fill("m", "AAC") }, trusted: true},
	"ext2":     {mount: func(w workplace) { w.image("ext2", "20M") }, trusted: true},
	"ext3":     {mount: func(w workplace) { w.image("ext3", "20M") }, trusted: true},
	"ext4":     {mount: func(w workplace) { w.image("ext4", "20M") }, trusted: true},
	"xfs":      {mount: func(w workplace) { w.image("xfs", "320M") }, trusted: true},
	"btrfs":    {mount: func(w workplace) { w.image("btrfs", "120M") }, trusted: true},
	"a folder": {mount: func(w workplace) { w.mount("--bind", "src") }, trusted: true},
	"a subvolume": {mount: func(w workplace) {
		w.image("btrfs", "120M")
		w.run("btrfs", "subvolume", "create", "m/s")
		w.fill("m/s", "DDF")
		w.run("btrfs", "subvolume", "snapshot", "m/s", "m/t")
	}, trusted: true},
	"subvolumes that change places": {mount: func(w workplace) {
		w.image("btrfs", "120M")
		w.run("btrfs", "subvolume", "create", "m/s")
		w.fill("m/s", "DDF")
		w.run("btrfs", "subvolume", "snapshot", "m/s", "m/t")
	}, trusted: true, change: func(w workplace) {
		w.again("m/t/a", 'F')
		w.run("sh", "-c", "mv m/s m/u && mv m/t m/s && mv m/u m/t")
	}},
	"EFS-like": {mount: func(w workplace) { w.efs() }, trusted: true, change: func(w workplace) { w.again("src/a", 'D'); w.fresh() }},

	"squashfs": {mount: func(w workplace) { w.squashfs("src") }, change: func(w workplace) {
		w.unmount()
		w.fill("v2", "DAC")
		w.squashfs("v2")
	}},
	"erofs": {mount: func(w workplace) { w.erofs("src") }, change: func(w workplace) {
		w.unmount()
		w.fill("v2", "DAC")
		w.erofs("v2")
	}},
	"ext4 made of a folder": {mount: func(w workplace) { w.ext4("src") }, set: true, change: func(w workplace) {
		w.unmount()
		w.fill("v2", "DAC")
		w.ext4("v2")
	}},
	"overlay": {mount: func(w workplace) {
		// Two file systems in one directory, with files that have the same inode
		// numbers.
		for i, layer := range []string{"l1", "l2", "top"} {
			w.run("mkdir", layer)
			w.run("mount", "-t", "tmpfs", "t", layer)
			w.Cleanup(func() { unix.Unmount(w.path(layer), unix.MNT_DETACH) })
			testkit.Write(w, bytes.Repeat([]byte("A"), 5000), w.path(fmt.Sprint(layer, "/", i)))
		}
		w.run("mkdir", "top/upper", "top/work")
		w.mount("-t", "overlay", "-o", "lowerdir=l1:l2,upperdir=top/upper,workdir=top/work", "o")
	}, change: func(w workplace) { w.again("m/0", 'D') }},
	"sshfs": {mount: func(w workplace) { w.sshfs("-o", "cache=no") }, change: func(w workplace) { w.again("m/a", 'D') }},
	"sshfs mounted again": {mount: func(w workplace) {
		w.run("touch", "-d", "2026-01-01", "src/a", "src/b", "src/c")
		w.sshfs()
		w.run("stat", "m/a", "m/b", "m/c") // assigns inode numbers in this order
	}, change: func(w workplace) {
		w.unmount()
		w.sshfs()
		w.run("stat", "m/c", "m/b", "m/a")
	}},
	"bindfs":             {mount: func(w workplace) { w.run("bindfs", "src", "m"); w.Cleanup(w.unmount) }},
	"called as EFS-like": {mount: func(w workplace) { w.bindfs("subtype=dedupe-efs,fsname=" + w.path("src")) }},
	"called as ext4":     {mount: func(w workplace) { w.bindfs("subtype=ext4,fsname=/dev/loop0") }},
	"EFS-like, of squashfs": {mount: func(w workplace) {
		w.squashfs("src")
		w.run("mkdir", "m2")
		w.efsOf("m", "m2")
	}},
}

// TestTrust scans real mounts twice. On types that the index trusts, the second scan must
// open nothing. On others it must read everything, store nothing and say why; then each
// is changed in the way for which it is not trusted.
func TestTrust(t *testing.T) {
	for name, test := range trustTests {
		t.Run(name, func(t *testing.T) {
			w := newWorkplace(t)
			test.mount(w)
			opts := options(w.path("m"))
			if _, err := os.Stat(w.path("m2")); err == nil {
				opts = options(w.path("m2"))
			}
			x := open(t, filepath.Join(t.TempDir(), "index"))
			checkTrust(t, x, opts, test.trusted, test.set)
			if test.change == nil {
				if test.trusted {
					w.again("m/a", 'D')
				}
			} else {
				test.change(w)
			}
			want, _ := scan(t, nil, opts)
			use := x.Attach(opts.Selection, &opts.Engine)
			r, err := dedupe.Scan(t.Context(), opts.Selection, opts.Engine)
			if err != nil || !r.Complete {
				t.Errorf("%v, %v", r.Problems, err)
			}
			use.Flush(t.Context())
			if diff := cmp.Diff(want, groupsOf(r)); diff != "" {
				t.Errorf("after a change:\n%s", diff)
			}
		})
	}
}

// TestTwins scans a file system and a copy of it with the same identity. Entries of one
// must not answer for the other.
func TestTwins(t *testing.T) {
	w := newWorkplace(t)
	w.image("ext4", "20M")
	w.unmount()
	w.run("cp", "img", "img2")
	w.run("mkdir", "d", "d/1", "d/2")
	for n, img := range map[string]string{"d/1": "img", "d/2": "img2"} {
		w.run("mount", "-o", "loop", img, n)
		w.Cleanup(func() { unix.Unmount(w.path(n), unix.MNT_DETACH) })
		w.fill(n, "AAC")
	}
	x := open(t, filepath.Join(t.TempDir(), "index"))
	opts := options(w.path("d"))
	for range 3 {
		want, _ := scan(t, nil, opts)
		with := opts
		use := x.Attach(with.Selection, &with.Engine)
		r, err := dedupe.Scan(t.Context(), with.Selection, with.Engine)
		if diff := cmp.Diff(want, groupsOf(r)); err != nil || diff != "" {
			t.Errorf("%v\n%s", err, diff)
		}
		if err := use.Flush(t.Context()); !errors.Is(err, errTwin) {
			t.Errorf("%v", err)
		}
	}
}

// TestShowsItself checks that a program that claims that its mount shows itself causes no
// endless loop.
func TestShowsItself(t *testing.T) {
	w := newWorkplace(t)
	w.run("bindfs", "src", "m")
	w.Cleanup(w.unmount)
	var st unix.Stat_t
	if err := unix.Stat(w.path("m"), &st); err != nil {
		t.Fatal(err)
	}
	listener, err := net.Listen("unix", fmt.Sprintf("@dedupe-efs-%d:%d", unix.Major(st.Dev), unix.Minor(st.Dev)))
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	go func() {
		for {
			c, err := listener.Accept()
			if err != nil {
				return
			}
			fmt.Fprintf(c, "%d:%d %s", st.Dev, st.Ino, w.path("m"))
			c.Close()
		}
	}()
	if got := shownBy(st.Dev); got != w.path("m") {
		t.Fatalf("it shows %q: the test proves nothing", got)
	}
	checkTrust(t, open(t, filepath.Join(t.TempDir(), "index")), options(w.path("m")), false, false)
}

// TestSamePlace scans a directory under two paths. Entries must answer for both.
func TestSamePlace(t *testing.T) {
	w := newWorkplace(t)
	w.mount("--bind", "src")
	x := open(t, filepath.Join(t.TempDir(), "index"))
	opts := options(w.path("src"), w.path("m"))
	scan(t, x, opts)
	for range 3 {
		if _, work := scan(t, x, opts); work.Opens > 0 {
			t.Errorf("%+v", work)
		}
	}
}

// TestCovered checks that files mounted into the directory that an EFS-like mount shows
// are read in every scan, because on the mount all files have one device.
func TestCovered(t *testing.T) {
	w := newWorkplace(t)
	testkit.MountTmpfs(t, w.path("other"), "")
	testkit.Write(t, bytes.Repeat([]byte("A"), 5000), w.path("other/f"))
	if err := unix.Mount(w.path("other/f"), w.path("src/c"), "", unix.MS_BIND, ""); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Unmount(w.path("src/c"), unix.MNT_DETACH) })
	w.efs()
	x := open(t, filepath.Join(t.TempDir(), "index"))
	for range 2 {
		opts := options(w.path("m"))
		use := x.Attach(opts.Selection, &opts.Engine)
		r, err := dedupe.Scan(t.Context(), opts.Selection, opts.Engine)
		if err != nil || r.Stats.FilesKnown > 0 || len(r.Groups) != 1 {
			t.Errorf("%+v, %v", r.Stats, err)
		}
		if err := use.Flush(t.Context()); !errors.Is(err, errNested) {
			t.Errorf("%v", err)
		}
	}
}

// checkTrust scans twice.
func checkTrust(t *testing.T, x *Index, opts job, trusted, set bool) {
	t.Helper()
	var first dedupe.Report
	for round := range 2 {
		opts := opts
		use := x.Attach(opts.Selection, &opts.Engine)
		r, err := dedupe.Scan(t.Context(), opts.Selection, opts.Engine)
		if err != nil || !r.Complete || len(r.Groups) == 0 {
			t.Fatalf("%d groups, problems %v, %v", len(r.Groups), r.Problems, err)
		}
		err = use.Flush(t.Context())
		use.Describe(&r, fmt.Sprint(err))
		var kind *mount.TypeError
		if errors.As(err, &kind) == (trusted || set) || r.Index.Used != (trusted || set) {
			t.Errorf("scan %d: %v; %+v", round, err, r.Index)
		}
		if round == 0 {
			first = r
			continue
		}
		if trusted && (r.Stats.Opens > 0 || r.Stats.FilesKnown < 3) {
			t.Errorf("the second scan knows %d files and opens %d", r.Stats.FilesKnown, r.Stats.Opens)
		}
		if !trusted && (r.Stats.Opens != first.Stats.Opens || r.Stats.FilesKnown > 0) {
			t.Errorf("the second scan knows %d files and opens %d, the first %d", r.Stats.FilesKnown, r.Stats.Opens, first.Stats.Opens)
		}
		if diff := cmp.Diff(groupsOf(first), groupsOf(r)); diff != "" {
			t.Error(diff)
		}
	}
	if s, err := x.Stats(t.Context()); err != nil || (s.Entries > 0) != trusted {
		t.Errorf("%+v, %v", s, err)
	}
}

func (w workplace) bindfs(options string) {
	w.Helper()
	w.run("bindfs", "-o", options, "src", "m")
	w.Cleanup(w.unmount)
}

// squashfs mounts an image whose times are all the same, as in reproducible builds.
func (w workplace) squashfs(dir string) {
	w.Helper()
	w.run("mksquashfs", dir, "img", "-quiet", "-no-progress", "-noappend", "-all-root")
	w.mount("-o", "loop,ro", "img")
}

func (w workplace) erofs(dir string) {
	w.Helper()
	w.run("rm", "-f", "img")
	w.run("mkfs.erofs", "-T1000000000", "--all-root", "img", dir)
	w.mount("-o", "loop,ro", "-t", "erofs", "img")
}

// ext4 mounts a file system that was never mounted before, so no kernel's clock set its
// ctimes.
func (w workplace) ext4(dir string) {
	w.Helper()
	w.run("rm", "-f", "img")
	w.run("truncate", "-s", "20M", "img")
	w.run("mkfs.ext4", "-q", "-U", "01234567-89ab-cdef-fedc-ba9876543210", "-E", "hash_seed=01234567-89ab-cdef-fedc-ba9876543210", "-d", dir, "img")
	w.mount("-o", "loop", "img")
}

func (w workplace) efs() { w.efsOf("src", "m") }

func (w workplace) efsOf(src, dst string) {
	w.Helper()
	mounted, err := efs.Mount(w.path(src), w.path(dst), efs.Options{})
	if err != nil {
		w.Fatal(err)
	}
	w.Cleanup(func() { mounted.Close() })
}

// fresh makes the client of the EFS-like mount drop its cached attributes.
func (w workplace) fresh() {
	w.Helper()
	w.unmount()
	w.efs()
}

// TestShownBy checks that only the program that serves an EFS-like mount is believed, and
// only while it does.
func TestShownBy(t *testing.T) {
	w := newWorkplace(t)
	mounted, err := efs.Mount(w.path("src"), w.path("m"), efs.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { mounted.Close() })
	_, device, err := mount.Read().Of(w.path("m"))
	if err != nil {
		t.Fatal(err)
	}
	real, err := filepath.EvalSymlinks(w.path("src"))
	if got := shownBy(device); err != nil || got != real {
		t.Errorf("it shows %q, want %q (%v)", got, real, err)
	}
	// Its path here no longer means the directory it shows.
	w.run("mv", "src", "other")
	w.fill("src", "AAC")
	if got := shownBy(device); got != "" {
		t.Errorf("it shows %q, which is another directory now", got)
	}
	w.run("rm", "-r", "src")
	w.run("mv", "other", "src")
	before := socketsOf(t, device)
	if len(before) == 0 {
		t.Error("there is no socket before the mount ends")
	}
	if err := mounted.Close(); err != nil {
		t.Fatal(err)
	}
	<-mounted.Done()
	for _, inode := range socketsOf(t, device) { // those of a later mount with the same device differ
		if slices.Contains(before, inode) {
			t.Error("the socket is there after the mount")
		}
	}
}

// socketsOf returns the inodes of the sockets that tell which directory a mount shows.
func socketsOf(t *testing.T, device uint64) (inodes []string) {
	t.Helper()
	out, err := os.ReadFile("/proc/net/unix")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(out)) {
		const inode, path = 6, 7
		if f := strings.Fields(line); len(f) > path && f[path] == fmt.Sprintf("@dedupe-efs-%d:%d", unix.Major(device), unix.Minor(device)) {
			inodes = append(inodes, f[inode])
		}
	}
	return inodes
}
