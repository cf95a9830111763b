package box

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

const role = "DEDUPE_TEST_BOX"

// The test binary is the way into its boxes, the programs in them, and programs
// that have boxes.
func TestMain(m *testing.M) {
	if os.Getenv(role) == "forget" {
		fmt.Println(Available())
		os.Exit(0)
	}
	if isShim, err := RunShim(os.Args[1:]); isShim {
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(ExitStatus)
		}
		os.Exit(0)
	}
	if name := os.Getenv(role); name != "" {
		if err := programs[name](os.Args[1:]); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	status := m.Run()
	if left := cgroupsOf(testGroup("*")); len(left) > 0 {
		fmt.Println("cgroups are left:", left)
		status = 1
	}
	os.Exit(status)
}

// cgroupsOf are the directories of a group, v1 or v2.
func cgroupsOf(group string) []string {
	v1, _ := filepath.Glob(filepath.Join(cgroupRoot, "*", group))
	v2, _ := filepath.Glob(filepath.Join(cgroupRoot, group))
	return append(v1, v2...)
}

// testGroup is the name of a group that no other run of the tests has.
func testGroup(name string) string {
	return fmt.Sprintf("dedupe-test-%d-%s", os.Getpid(), strings.ReplaceAll(name, "/", "-"))
}

// newGroup returns the name of a group of which nothing is left after the test.
func newGroup(t testing.TB) string {
	t.Helper()
	if err := Available(); err != nil {
		t.Skip(err)
	}
	name := testGroup(t.Name())
	t.Cleanup(func() {
		if err := Sweep(name); err != nil {
			t.Error(err)
		}
	})
	return name
}

// tempDir is a directory below /tmp, wherever others make theirs.
func tempDir(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("/tmp", "dedupe-box-test-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

// newBox makes a box with a /tmp of its own, in which this program is visible.
func newTestBox(t testing.TB, group string, mb int64, visible ...string) *Box {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	b, err := New(group, Options{MemoryMB: mb, Tmp: tempDir(t), Visible: append(visible, filepath.Dir(self))})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := b.Close(); err != nil {
			t.Error(err)
		}
	})
	return b
}

// program is a command, in the box, that is one of the programs below.
func program(b *Box, name string, args ...string) *exec.Cmd {
	self, _ := os.Executable()
	cmd := b.Command(self, args...)
	cmd.Env = append(os.Environ(), role+"="+name)
	return cmd
}

// output runs a program in the box, to its end.
func output(t *testing.T, b *Box, name string, args ...string) string {
	t.Helper()
	out, err := program(b, name, args...).Output()
	if exit := (*exec.ExitError)(nil); errors.As(err, &exit) {
		t.Fatalf("%s: %v: %s", name, err, exit.Stderr)
	} else if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(out))
}

// process is a program that runs, with which a test talks in lines.
type process struct {
	*exec.Cmd
	in  io.WriteCloser
	out *bufio.Scanner
}

func start(t testing.TB, cmd *exec.Cmd) *process {
	t.Helper()
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cmd.Process.Kill()
		cmd.Wait()
	})
	return &process{cmd, in, bufio.NewScanner(out)}
}

func (p *process) line(t testing.TB) string {
	t.Helper()
	if !p.out.Scan() {
		t.Fatal("the program said nothing: ", p.out.Err())
	}
	return p.out.Text()
}

func (p *process) ask(t testing.TB, line string) string {
	t.Helper()
	fmt.Fprintln(p.in, line)
	return p.line(t)
}

func (p *process) pid(t testing.TB) int {
	t.Helper()
	pid, err := strconv.Atoi(p.line(t))
	if err != nil {
		t.Fatal(err)
	}
	return pid
}

// runs reports whether there is a process that has not ended.
func runs(pid int) bool {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	_, state, _ := bytes.Cut(stat, []byte(") "))
	return err == nil && !bytes.HasPrefix(state, []byte("Z"))
}

// eventually polls; what it waits for happens, or the test has failed anyway.
func eventually(t *testing.T, what string, ready func() bool) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); !ready(); {
		if time.Now().After(deadline) {
			t.Fatalf("waited 30 s for %s", what)
		}
		time.Sleep(time.Millisecond)
	}
}

// programs are what runs in boxes, and what has them.
var programs = map[string]func(args []string) error{
	"end":      func([]string) error { return nil },
	"wait":     func([]string) error { return wait() },
	"burn":     burn,
	"allocate": allocate,
	"read":     read,
	"write":    writeMuch,
	"create":   create,
	"look":     look,
	"open":     open,
	"fork":     fork,
	"cpus":     cpus,
	"where":    where,
	"leave":    leave,
	"orphan":   orphan,
	"owner":    owner,
	"isolated": isolated,
}

// wait returns when the other end of standard input does.
func wait() error {
	_, err := io.Copy(io.Discard, os.Stdin)
	return err
}

// burn keeps four goroutines busy for ever.
func burn([]string) error {
	fmt.Println("busy")
	for range 4 {
		go func() {
			for n := 0; ; n++ {
			}
		}()
	}
	select {}
}

// allocate holds as many MiB as its argument says, until its input ends.
func allocate(args []string) error {
	mib, err := strconv.Atoi(args[0])
	if err != nil {
		return err
	}
	memory, err := unix.Mmap(-1, 0, mib<<20, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANON)
	if err != nil {
		return err
	}
	for i := 0; i < len(memory); i += os.Getpagesize() {
		memory[i] = 1
	}
	fmt.Println("held")
	return wait()
}

func read(args []string) error {
	f, err := os.Open(args[0])
	if err != nil {
		return err
	}
	n, err := io.CopyBuffer(struct{ io.Writer }{io.Discard}, struct{ io.Reader }{f}, make([]byte, 1<<20))
	fmt.Println(n)
	return err
}

// writeMuch writes 150 MiB, which is more than a box of 128 MB has.
func writeMuch(args []string) error {
	f, err := os.Create(args[0])
	if err != nil {
		return err
	}
	piece := make([]byte, 1<<20)
	for range 150 {
		if _, err := f.Write(piece); err != nil {
			return err
		}
	}
	return f.Close()
}

// create tries to make a file in each directory, and says what came of it.
func create(args []string) error {
	for _, dir := range args {
		err := os.WriteFile(filepath.Join(dir, "dedupe-box-test"), []byte("content"), 0o666)
		fmt.Println(dir, errors.Is(err, unix.EROFS), err == nil)
	}
	return nil
}

// look says of each path that it is asked for whether it is there.
func look([]string) error {
	for lines := bufio.NewScanner(os.Stdin); lines.Scan(); {
		_, err := os.Lstat(lines.Text())
		fmt.Println(err == nil)
	}
	return nil
}

// open opens files until it can't, and says what the last descriptor was.
func open([]string) error {
	for last := -1; ; {
		fd, err := unix.Open("/dev/null", unix.O_RDONLY, 0)
		if err != nil {
			fmt.Println(last, err == unix.EMFILE)
			return nil
		}
		last = fd
	}
}

// fork starts processes until it can't, and says how many there are with its own
// threads. Those that it starts are copies that do nothing: no Go code may run in
// them.
func fork([]string) error {
	for n := 0; n < 2*maxProcesses; n++ {
		pid, _, err := syscall.RawSyscall6(unix.SYS_CLONE, uintptr(unix.SIGCHLD), 0, 0, 0, 0, 0)
		switch {
		case err != 0:
			threads, _ := os.ReadDir("/proc/self/task")
			fmt.Println(n+len(threads), err == unix.EAGAIN)
			return wait()
		case pid == 0:
			for {
				syscall.RawSyscall6(unix.SYS_PPOLL, 0, 0, 0, 0, 0, 0)
			}
		}
	}
	fmt.Println("there is no end")
	return wait()
}

func cpus([]string) error {
	var set unix.CPUSet
	err := unix.SchedGetaffinity(0, &set)
	fmt.Println(set.Count())
	return err
}

func where([]string) error {
	dir, err := os.Getwd()
	fmt.Println(dir)
	return err
}

// leave starts an orphan in a session of its own, and says the number of it.
func leave([]string) error {
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = append(os.Environ(), role+"=orphan")
	cmd.Stdout = os.Stdout
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Run(); err != nil {
		return err
	}
	return wait()
}

// orphan leaves one behind that waits for ever.
func orphan([]string) error {
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = append(os.Environ(), role+"=burn")
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		return err
	}
	fmt.Println(cmd.Process.Pid)
	return nil
}

// owner owns a box in which a program leaves an orphan, and waits to be killed.
func owner(args []string) error {
	pid, err := own(args[0], args[1], "leave")
	if err != nil {
		return err
	}
	fmt.Println(pid)
	time.Sleep(time.Hour)
	return nil
}

// own starts a program that has this one's input and output in a box.
func own(group, tmp, name string, visible ...string) (pid int, err error) {
	self, err := os.Executable()
	if err != nil {
		return 0, err
	}
	b, err := New(group, Options{MemoryMB: 512, Tmp: tmp, Visible: append(visible, filepath.Dir(self))})
	if err != nil {
		return 0, err
	}
	cmd := program(b, name)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	if err := cmd.Start(); err != nil {
		return 0, err
	}
	return cmd.Process.Pid, nil
}

// isolated is an owner that has mounts of its own, at its other arguments, and a
// program that looks at them. It unmounts them on SIGUSR1.
func isolated(args []string) error {
	mounts := args[2:]
	if err := IsolateMounts(); err != nil {
		return err
	}
	for _, dir := range mounts {
		if err := unix.Mount("dedupe-test", dir, "tmpfs", 0, "size=1m"); err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(dir, "file"), nil, 0o666); err != nil {
			return err
		}
	}
	unmount := make(chan os.Signal, 1)
	signal.Notify(unmount, unix.SIGUSR1)
	if _, err := own(args[0], args[1], "look", mounts[0]); err != nil {
		return err
	}
	<-unmount
	for _, dir := range mounts {
		if err := unix.Unmount(dir, 0); err != nil {
			return err
		}
	}
	fmt.Println("unmounted")
	time.Sleep(time.Hour)
	return nil
}
