package dedupe

import (
	"context"
	"sync"
)

// What Linux's NFS client sends decides what a scan of EFS costs. It fetches up to a
// hundred files' attributes with the listing of their directory; see listing. Opening a
// file and closing it send one message each, and both bring the file's attributes back.
// So a file can be proven unchanged without a message of its own: by its descriptor after
// it was opened, by its path after it was closed. Between the two, the client answers
// from what it remembers.
//
// While another process of this machine has the file open, closing it sends nothing.
// Therefore confirm lists the directory again after all reads.

// done closes the file of an answer. On NFS it then checks that the file did not change.
func (o opened) done(answer *Signed) {
	o.close()
	if !o.nfs || answer.Problem != nil {
		return
	}
	if err := o.at.stillHas(o.File, 0); err != nil {
		answer.fail(problem("read", o.Path, err))
		answer.Ends, answer.Digest = 0, Digest{}
	}
}

// messageSize is the most bytes that one READ returns from EFS.
const messageSize = 1 << 20

// prefetch asks an NFS server for the bytes from pos on, and for those of the next
// message, but not beyond end. Without it the client may ask for 128 KiB at a time.
func (o *opened) prefetch(pos, end int64) {
	if !o.nfs || end-pos <= endSize {
		return
	}
	for o.ahead = max(o.ahead, pos); o.ahead < min(pos+messageSize, end); {
		n := min(messageSize, end-o.ahead)
		willNeed(o.fd, o.ahead, n)
		o.ahead += n
	}
}

// expect asks an NFS server for the end at pos. FUSE is never asked early: the kernel would
// take a short answer for the end of the file.
func (o *opened) expect(pos int64) {
	if o.nfs {
		willNeed(o.fd, pos, endSize)
	}
}

// trials remembers, for files of a size whose first bytes match, whether the first two
// also matched in their last bytes. If so, it pays to read the others to the end at once:
// that takes a message less for each.
type trials struct {
	mu     sync.Mutex
	bySize map[int64]*trial
}

type trial struct {
	ended   chan struct{} // closed when matched is known
	matched bool
}

// maxTrials is the most sizes to remember. They come in order, so old ones do not return.
const maxTrials = 1000

// matched reports whether files of this size matched before. If nobody has tried, it
// returns a trial, and the caller passes it to end. It waits for the trials of others.
func (t *trials) matched(ctx context.Context, size int64) (*trial, bool) {
	t.mu.Lock()
	of := t.bySize[size]
	if of == nil {
		if t.bySize == nil || len(t.bySize) >= maxTrials {
			t.bySize = make(map[int64]*trial)
		}
		of = &trial{ended: make(chan struct{})}
		t.bySize[size] = of
		t.mu.Unlock()
		return of, false
	}
	t.mu.Unlock()
	select {
	case <-of.ended:
	case <-ctx.Done():
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	return nil, of.matched
}

// end records how a trial ended.
func (t *trials) end(of *trial, matched bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	of.matched = matched
	close(of.ended)
}

// failed records that files matched in their first bytes only.
func (t *trials) failed(size int64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if of := t.bySize[size]; of != nil {
		of.matched = false
	}
}
