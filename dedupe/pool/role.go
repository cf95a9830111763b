package pool

import (
	"fmt"
	"io"
	"os"
	"os/exec"
)

// Role is an environment variable that tells a copy of this program to run as a child
// process. Unlike an argument, it cannot be confused with anything a user types.
type Role string

// Give assigns the role to a command. Take returns how in the child; it must not be
// empty.
func (r Role) Give(cmd *exec.Cmd, how string) {
	cmd.Env = append(cmd.Environ(), string(r)+"="+how)
}

// Take returns what Give passed on, or "" if this process does not have the role. It
// unsets the variable so that the child's own children do not inherit the role.
//
// It fails if in or out is a file other than a pipe, such as a terminal: then a user
// set the variable, not a parent.
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
		return true // in a test
	}
	st, err := f.Stat()
	return err == nil && st.Mode()&os.ModeNamedPipe != 0
}
