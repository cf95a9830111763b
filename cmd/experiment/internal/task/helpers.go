package task

import (
	"bytes"
	"cmp"
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"net/http"
	"os"
	"slices"
	"strconv"

	"golang.org/x/sync/errgroup"

	"efsdedupe/dedupe"
)

const (
	// HelperFunction is the name of the function that does the shares of the mode Helpers.
	HelperFunction = "helper"

	// EndpointVariable has the URL of Lambda's API. The AWS SDKs read it, too. Requests
	// are not signed, so the API must be one that does not ask for it.
	EndpointVariable = "AWS_ENDPOINT_URL_LAMBDA"

	// MaxHelpers is how many may share the tasks of a call.
	MaxHelpers = 100
)

// File is what the main function must know of a file besides its digest to tell two equal
// files from two names of one.
type File struct {
	Size  int64  `json:"size"`
	Inode uint64 `json:"inode"`
}

// shareOf returns the first task of the event's share, and how many it has. An event that
// is not shared has all.
func (e *Event) shareOf() (first, tasks int) {
	if e.Helpers == 0 {
		return 0, e.Tasks
	}
	first = e.Share * e.Tasks / e.Helpers
	return first, (e.Share+1)*e.Tasks/e.Helpers - first
}

// Shares returns the events of the helpers of an event in the mode Helpers. Together they
// have as many tasks in flight as the event asks for, or a few more.
func (e Event) Shares() []Event {
	shares := make([]Event, e.Helpers)
	for i := range shares {
		shares[i] = e
		shares[i].Mode, shares[i].Share = Goroutines, i
		shares[i].Workers = (e.Workers + e.Helpers - 1) / e.Helpers
	}
	return shares
}

// delegate invokes the helpers at once, waits for all and joins what they return.
func (f *Function) delegate(ctx context.Context, e Event) (Answer, error) {
	shares := e.Shares()
	answers := make([]Answer, len(shares))
	group, ctx := errgroup.WithContext(ctx)
	for i, share := range shares {
		group.Go(func() (err error) {
			if answers[i], err = f.runner.invoke(ctx, share); err != nil {
				return &HelperError{i, err}
			}
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		return Answer{}, err
	}
	return join(e, answers)
}

// HelperError is a helper that failed, and with it the call.
type HelperError struct {
	Helper int
	Err    error
}

func (e *HelperError) Error() string { return fmt.Sprintf("helper %d: %v", e.Helper, e.Err) }

func (e *HelperError) Unwrap() error { return e.Err }

// invoke has a helper do a share, through the operation Invoke of Lambda's API.
func (r *runner) invoke(ctx context.Context, share Event) (Answer, error) {
	event, err := json.Marshal(share)
	if err != nil {
		return Answer{}, err
	}
	url := os.Getenv(EndpointVariable) + "/2015-03-31/functions/" + HelperFunction + "/invocations"
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(event))
	if err != nil {
		return Answer{}, err
	}
	response, err := r.client.Do(request)
	if err != nil {
		return Answer{}, err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		return Answer{}, err
	}
	switch {
	case response.StatusCode != http.StatusOK:
		return Answer{}, fmt.Errorf("status %s: %.300s", response.Status, body)
	case response.Header.Get("X-Amz-Function-Error") != "":
		return Answer{}, functionError(body)
	}
	var a Answer
	err = json.Unmarshal(body, &a)
	return a, err
}

// functionError returns the error that a function answered with.
func functionError(body []byte) error {
	var f struct{ ErrorType, ErrorMessage string }
	if err := json.Unmarshal(body, &f); err != nil {
		return fmt.Errorf("it failed: %.300s", body)
	}
	return fmt.Errorf("%s: %s", f.ErrorType, f.ErrorMessage)
}

// join puts the shares' answers together. Equal files may be in different shares: the
// engine's own join finds them.
func join(e Event, answers []Answer) (Answer, error) {
	if len(answers) != e.Helpers {
		return Answer{}, fmt.Errorf("%d answers of %d helpers", len(answers), e.Helpers)
	}
	var all Answer
	var streams []iter.Seq[*dedupe.Copy]
	for i, a := range answers {
		share := e
		share.Share = i
		first, tasks := share.shareOf()
		if len(a.Checksums) != tasks || e.Workload == Scan && len(a.Files) != tasks {
			return Answer{}, &HelperError{i, fmt.Errorf("%d checksums of %d files for %d tasks", len(a.Checksums), len(a.Files), tasks)}
		}
		if e.Workload == Scan {
			copies, err := a.copies(first)
			if err != nil {
				return Answer{}, &HelperError{i, err}
			}
			streams = append(streams, slices.Values(copies))
		}
		all.Digest = cmp.Or(all.Digest, a.Digest)
		all.Checksums = append(all.Checksums, a.Checksums...)
	}
	for class := range dedupe.Join(dedupe.StageWhole, streams...) {
		all.Groups = append(all.Groups, tasksOf(class))
	}
	return all, nil
}

// copies returns the files of a share as the engine joins them: in its order, each named
// by its task.
func (a *Answer) copies(first int) ([]*dedupe.Copy, error) {
	copies := make([]*dedupe.Copy, len(a.Files))
	for i, f := range a.Files {
		var digest dedupe.Digest
		if n, err := hex.Decode(digest[:], []byte(a.Checksums[i])); err != nil || n != len(digest) {
			return nil, errors.Join(fmt.Errorf("the checksum %.80q is not a %s digest", a.Checksums[i], Digest), err)
		}
		copies[i] = dedupe.CopyOf(dedupe.File{Path: strconv.Itoa(first + i), Size: f.Size, Inode: f.Inode})
		copies[i].Learn(0, digest)
	}
	slices.SortFunc(copies, dedupe.StageWhole.Compare)
	return copies, nil
}

// tasksOf returns the tasks whose files are in a class, all names of each.
func tasksOf(class iter.Seq[*dedupe.Copy]) []int {
	var tasks []int
	for c := range class {
		for f := range c.Files() {
			task, _ := strconv.Atoi(f.Path) // as copies named it
			tasks = append(tasks, task)
		}
	}
	slices.Sort(tasks)
	return tasks
}
