//go:build !linux

package box

import (
	"errors"
	"os/exec"
	"syscall"
)

var errNone = errors.New("no Lambda-sized boxes can be made here: they need Linux 5.12 or later")

// Box is a box; there is none here.
type Box struct{}

// Watch finds nothing.
type Watch struct{}

// Available needs Linux.
func Available() error { return errNone }

// Version is empty.
func Version() string { return "" }

// CheckMemory refuses a size, in MiB, that Lambda does not have.
func CheckMemory(mb int64) error { return checkRange(mb) }

// Fit returns 1.
func Fit(mb int64, spare int) int { return 1 }

// New needs Linux.
func New(name string, o Options) (*Box, error) { return nil, errNone }

// Command needs Linux.
func (*Box) Command(name string, arg ...string) *exec.Cmd { return &exec.Cmd{Err: errNone} }

// Usage needs Linux.
func (*Box) Usage() (Usage, error) { return Usage{}, errNone }

// Watch does nothing.
func (*Box) Watch() *Watch { return &Watch{} }

// Stop needs Linux.
func (*Watch) Stop() (peak int64, err error) { return 0, errNone }

// Close does nothing.
func (*Box) Close() error { return nil }

// Sweep does nothing: there is nothing.
func Sweep(name string) error { return nil }

// RunShim does nothing.
func RunShim(args []string) (isShim bool, err error) { return false, nil }

// OwnMounts does nothing.
func OwnMounts(attr *syscall.SysProcAttr) {}

// IsolateMounts needs Linux.
func IsolateMounts() error { return errNone }
