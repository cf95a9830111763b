package service

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"efsdedupe/dedupe"
	"efsdedupe/dedupe/choose"
	"efsdedupe/dedupe/report"
)

// rulesRequest is the part of a request that says what to report of the groups. Paths are
// relative to the root, as in the report.
type rulesRequest struct {
	Keep           *choose.Keep `json:"keep,omitempty"`
	Priority       []string     `json:"priority,omitempty"`
	PriorityBase64 [][]byte     `json:"priority_base64,omitempty"` // the same for paths of any bytes
	Protect        []string     `json:"protect,omitempty"`
	ProtectBase64  [][]byte     `json:"protect_base64,omitempty"` // the same for paths and globs of any bytes
	MinCopies      int          `json:"min_copies,omitempty"`
}

// findRequest is the part of a request that says what else to look for.
type findRequest struct {
	CopiesOf       *string `json:"copies_of,omitempty"`
	CopiesOfBase64 []byte  `json:"copies_of_base64,omitempty"`
	Unique         bool    `json:"unique,omitempty"`
	Folders        bool    `json:"folders,omitempty"`
}

const (
	maxRules  = 100 // in each of priority and protect
	maxCopies = 1_000_000_000
)

// rules turns a request into rules, without looking at any file.
func (q *rulesRequest) rules() (choose.Rules, error) {
	r := choose.Rules{MinCopies: q.MinCopies}
	var err error
	if r.Priority, err = pathsOf("priority", q.Priority, q.PriorityBase64); err == nil {
		r.Protect, err = pathsOf("protect", q.Protect, q.ProtectBase64)
	}
	if err == nil {
		err = q.check(&r)
	}
	return r, err
}

// check sets the rest of the rules, and returns an error if one is bad.
func (q *rulesRequest) check(r *choose.Rules) error {
	if q.MinCopies > maxCopies {
		return fmt.Errorf("a minimum of %d copies: choose 0, or 2 to %d", q.MinCopies, maxCopies)
	}
	if q.Keep != nil {
		if r.Keep = *q.Keep; r.Keep == "" {
			return errors.New("keep is empty: choose oldest, newest, shortest or first, or leave it out")
		}
	}
	for i, path := range r.Priority {
		if utf8.RuneCountInString(path) > maxPath || !isRelative(path) {
			return fmt.Errorf("/priority/%d is %.40q: name a folder relative to your root, without . and .. as elements, in at most %d characters", i, path, maxPath)
		}
	}
	var globs []string
	for i, path := range r.Protect {
		switch {
		case utf8.RuneCountInString(path) > maxGlob:
			return fmt.Errorf("/protect/%d is longer than %d characters: name a folder above it, or use a glob", i, maxGlob)
		case choose.HasMeta(path):
			globs = append(globs, path)
		case !isRelative(path):
			return fmt.Errorf("/protect/%d is %.40q: name a folder or a file relative to your root, without . and .. as elements, or use a glob", i, path)
		}
	}
	if _, err := (dedupe.Filter{Exclude: globs}).Plain(); err != nil {
		return fmt.Errorf("/protect: %w", err)
	}
	return r.Validate()
}

// add adds what else to find to an order.
func (q *findRequest) add(o *order) error {
	o.rules.Unique, o.rules.Folders, o.sel.Unique = q.Unique, q.Folders, q.Unique
	if q.CopiesOf == nil && q.CopiesOfBase64 == nil {
		return nil
	}
	path, err := pathOf("copies_of", q.CopiesOf, q.CopiesOfBase64)
	switch {
	case err != nil:
		return err
	case utf8.RuneCountInString(path) > maxPath || !isRelative(path):
		return fmt.Errorf("copies_of is %.40q: name a file relative to your root, without . and .. as elements, in at most %d characters", path, maxPath)
	case q.Unique || q.Folders:
		return errors.New("copies_of is for the copies of one file: leave out unique and folders")
	}
	o.rules.CopiesOf, o.sel.CopiesOf = path, path
	return nil
}

// refusalOfCopies returns the problem if a scan failed because of copies_of.
func refusalOfCopies(err error, sel dedupe.Selection) error {
	var root *dedupe.RootError
	var unreadable *dedupe.Problem
	missing := errors.As(err, &root) && root.Path == sel.CopiesOf && root.Path != sel.Roots[0]
	if sel.CopiesOf == "" || !missing && !errors.As(err, &unreadable) {
		return nil
	}
	return refuse(http.StatusUnprocessableEntity, "copies_of is %.40q, where no file is that may have copies: use a path relative to your root, without symbolic links, of a file whose size is between min_size and max_size", sel.CopiesOf)
}

// choiceShare is the share of what is left of the time of a request that rules may take. To
// write the answer takes them several times again.
const choiceShare = 8

// chooseIn applies the rules of a page to what a scan found. It fails with a problem for the
// caller if that would take too long to answer in time.
func chooseIn(ctx context.Context, page *report.Page, folders *choose.Found, found *dedupe.Report) error {
	deadline, _ := ctx.Deadline()
	ctx, cancel := context.WithTimeout(ctx, time.Until(deadline)/choiceShare)
	defer cancel()
	var err error
	if page.Chooser.Folders && page.After == (report.Cursor{}) {
		page.Folders, err = folders.Duplicates(ctx, found, page.Chooser)
	}
	if err = cmp.Or(err, page.Chooser.Report(ctx, found)); err != nil {
		return refuse(http.StatusUnprocessableEntity, "the rules take too long for so many files: use fewer globs in protect, a smaller folder, or a job")
	}
	if !page.Chooser.Unique {
		found.Unique = nil
	}
	return nil
}

// pathsOf returns the paths in a field, or in its twin with paths of any bytes. A report has
// both if one is not UTF-8, and a client may send back both.
func pathsOf(field string, paths []string, full [][]byte) ([]string, error) {
	if full == nil {
		return paths, checkList(field, paths)
	}
	all := make([]string, len(full))
	for i := range full {
		all[i] = string(full[i])
	}
	same := func(a, b string) bool { return a == string([]rune(b)) }
	if paths != nil && !slices.EqualFunc(paths, all, same) {
		return nil, fmt.Errorf("/%s and /%[1]s_base64 name different paths: leave one of them out", field)
	}
	return all, checkList(field+"_base64", all)
}

// checkList returns an error if a field has too many entries, or one twice.
func checkList(field string, paths []string) error {
	if len(paths) > maxRules {
		return fmt.Errorf("/%s has %d entries: name at most %d", field, len(paths), maxRules)
	}
	for i, path := range paths {
		if slices.Contains(paths[:i], path) {
			return fmt.Errorf("/%s/%d is %.40q, which is there already: leave it out", field, i, path)
		}
	}
	return nil
}

// isRelative reports whether a path leads to something in a directory, or to the directory
// itself, whatever is there.
func isRelative(path string) bool {
	if path == "." {
		return true
	}
	for name := range strings.SplitSeq(strings.TrimSuffix(path, "/"), "/") {
		if name == "" || name == "." || name == ".." || strings.Contains(name, "\x00") {
			return false
		}
	}
	return true
}

// chooser returns what applies rules to a scan of a path. It looks inside the directory of the
// engine only, so that nobody learns what is outside.
func chooser(ctx context.Context, eng *dedupe.Engine, path string, r choose.Rules) (*choose.Chooser, error) {
	spell, failed := choose.Within(func(path string) (bool, error) { return eng.HasWithin(ctx, path) })
	err := r.CheckPaths(spell)
	if *failed != nil {
		return nil, refusal(*failed)
	}
	if missing := (*choose.MissingError)(nil); errors.As(err, &missing) {
		return nil, refuse(http.StatusUnprocessableEntity, "%v", missing)
	}
	c, err := choose.New(r, []choose.Root{{Path: path}}, spell)
	if err != nil {
		return nil, refuse(http.StatusBadRequest, "%v", err)
	}
	return c, nil
}
