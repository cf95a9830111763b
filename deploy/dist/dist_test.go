package main

import (
	"bytes"
	"crypto/sha256"
	"debug/buildinfo"
	"debug/elf"
	"encoding/hex"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"

	cdx "github.com/CycloneDX/cyclonedx-go"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"golang.org/x/sys/unix"

	"efsdedupe/dedupe/report"
)

const (
	top  = "../.."
	dist = top + "/build/dist" // where make test-dist has made the release
)

// TestSums checks every file of the release against SHA256SUMS.
func TestSums(t *testing.T) {
	var summed []string
	for line := range strings.Lines(string(read(t, dist+"/SHA256SUMS"))) {
		sum, name, _ := strings.Cut(strings.TrimSuffix(line, "\n"), "  ")
		if got := sha256.Sum256(read(t, filepath.Join(dist, name))); hex.EncodeToString(got[:]) != sum {
			t.Errorf("%s has another sum than in SHA256SUMS", name)
		}
		summed = append(summed, name)
	}
	entries, err := os.ReadDir(dist)
	if err != nil {
		t.Fatal(err)
	}
	if len(summed) != len(entries)-1 || len(summed) < 8 {
		t.Errorf("%d sums for %d other files", len(summed), len(entries)-1)
	}
}

// TestArchives unpacks the tar.gz of each platform as users do, looks at its program, and
// runs the one for this machine.
func TestArchives(t *testing.T) {
	for _, p := range platforms() {
		prefix := t.TempDir()
		output(t, "tar", "-xzf", filepath.Join(dist, base(p.os, p.arch)+".tar.gz"), "-C", prefix, "--strip-components=1")
		binary := filepath.Join(prefix, "bin", program)
		checkProgram(t, binary, p)
		for _, name := range []string{"share/man/man1/dedupe.1", "share/man/man1/dedupe-index-verify.1", "share/bash-completion/completions/dedupe",
			"share/zsh/site-functions/_dedupe", "share/fish/vendor_completions.d/dedupe.fish", "share/doc/dedupe/LICENSE", "share/doc/dedupe/NOTICES"} {
			if len(read(t, filepath.Join(prefix, name))) == 0 {
				t.Errorf("%s: %s is empty", p, name)
			}
		}
		if p.os == runtime.GOOS && p.arch == runtime.GOARCH {
			checkVersion(t, output(t, binary, "version"))
			output(t, "bash", "-n", filepath.Join(prefix, "share/bash-completion/completions/dedupe"))
		}
	}
}

// checkProgram checks that a program is for a platform and, on Linux, needs no library.
func checkProgram(t *testing.T, path string, p platform) {
	t.Helper()
	info, err := buildinfo.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	settings := make(map[string]string)
	for _, s := range info.Settings {
		settings[s.Key] = s.Value
	}
	if settings["GOOS"] != p.os || settings["GOARCH"] != p.arch || settings["CGO_ENABLED"] != "0" {
		t.Errorf("%s: a program with %v", p, settings)
	}
	if p.os != "linux" {
		return
	}
	f, err := elf.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	machine := map[string]elf.Machine{"amd64": elf.EM_X86_64, "arm64": elf.EM_AARCH64}[p.arch]
	if f.Machine != machine || slices.ContainsFunc(f.Progs, func(s *elf.Prog) bool { return s.Type == elf.PT_INTERP }) {
		t.Errorf("%s: a program for %v, or one that needs libraries", p, f.Machine)
	}
}

func checkVersion(t *testing.T, said string) {
	t.Helper()
	if want := program + " " + report.Version + ", revision "; !strings.HasPrefix(said, want) {
		t.Errorf("%q does not begin with %q", said, want)
	}
}

// TestDeb installs the package in a fresh Debian, uses it as a normal user, and removes it.
func TestDeb(t *testing.T) {
	debian := freshDebian(t)
	deb := fmt.Sprintf("dedupe_%s_%s.deb", report.Version, runtime.GOARCH)
	output(t, "cp", filepath.Join(dist, deb), debian)
	inside(t, debian, 0, "/usr/bin/dpkg", "-i", "/"+deb)
	if changed := inside(t, debian, 0, "/usr/bin/dpkg", "--verify", program); changed != "" {
		t.Errorf("installed files differ from the package: %s", changed)
	}
	const user = 1000
	inside(t, debian, 0, "/usr/sbin/useradd", "--create-home", "--uid", fmt.Sprint(user), "user")
	useProgram(t, debian, user, "/home/user")
	if page := inside(t, debian, user, "/usr/bin/man", "--warnings", "-P", "cat", program); !strings.Contains(page, "dedupe-scan(1)") || !strings.Contains(page, "dedupe scan /mnt/efs") {
		t.Errorf("man dedupe shows %s", page)
	}
	pages, err := filepath.Glob(debian + "/usr/share/man/man1/dedupe*.gz")
	if err != nil || len(pages) < 15 {
		t.Fatalf("%d manual pages, %v", len(pages), err)
	}
	for _, page := range pages {
		name, _, _ := strings.Cut(filepath.Base(page), ".")
		if text := inside(t, debian, user, "/usr/bin/man", "--warnings", "-P", "cat", name); !strings.Contains(text, "SYNOPSIS") {
			t.Errorf("man %s shows %s", name, text)
		}
	}
	inside(t, debian, 0, "/usr/bin/dpkg", "--purge", program)
	for _, dir := range []string{"/usr/bin", "/usr/share"} {
		if left := output(t, "find", debian+dir, "-name", "*dedupe*"); left != "" {
			t.Errorf("removing the package left\n%s", left)
		}
	}
}

// TestDebs looks into the packages of both architectures.
func TestDebs(t *testing.T) {
	for _, p := range platforms() {
		if p.os != "linux" {
			continue
		}
		deb := filepath.Join(dist, fmt.Sprintf("dedupe_%s_%s.deb", report.Version, p.arch))
		if got := output(t, "dpkg-deb", "-f", deb, "Package", "Version", "Architecture"); got != fmt.Sprintf("Package: dedupe\nVersion: %s\nArchitecture: %s\n", report.Version, p.arch) {
			t.Errorf("%s: %s", deb, got)
		}
		dir := t.TempDir()
		output(t, "dpkg-deb", "-x", deb, dir)
		checkProgram(t, filepath.Join(dir, "usr/bin", program), p)
	}
}

// TestImage looks at the image for both architectures, and runs its program as its user in
// a chroot with the files of the image only.
func TestImage(t *testing.T) {
	asRoot(t)
	dir := t.TempDir()
	output(t, "tar", "-xf", filepath.Join(dist, base("oci.tar")), "-C", dir)
	index, err := layout.ImageIndexFromPath(dir)
	if err != nil {
		t.Fatal(err)
	}
	refs, err := index.IndexManifest()
	if err != nil || len(refs.Manifests) != 1 || refs.Manifests[0].Annotations["org.opencontainers.image.ref.name"] != report.Version {
		t.Fatalf("references %+v, %v", refs, err)
	}
	all, err := index.ImageIndex(refs.Manifests[0].Digest)
	if err != nil {
		t.Fatal(err)
	}
	manifest, err := all.IndexManifest()
	if err != nil || len(manifest.Manifests) != 2 {
		t.Fatalf("images %+v, %v", manifest, err)
	}
	for _, m := range manifest.Manifests {
		image, err := all.Image(m.Digest)
		if err != nil {
			t.Fatal(err)
		}
		config, err := image.ConfigFile()
		if err != nil {
			t.Fatal(err)
		}
		if c := config.Config; c.User != "65532:65532" || !slices.Equal(c.Entrypoint, []string{"/usr/bin/dedupe"}) || config.Architecture != m.Platform.Architecture {
			t.Errorf("config %+v of %+v", config, m.Platform)
		}
		root := t.TempDir()
		unpack := exec.Command("tar", "-x", "-p", "--same-owner", "-C", root)
		unpack.Stdin = mutate.Extract(image)
		run(t, unpack)
		checkProgram(t, filepath.Join(root, "usr/bin", program), platform{"linux", config.Architecture})
		if roots := read(t, root+"/etc/ssl/certs/ca-certificates.crt"); bytes.Count(roots, []byte("BEGIN CERTIFICATE")) < 100 {
			t.Errorf("%d bytes of certificates", len(roots))
		}
		if config.Architecture == runtime.GOARCH {
			if err := os.Chmod(root, 0o755); err != nil { // t.TempDir made it for this user only
				t.Fatal(err)
			}
			if said := inside(t, root, imageUser, "/usr/bin/"+program, "scan", "/etc"); !strings.Contains(said, "No duplicates among 3 files") {
				t.Errorf("a scan of the files of the image says %s", said)
			}
			makeNull(t, root) // as container runtimes do, for the pool of processes
			useProgram(t, root, imageUser, "/"+imageHome)
		}
	}
}

// makeNull makes /dev/null in another root.
func makeNull(t *testing.T, root string) {
	t.Helper()
	if err := os.Mkdir(root+"/dev", 0o755); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mknod(root+"/dev/null", unix.S_IFCHR|0o666, int(unix.Mkdev(1, 3))); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(root+"/dev/null", 0o666); err != nil { // whatever the umask
		t.Fatal(err)
	}
}

// useProgram runs the installed program as a user in another root: it scans, keeps an index,
// serves as a worker, and can't write where it may not.
func useProgram(t *testing.T, root string, user int, home string) {
	t.Helper()
	const binary = "/usr/bin/" + program
	checkVersion(t, inside(t, root, user, binary, "version"))
	tree := root + home + "/tree"
	if err := os.Mkdir(tree, 0o755); err != nil {
		t.Fatal(err)
	}
	for name, content := range map[string]string{"a": "same", "b": "same", "c": "other"} {
		if err := os.WriteFile(filepath.Join(tree, name), []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for _, mode := range []string{"goroutines", "processes"} {
		said := inside(t, root, user, binary, "scan", "--mode", mode, home+"/tree")
		if !strings.Contains(said, "2 copies of 4 B") || !strings.Contains(said, "1 duplicate group") {
			t.Errorf("a scan in %s says %s", mode, said)
		}
	}
	inside(t, root, user, binary, "scan", "--format", "json", "--output", home+"/report.json", home+"/tree")
	if said := inside(t, root, user, binary, "doctor", home); !strings.Contains(said, "What to change") {
		t.Errorf("the doctor says %s", said)
	}
	cmd := insideCommand(root, user, binary, "scan", "--output", "/report.json", home+"/tree")
	if out, err := cmd.CombinedOutput(); err == nil || !strings.Contains(string(out), "permission denied") {
		t.Errorf("a user who is not root could write to /: %v, %s", err, out)
	}
}

// TestSBOM holds that all modules of all programs are in the bill of materials.
func TestSBOM(t *testing.T) {
	var bom cdx.BOM
	if err := cdx.NewBOMDecoder(bytes.NewReader(read(t, filepath.Join(dist, base("sbom.cdx.json")))), cdx.BOMFileFormatJSON).Decode(&bom); err != nil {
		t.Fatal(err)
	}
	listed := make(map[string]bool)
	for _, c := range *bom.Components {
		listed[c.PackageURL] = true
		if c.Name != "stdlib" && c.Hashes == nil {
			t.Errorf("%s has no hash", c.Name)
		}
	}
	if bom.Metadata.Component.Version != report.Version || !listed["pkg:golang/stdlib@"+strings.TrimPrefix(runtime.Version(), "go")] {
		t.Errorf("version %s, or no standard library", bom.Metadata.Component.Version)
	}
	for _, p := range platforms() {
		info, err := buildinfo.ReadFile(filepath.Join(top, "build/release", p.String(), program))
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range info.Deps {
			if m.Replace == nil && !listed["pkg:golang/"+m.Path+"@"+m.Version] {
				t.Errorf("%s: %s is not listed", p, m.Path)
			}
		}
	}
}

// TestInstall installs with make below a prefix, and then again.
func TestInstall(t *testing.T) {
	dest := t.TempDir()
	output(t, "make", "-s", "-C", top, "install", "DESTDIR="+dest, "PREFIX=/opt/dedupe")
	output(t, "make", "-s", "-C", top, "install", "DESTDIR="+dest, "PREFIX=/opt/dedupe") // over the first
	checkVersion(t, output(t, dest+"/opt/dedupe/bin/dedupe", "version"))
	if page := output(t, "man", "-M", dest+"/opt/dedupe/share/man", "-P", "cat", "dedupe-doctor"); !strings.Contains(page, "dedupe doctor") {
		t.Errorf("man dedupe-doctor shows %s", page)
	}
}

// TestReproducible builds the revision that is checked out twice, in two folders, with
// other settings, and expects the same bytes.
func TestReproducible(t *testing.T) {
	var sums [2]string
	var said string
	for i, environ := range [][]string{{"TZ=UTC", "LC_ALL=C", "UMASK=022"}, {"TZ=Asia/Kolkata", "LC_ALL=C.UTF-8", "UMASK=077", "TMPDIR=" + t.TempDir()}} {
		dir := filepath.Join(t.TempDir(), strings.Repeat("folder", i+1))
		output(t, "git", "clone", "--quiet", "--no-hardlinks", top, dir)
		build := exec.Command("sh", "-c", `umask $UMASK; exec make -s -C "$0" dist`, dir)
		build.Env = append(os.Environ(), environ...)
		run(t, build)
		sums[i] = string(read(t, dir+"/build/dist/SHA256SUMS"))
		said = output(t, dir+"/build/release/"+runtime.GOOS+"-"+runtime.GOARCH+"/"+program, "version")
	}
	if revision := strings.TrimSpace(output(t, "git", "-C", top, "rev-parse", "HEAD")); !strings.Contains(said, "revision "+revision+",") {
		t.Errorf("built from %s, but it says %s", revision, said)
	}
	if sums[0] != sums[1] {
		t.Errorf("built in one folder\n%sand in another\n%s", sums[0], sums[1])
	}
}

// freshDebian unpacks a Debian that has just been installed, and returns where.
func freshDebian(t *testing.T) string {
	t.Helper()
	asRoot(t)
	dir := t.TempDir()
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	output(t, "tar", "-xf", filepath.Join(top, "build/debian.tar"), "-C", dir)
	return dir
}

func asRoot(t *testing.T) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("only root can change the root: run make test-dist as root")
	}
}

// insideCommand returns a command in another root, as a user.
func insideCommand(root string, user int, args ...string) *exec.Cmd {
	return &exec.Cmd{
		Path: args[0], Args: args, Dir: "/",
		Env:         []string{"PATH=/usr/bin:/usr/sbin:/bin:/sbin", "HOME=/home/user", "LC_ALL=C.UTF-8", "DEBIAN_FRONTEND=noninteractive"},
		SysProcAttr: &syscall.SysProcAttr{Chroot: root, Credential: &syscall.Credential{Uid: uint32(user), Gid: uint32(user)}},
	}
}

// inside runs a command in another root and returns what it prints.
func inside(t *testing.T, root string, user int, args ...string) string {
	t.Helper()
	return run(t, insideCommand(root, user, args...))
}

func output(t *testing.T, args ...string) string {
	t.Helper()
	return run(t, exec.Command(args[0], args[1:]...))
}

// run runs a command and returns its output. It fails the test if the command fails, or
// writes to standard error.
func run(t *testing.T, cmd *exec.Cmd) string {
	t.Helper()
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil || stderr.Len() > 0 {
		t.Fatalf("%q: %v\n%s%s", cmd.Args, err, &stdout, &stderr)
	}
	return stdout.String()
}

func read(t *testing.T, path string) []byte {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return data
}
