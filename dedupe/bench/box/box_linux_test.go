package box

import (
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestCPU measures how much CPU busy programs get: the quota, however many they
// are. More is wrong at once. Less is, each time, if this machine had more to give.
func TestCPU(t *testing.T) {
	for _, test := range []struct{ mb, programs int }{{128, 1}, {128, 5}, {512, 1}, {512, 3}, {1769, 2}} {
		t.Run(fmt.Sprintf("%d MB, %d programs", test.mb, test.programs), func(t *testing.T) {
			b := newTestBox(t, newGroup(t), int64(test.mb))
			for range test.programs {
				if got := start(t, program(b, "burn")).line(t); got != "busy" {
					t.Fatal(got)
				}
			}
			const tries = 5
			quota := float64(test.mb) / 1769
			for try := 1; ; try++ {
				used, idle := cpuUsed(t, b, longEnough(quota))
				t.Logf("of the quota, %.3f was used, while %.3f cores were idle", used/quota, idle)
				if used > 1.05*quota {
					t.Fatal("it was more")
				}
				if used > 0.95*quota || try == tries && used+idle < 0.95*quota {
					return
				}
				if try == tries {
					t.Fatal("it was less")
				}
			}
		})
	}
}

// longEnough is a time in which the quota is at least 300 ms: what was used ahead
// of the next period at the end, a tick of the kernel's for each core, is little.
func longEnough(quota float64) time.Duration {
	return max(1500*time.Millisecond, time.Duration(300/quota)*time.Millisecond)
}

// cpuUsed is how many cores the box uses during a time, and how many nobody does.
func cpuUsed(t *testing.T, b *Box, d time.Duration) (used, idle float64) {
	t.Helper()
	start, before, idleBefore := time.Now(), usage(t, b), idleTime(t)
	time.Sleep(d)
	after, idleAfter := usage(t, b), idleTime(t)
	wall := time.Since(start)
	return float64(after.CPU-before.CPU) / float64(wall), float64(idleAfter-idleBefore) / float64(wall)
}

func usage(t *testing.T, b *Box) Usage {
	t.Helper()
	u, err := b.Usage()
	if err != nil {
		t.Fatal(err)
	}
	return u
}

// idleTime is how long the cores of this machine were idle since it started.
func idleTime(t *testing.T) time.Duration {
	t.Helper()
	content, err := os.ReadFile("/proc/uptime")
	if err != nil {
		t.Fatal(err)
	}
	idle, err := time.ParseDuration(strings.Fields(string(content))[1] + "s")
	if err != nil {
		t.Fatal(err)
	}
	return idle
}

// TestUsage compares the CPU of a box with what the kernel says of its only
// process, in whose CPU the making of the box is.
func TestUsage(t *testing.T) {
	b := newTestBox(t, newGroup(t), 128)
	p := start(t, program(b, "burn"))
	p.line(t)
	cpuUsed(t, b, time.Second)
	p.Process.Kill()
	p.Wait()
	u := usage(t, b)
	want := p.ProcessState.UserTime() + p.ProcessState.SystemTime()
	if off := (want - u.CPU).Abs(); off > want/10+20*time.Millisecond {
		t.Errorf("%v, and the process %v", u.CPU, want)
	}
	if u.OOMKills != 0 || u.Throttled == 0 {
		t.Errorf("%+v", u)
	}
}

func TestMemory(t *testing.T) {
	const mib = 1 << 20
	for _, test := range []struct {
		mib, from, to int64
		killed        bool
	}{{1, 1, 16, false}, {64, 64, 80, false}, {200, 100, 130, true}} {
		t.Run(fmt.Sprint(test.mib, " MiB"), func(t *testing.T) {
			b := newTestBox(t, newGroup(t), 128)
			w := b.Watch()
			p := start(t, program(b, "allocate", fmt.Sprint(test.mib)))
			if held := p.out.Scan(); held == test.killed {
				t.Error("held: ", held)
			}
			peak, err := w.Stop()
			if err != nil {
				t.Fatal(err)
			}
			p.in.Close()
			if err := p.Wait(); test.killed && fmt.Sprint(err) != "signal: killed" || !test.killed && err != nil {
				t.Error("the program ended: ", err)
			}
			if peak < test.from*mib || peak > test.to*mib {
				t.Errorf("a peak of %.1f MiB, want %d to %d", float64(peak)/mib, test.from, test.to)
			}
			if u := usage(t, b); u.OOMKills > 0 != test.killed {
				t.Errorf("%+v", u)
			}
		})
	}
}

// TestPageCache reads and writes more than a box holds: what the kernel keeps of
// files is not the program's memory.
func TestPageCache(t *testing.T) {
	dir := tempDir(t)
	path := filepath.Join(dir, "file")
	uncached(t, path, 300<<20)
	b := newTestBox(t, newGroup(t), 128, dir)
	w := b.Watch()
	if got := output(t, b, "read", path); got != strconv.Itoa(300<<20) {
		t.Error(got)
	}
	if cached := highWater(t, b); cached < 100<<20 {
		t.Errorf("the box cached only %d bytes of the file: the test shows nothing", cached)
	}
	output(t, b, "write", "/tmp/new")
	peak, err := w.Stop()
	if err != nil || peak > 32<<20 {
		t.Errorf("a peak of %d bytes, %v", peak, err)
	}
	if u := usage(t, b); u.OOMKills != 0 {
		t.Errorf("%+v", u)
	}
	if info, err := os.Stat(filepath.Join(b.spec.Tmp, "new")); err != nil || info.Size() != 150<<20 {
		t.Error("what was written to /tmp: ", info, err)
	}
}

// uncached makes a file that is in no cache, so that who reads it pays for that.
func uncached(t *testing.T, path string, size int) {
	t.Helper()
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.Write(make([]byte, size)); err != nil {
		t.Fatal(err)
	}
	if err := f.Sync(); err != nil {
		t.Fatal(err)
	}
	if err := unix.Fadvise(int(f.Fd()), 0, 0, unix.FADV_DONTNEED); err != nil {
		t.Fatal(err)
	}
}

// highWater is the most that the kernel charged the box, page cache included.
func highWater(t *testing.T, b *Box) int64 {
	t.Helper()
	file := "memory.max_usage_in_bytes"
	if b.cgroup.unified {
		file = "memory.peak"
	}
	content, err := os.ReadFile(b.cgroup.path(file))
	if errors.Is(err, fs.ErrNotExist) {
		return math.MaxInt64 // before Linux 5.19, v2 does not say
	}
	n, errParse := strconv.ParseInt(strings.TrimSpace(string(content)), 10, 64)
	if err := errors.Join(err, errParse); err != nil {
		t.Fatal(err)
	}
	return n
}

func TestDescriptors(t *testing.T) {
	b := newTestBox(t, newGroup(t), 512)
	if got := output(t, b, "open"); got != "1023 true" {
		t.Error("the last descriptor, and whether EMFILE was why: ", got)
	}
}

func TestProcesses(t *testing.T) {
	b := newTestBox(t, newGroup(t), 1769)
	if got := start(t, program(b, "fork")).line(t); got != "1024 true" {
		t.Error("processes and threads, and whether EAGAIN was why: ", got)
	}
}

func TestCPUs(t *testing.T) {
	b := newTestBox(t, newGroup(t), 128)
	if got := output(t, b, "cpus"); got != strconv.Itoa(min(2, runtime.NumCPU())) {
		t.Errorf("%s cores", got)
	}
	b.spec.CPUs = b.spec.CPUs[:1] // with two cores in all, the above shows nothing
	if got := output(t, b, "cpus"); got != "1" {
		t.Errorf("%s cores, and it has 1", got)
	}
}

// TestReadOnly writes in many places; /tmp alone takes it, and it is the caller's.
func TestReadOnly(t *testing.T) {
	visible := tempDir(t)
	b := newTestBox(t, newGroup(t), 512, visible)
	dirs := []string{"/", "/dev/shm", "/dev", "/var/tmp", "/home", "/root", cgroupRoot, cgroupRoot + "/cpu", visible, "/tmp"}
	for line := range strings.Lines(output(t, b, "create", dirs...)) {
		dir, got, _ := strings.Cut(strings.TrimSpace(line), " ")
		switch want := "true false"; {
		case dir == "/tmp" && got != "false true":
			t.Errorf("%s can't be written to", dir)
		case dir == cgroupRoot+"/cpu" && got != "false false":
			t.Errorf("%s is there", dir)
		case dir != "/tmp" && dir != cgroupRoot+"/cpu" && got != want:
			if _, err := os.Stat(dir); err == nil {
				t.Errorf("%s can be written to", dir)
			}
		}
	}
	if content, err := os.ReadFile(filepath.Join(b.spec.Tmp, "dedupe-box-test")); string(content) != "content" {
		t.Error(err)
	}
	if _, err := os.Stat("/tmp/dedupe-box-test"); err == nil {
		t.Error("what the box wrote is in the machine's /tmp")
	}
}

// TestPython holds that Python's locks between processes work outside and not in
// the box, as they do not on Lambda.
func TestPython(t *testing.T) {
	python, err := exec.LookPath("python3")
	if err != nil {
		t.Skip("no python3 here: ", err)
	}
	b := newTestBox(t, newGroup(t), 1769)
	for _, code := range []string{"multiprocessing.Lock()", "multiprocessing.Queue()", "multiprocessing.Pool(2)"} {
		args := []string{"-c", "import multiprocessing; " + code}
		if out, err := exec.Command(python, args...).CombinedOutput(); err != nil {
			t.Fatalf("%s fails without a box: %v: %s", code, err, out)
		}
		if out, err := b.Command(python, args...).CombinedOutput(); err == nil || !strings.Contains(string(out), "OSError") {
			t.Errorf("%s: %v: %s", code, err, out)
		}
	}
	if out, err := b.Command(python, "-c", "import multiprocessing; multiprocessing.Pipe()").CombinedOutput(); err != nil {
		t.Errorf("a pipe fails: %v: %s", err, out)
	}
}

func TestVisible(t *testing.T) {
	dir := tempDir(t)
	for _, name := range []string{"a/in/deep", "a/sibling", "b"} {
		if err := os.MkdirAll(filepath.Join(dir, name), 0o777); err != nil {
			t.Fatal(err)
		}
	}
	shared := filepath.Join("/dev/shm", filepath.Base(dir))
	if err := os.WriteFile(shared, nil, 0o666); err != nil {
		t.Fatal(err)
	}
	defer os.Remove(shared)
	b := newTestBox(t, newGroup(t), 512, filepath.Join(dir, "a/in"), "/usr")
	p := start(t, program(b, "look"))
	for path, want := range map[string]string{
		filepath.Join(dir, "a/in/deep"):    "true",
		filepath.Join(dir, "a/sibling"):    "false",
		filepath.Join(dir, "a/in/in"):      "false",
		filepath.Join(dir, "b"):            "false",
		b.spec.Tmp:                         "false",
		shared:                             "false",
		"/usr":                             "true",
		"/tmp":                             "true",
		filepath.Join(dir, "a/in/../../b"): "false",
	} {
		if got := p.ask(t, path); got != want {
			t.Errorf("%s is there: %s, want %s", path, got, want)
		}
	}
}

// TestDirectory starts programs in a directory that the box has, and in one that
// it has not.
func TestDirectory(t *testing.T) {
	dir := tempDir(t)
	b := newTestBox(t, newGroup(t), 512, dir)
	for _, test := range []struct{ in, want string }{{dir, dir}, {tempDir(t), "/"}, {"/usr", "/usr"}} {
		cmd := program(b, "where")
		cmd.Dir = test.in
		if out, err := cmd.Output(); err != nil || strings.TrimSpace(string(out)) != test.want {
			t.Errorf("%s: %s %v", test.in, out, err)
		}
	}
}

// TestUnmount unmounts, outside, what a program in a box looks at, below /tmp and
// elsewhere; neither mount was ever to be seen on the machine.
func TestUnmount(t *testing.T) {
	group, below := newGroup(t), tempDir(t)
	mnt := filepath.Join(below, "mnt")
	if err := os.Mkdir(mnt, 0o777); err != nil {
		t.Fatal(err)
	}
	elsewhere, err := os.MkdirTemp("/var/tmp", "dedupe-box-test-")
	if err != nil {
		t.Fatal(err)
	}
	defer os.Remove(elsewhere)

	cmd := exec.Command("/proc/self/exe", group, tempDir(t), mnt, elsewhere)
	cmd.Env = append(os.Environ(), role+"=isolated")
	cmd.SysProcAttr = new(syscall.SysProcAttr)
	OwnMounts(cmd.SysProcAttr)
	p := start(t, cmd)
	files := []string{filepath.Join(mnt, "file"), filepath.Join(elsewhere, "file")}
	for _, path := range files {
		if got := p.ask(t, path); got != "true" {
			t.Errorf("%s is not there", path)
		}
		if _, err := os.Stat(path); err == nil {
			t.Errorf("%s is to be seen outside", path)
		}
	}
	p.Process.Signal(unix.SIGUSR1)
	if got := p.line(t); got != "unmounted" {
		t.Fatal(got)
	}
	for _, path := range files {
		if got := p.ask(t, path); got != "false" {
			t.Errorf("%s is still there", path)
		}
	}
}

func TestIsolateMounts(t *testing.T) {
	if err := IsolateMounts(); err == nil {
		t.Error("the mounts of this machine were isolated")
	}
}

// TestClose closes a box with a program in it that left another, in a session of
// its own and nobody's child.
func TestClose(t *testing.T) {
	b := newTestBox(t, newGroup(t), 512)
	p := start(t, program(b, "leave"))
	orphan := p.pid(t)
	if !runs(orphan) {
		t.Fatal("the orphan does not run")
	}
	if err := b.Close(); err != nil {
		t.Error(err)
	}
	if runs(orphan) || runs(p.Process.Pid) {
		t.Error("a process is left")
	}
	for _, dir := range b.cgroup.dirs() {
		if _, err := os.Stat(dir); err == nil {
			t.Errorf("%s is left", dir)
		}
	}
	if err := b.Close(); err != nil {
		t.Error("closed again: ", err)
	}
	if _, err := b.Usage(); err == nil {
		t.Error("a closed box used something")
	}
	if out, err := program(b, "end").CombinedOutput(); err == nil || !strings.Contains(string(out), "the box could not be made") {
		t.Errorf("a closed box ran a program: %s %v", out, err)
	}
}

// TestKilled kills a program that has a box: its program there ends with it, and
// Sweep ends what that one left.
func TestKilled(t *testing.T) {
	group := newGroup(t)
	cmd := exec.Command("/proc/self/exe", group, tempDir(t))
	cmd.Env = append(os.Environ(), role+"=owner")
	p := start(t, cmd)
	first, second := p.pid(t), p.pid(t) // of the two, who says so first is not known
	p.Process.Kill()
	eventually(t, "the program in the box to end", func() bool { return !runs(first) || !runs(second) })
	if err := Sweep(group); err != nil {
		t.Error(err)
	}
	if runs(first) || runs(second) {
		t.Error("a process is left")
	}
	if left := cgroupsOf(group); len(left) > 0 {
		t.Errorf("%v are left", left)
	}
	if err := Sweep(group); err != nil {
		t.Error("swept again: ", err)
	}
}

// TestGroups sweeps one of two groups.
func TestGroups(t *testing.T) {
	one, other := newGroup(t), newGroup(t)+"-other"
	t.Cleanup(func() { Sweep(other) })
	var programs []*process
	for _, group := range []string{one, one, other} {
		b := newTestBox(t, group, 128)
		programs = append(programs, start(t, program(b, "look")))
	}
	for _, p := range programs {
		if got := p.ask(t, "/"); got != "true" {
			t.Error(got)
		}
	}
	if err := Sweep(one); err != nil {
		t.Error(err)
	}
	if runs(programs[0].Process.Pid) || runs(programs[1].Process.Pid) {
		t.Error("a process of the group is left")
	}
	if got := programs[2].ask(t, "/"); got != "true" {
		t.Error("the other group is disturbed: ", got)
	}
}

func TestRefusals(t *testing.T) {
	group, dir := newGroup(t), tempDir(t)
	file := filepath.Join(dir, "file")
	uncached(t, file, 1)
	for _, test := range []struct {
		group   string
		options Options
		want    string
	}{
		{"", Options{MemoryMB: 128, Tmp: dir}, "a group of the name"},
		{"system.slice", Options{MemoryMB: 128, Tmp: dir}, "a group of the name"},
		{"dedupe-/..", Options{MemoryMB: 128, Tmp: dir}, "a group of the name"},
		{group, Options{MemoryMB: 127, Tmp: dir}, "Lambda has 128 to 10,240"},
		{group, Options{MemoryMB: 128}, "absolute path"},
		{group, Options{MemoryMB: 128, Tmp: dir + "/none"}, "no such file or directory"},
		{group, Options{MemoryMB: 128, Tmp: file}, "is no directory"},
		{group, Options{MemoryMB: 128, Tmp: dir, Visible: []string{"relative"}}, "absolute path"},
		{group, Options{MemoryMB: 128, Tmp: dir, Visible: []string{"/tmp"}}, "/tmp can't be visible"},
	} {
		b, err := New(test.group, test.options)
		if err == nil {
			b.Close()
		}
		if err == nil || !strings.HasPrefix(err.Error(), "the box could not be made: ") || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%q %+v: %v, want %s", test.group, test.options, err, test.want)
		}
	}
	for _, name := range []string{"", "system.slice", "dedupe-/../system.slice"} {
		if Sweep(name) == nil {
			t.Errorf("%q was swept", name)
		}
	}
}

// TestFailure runs what can't be run, and has the box fail on its way.
func TestFailure(t *testing.T) {
	b := newTestBox(t, newGroup(t), 512)
	if err := b.Command("dedupe-no-such-program").Run(); !errors.Is(err, exec.ErrNotFound) {
		t.Error(err)
	}
	fails := func(b *Box, path, want string) {
		t.Helper()
		out, err := b.Command(path).CombinedOutput()
		exit := (*exec.ExitError)(nil)
		if !errors.As(err, &exit) || exit.ExitCode() != ExitStatus || !strings.HasPrefix(string(out), "the box could not be made: ") || !strings.Contains(string(out), want) {
			t.Errorf("%s: %v: %s, want %s", path, err, out, want)
		}
	}
	hidden := filepath.Join(tempDir(t), "program")
	if err := os.WriteFile(hidden, []byte("#!/bin/sh\n"), 0o777); err != nil {
		t.Fatal(err)
	}
	fails(b, hidden, "no such file or directory")
	if err := os.RemoveAll(b.spec.Tmp); err != nil {
		t.Fatal(err)
	}
	fails(b, "/bin/sh", `can't mount at "/tmp"`)
}

func TestRunShim(t *testing.T) {
	for _, args := range [][]string{nil, {"scan"}, {"box"}} {
		if isShim, err := RunShim(args); isShim || err != nil {
			t.Errorf("%q: %v, %v", args, isShim, err)
		}
	}
	if isShim, err := RunShim([]string{"box", "{"}); !isShim || err == nil {
		t.Error(isShim, err)
	}
}

// TestForgotten has a program that does not call RunShim look for boxes: it does
// not start itself for ever.
func TestForgotten(t *testing.T) {
	newGroup(t)
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = append(os.Environ(), role+"=forget")
	if out, err := cmd.CombinedOutput(); err != nil || !strings.Contains(string(out), "does not call box.RunShim") {
		t.Errorf("%s %v", out, err)
	}
}

// BenchmarkStart is what a box adds to the start of a program.
func BenchmarkStart(b *testing.B) {
	group := newGroup(b)
	b.Run("boxed", func(b *testing.B) {
		box := newTestBox(b, group, 1769)
		for b.Loop() {
			if err := program(box, "end").Run(); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("plain", func(b *testing.B) {
		for b.Loop() {
			cmd := exec.Command("/proc/self/exe")
			cmd.Env = append(os.Environ(), role+"=end")
			if err := cmd.Run(); err != nil {
				b.Fatal(err)
			}
		}
	})
}

// BenchmarkSample is what it takes to look at the memory of a box.
func BenchmarkSample(b *testing.B) {
	box := newTestBox(b, newGroup(b), 128)
	p := start(b, program(box, "burn"))
	p.line(b)
	m, err := box.cgroup.openMemory()
	if err != nil {
		b.Fatal(err)
	}
	defer m.close()
	for b.Loop() {
		if _, err := m.held(0); err != nil {
			b.Fatal(err)
		}
	}
}
