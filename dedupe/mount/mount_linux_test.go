package mount

import (
	"path/filepath"
	"strings"
	"testing"
)

// TestOddNames reads a mount table whose names contain Unicode spaces. The kernel escapes
// only blanks, so such a space must not separate fields.
func TestOddNames(t *testing.T) {
	const name = "/p/x\rrw\r-\rnfs4\rserver:\r"
	all := Parse("35 22 0:45 / " + name + " rw - fuse.sshfs host:/x rw\n36 22 0:46 / /p/\u00a0x\u0085 rw - tmpfs t rw\n")
	for point, kind := range map[string]string{name: "fuse.sshfs", "/p/\u00a0x\u0085": "tmpfs"} {
		if m := all.at[point]; m == nil || m.Kind != kind {
			t.Errorf("%q: %+v, want %s", point, m, kind)
		}
	}
}

// TestMountinfo checks how file systems are identified, from lines that Linux wrote.
func TestMountinfo(t *testing.T) {
	all := Parse(strings.Join([]string{
		`22 1 259:1 / / rw,relatime shared:1 - ext4 /dev/root rw`,
		`30 22 0:40 / /mnt/efs rw - nfs4 fs-0123.efs.us-east-1.amazonaws.com:/ rw,vers=4.1`,
		`31 22 0:41 /part /mnt/a\040b rw shared:2 master:1 - nfs4 fs-0123.efs.us-east-1.amazonaws.com:/ rw`,
		`32 22 0:42 / /mnt/tls rw - nfs4 127.0.0.1:/ rw,port=20049`,
		`33 22 0:43 / /mnt/six rw - nfs4 [::1]:/ rw`,
		`34 22 0:44 / /mnt/fuse rw - fuse.sshfs host:/x rw`,
		`35 22 0:45 / /mnt/old rw - nfs host:/x rw,vers=3`,
		`36 22 7:1 / /mnt/iso ro - iso9660 /dev/loop1 ro`,
		`37 22 7:2 / /mnt/fat rw - vfat /dev/loop2 rw`,
		`a line that is none`,
		`x 22 7:3 / /mnt/odd rw - ext4 /dev/loop3 rw`,
	}, "\n"))
	if len(all.byID) != 9 {
		t.Errorf("%d mounts", len(all.byID))
	}
	const untrusted = ", equal inode numbers and times do not prove that a file is unchanged"
	for dir, want := range map[string]string{
		"/mnt/efs/x/y": "nfs:fs-0123.efs.us-east-1.amazonaws.com:/ /x/y",
		"/mnt/efs":     "nfs:fs-0123.efs.us-east-1.amazonaws.com:/ /",
		"/mnt/a b/x":   "nfs:fs-0123.efs.us-east-1.amazonaws.com:/ /part/x",
		"/mnt/tls/x":   "/mnt/tls is mounted from 127.0.0.1:/, a tunnel that does not tell the file system: give its identity /x",
		"/mnt/six":     "/mnt/six is mounted from [::1]:/, a tunnel that does not tell the file system: give its identity /",
		"/mnt/fuse/x":  "on fuse.sshfs" + untrusted + " /x",
		"/mnt/old/x":   "on nfs" + untrusted + " /x",
		"/mnt/iso":     "on iso9660" + untrusted + " /",
		"/mnt/fat":     "on vfat" + untrusted + " /",
	} {
		at := dir
		for all.at[at] == nil {
			at = filepath.Dir(at)
		}
		id, err := all.at[at].Identity()
		if err != nil {
			id, _, _ = strings.Cut(err.Error(), ";")
		}
		if got := id + " " + all.at[at].Inside(dir); got != want {
			t.Errorf("%s: %s, want %s", dir, got, want)
		}
	}
}

// TestNames names devices alike on machines that number and mount them differently.
func TestNames(t *testing.T) {
	here := Parse(strings.Join([]string{
		`30 22 0:40 / /mnt/efs rw - nfs4 fs-1:/ rw`,
		`31 22 0:40 /part /mnt/part rw - nfs4 fs-1:/part rw`,
		`32 22 0:41 / /mnt/fuse rw - fuse.sshfs host:/x rw`,
		`33 22 0:42 / /mnt/a rw - fuse.sshfs host:/y rw`,
		`34 22 0:43 / /mnt/a rw - fuse.sshfs host:/z rw`,
	}, "\n")).Names()
	there := Parse(strings.Join([]string{
		`7 1 0:99 /part /mnt/part rw - nfs4 fs-1:/part rw`,
		`8 1 0:99 / /mnt/efs rw - nfs4 fs-1:/ rw`,
		`9 1 0:98 / /mnt/fuse rw - fuse.sshfs host:/x rw`,
	}, "\n")).Names()
	if here[40] != "nfs:fs-1:/" || here[40] != there[99] || here[41] != there[98] || here[41] == "" || here[42] != "" || here[43] == "" {
		t.Errorf("here %v, there %v", here, there)
	}
}

// TestOptions has the options of a mount and of its file system, each once.
func TestOptions(t *testing.T) {
	m, _, err := Parse("30 22 0:40 / /mnt ro,noatime shared:1 - nfs4 host:/ ro,vers=4.1,rsize=65536\n").Of("/mnt/dir")
	if err != nil {
		t.Fatal(err)
	}
	if got, want := strings.Join(m.Options(), " "), "ro noatime vers=4.1 rsize=65536"; got != want {
		t.Errorf("options %q, want %q", got, want)
	}
	if got := new(Mount).Options(); len(got) != 0 {
		t.Errorf("options %q of no mount", got)
	}
}
