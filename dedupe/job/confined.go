package job

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"golang.org/x/sys/unix"

	"efsdedupe/dedupe"
)

// confine makes sure that no unit of the worker leaves the directory of the Spec, if it has one.
func (w *worker) confine(ctx context.Context) (err error) {
	if w.within != nil || len(w.spec.Within) == 0 {
		return nil
	}
	w.within, err = w.spec.OpenRoot(ctx)
	return err
}

// OpenRoot opens the directory that no unit can leave, which the paths of the job are relative
// to. If its folder is not there, or a link leads to it, the error is a *dedupe.RootError.
func (spec Spec) OpenRoot(ctx context.Context) (*os.File, error) {
	within, err := os.Open(string(spec.Within))
	if err != nil || len(spec.Folder) == 0 {
		return within, err
	}
	defer within.Close()
	return spec.openFolder(ctx, dedupe.Engine{Within: within})
}

// openFolder opens the folder of a job. If it is not there, or a link leads to it, the error is
// a *dedupe.RootError.
func (spec Spec) openFolder(ctx context.Context, eng dedupe.Engine) (*os.File, error) {
	folder, err := eng.OpenWithin(ctx, string(spec.Folder))
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ENOTDIR) || errors.Is(err, unix.ELOOP) || errors.Is(err, unix.EXDEV) {
		return nil, &dedupe.RootError{Path: string(spec.Folder), Why: "is no folder here"}
	}
	if err != nil {
		return nil, fmt.Errorf("can't open the folder to scan: %w", err)
	}
	return folder, nil
}
