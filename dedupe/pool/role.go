package pool

import (
	"fmt"
	"io"
	"os"
	"os/exec"
)

// Role is an environment variable by which a program tells a copy of itself that it is
// a child process, and how to do its work. No argument of a user can be taken for it.
type Role string

// Give gives a command the role. How is what Take returns there; it is not empty.
func (r Role) Give(cmd *exec.Cmd, how string) {
	cmd.Env = append(cmd.Environ(), string(r)+"="+how)
}

// Take returns how this process is to play the role, and unsets the variable, so that
// nothing that the process starts plays it too. It returns "" if the process has no
// such role.
//
// A child talks to its parent over pipes. Where in or out is another file, such as a
// terminal, a user has set the variable: the error says so.
func (r Role) Take(in io.Reader, out io.Writer) (how string, err error) {
	how = os.Getenv(string(r))
	if how == "" {
		return "", nil
	}
	if err := os.Unsetenv(string(r)); err != nil {
		return how, err
	}
	if !mayBePipe(in) || !mayBePipe(out) {
		return how, fmt.Errorf("the environment variable %s is set, which makes this a child process that talks to its parent over pipes: unset it", r)
	}
	return how, nil
}

func mayBePipe(v any) bool {
	f, ok := v.(*os.File)
	if !ok {
		return true // a test's
	}
	st, err := f.Stat()
	return err == nil && st.Mode()&os.ModeNamedPipe != 0
}
