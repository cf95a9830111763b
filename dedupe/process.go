package dedupe

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"

	"efsdedupe/dedupe/pool"
)

// PoolHasher has files read and hashed by the worker processes of a pool, which
// call RunWorker. A file at which two workers died, one after the other, is a
// *Problem.
type PoolHasher struct {
	Pool *pool.Pool

	// Read, if it is set, is told of the bytes of each file when it is done, from
	// many goroutines.
	Read func(bytes int64)
}

// Hash implements Hasher.
func (h *PoolHasher) Hash(ctx context.Context, f File, n int64) (Digest, Work, error) {
	answers, err := h.call(ctx, []request{{f, n}})
	if err != nil {
		return Digest{}, Work{}, &Problem{Op: "hash", Path: f.Path, Err: err}
	}
	return answers[0].Digest, answers[0].Work, answers[0].Err
}

// HashInStep implements Hasher, by one worker. Where two died of it, it was one of
// the files: so then each is asked for alone.
func (h *PoolHasher) HashInStep(ctx context.Context, files []File) []Hashed {
	requests := make([]request, len(files))
	for i, f := range files {
		requests[i] = request{f, Whole}
	}
	answers, err := h.call(ctx, requests)
	if err != nil {
		return oneByOne(ctx, h, files)
	}
	return answers
}

// call has a worker answer requests in one frame.
func (h *PoolHasher) call(ctx context.Context, requests []request) ([]Hashed, error) {
	var frame []byte
	for _, q := range requests {
		frame = appendPart(frame, q.append(nil))
	}
	frame, err := h.Pool.Call(ctx, frame)
	if err != nil {
		return nil, err
	}
	parts, err := parseParts(frame)
	if err == nil && len(parts) != len(requests) {
		err = fmt.Errorf("a worker answered %d of %d requests", len(parts), len(requests))
	}
	answers := make([]Hashed, len(requests))
	for i, q := range requests {
		var r response
		if err == nil {
			err = r.parse(parts[i])
		}
		if err != nil {
			return nil, err
		}
		answers[i] = Hashed{r.digest, r.work, r.problem(q.file.Path)}
		if h.Read != nil {
			h.Read(r.work.BytesRead)
		}
	}
	return answers, nil
}

// The arguments that make a program a worker process, one whose paths are within
// the directory that it has as file descriptor 3, and one that compares nothing.
// They come in this order.
const (
	workerArg  = "worker"
	withinArg  = "within"
	hashAllArg = "hash-all"
)

// workerCommand is the command of a worker process for a scan with options o.
func (o *Options) workerCommand() *exec.Cmd {
	var cmd *exec.Cmd
	if o.Worker != nil {
		cmd = o.Worker()
	} else {
		cmd = pool.Self()
	}
	cmd.Args = append(cmd.Args, workerArg)
	if o.Within != nil {
		cmd.Args = append(cmd.Args, withinArg)
		cmd.ExtraFiles = []*os.File{o.Within}
	}
	if o.HashAll {
		cmd.Args = append(cmd.Args, hashAllArg)
	}
	return cmd
}

// RunWorker makes a program a worker process if args, its arguments, are those of
// one: it hashes the files that frames on in name, and answers on out, until in
// ends. A program whose scans have the mode Processes calls it before it does
// anything else; many workers start at once.
func RunWorker(args []string, in io.Reader, out io.Writer) (isWorker bool, err error) {
	if len(args) == 0 || args[0] != workerArg {
		return false, nil
	}
	h := &LocalHasher{recent: recent{sparing: true}}
	args = args[1:]
	if len(args) > 0 && args[0] == withinArg {
		h.Within = os.NewFile(3, withinArg)
		args = args[1:]
	}
	if len(args) > 0 && args[0] == hashAllArg {
		h.HashAll = true
		args = args[1:]
	}
	if len(args) > 0 {
		return false, nil
	}
	return true, serve(in, out, h)
}

func serve(in io.Reader, out io.Writer, h *LocalHasher) error {
	return pool.Serve(in, out, func(frame []byte) (answer []byte) {
		requests, err := parseRequests(frame)
		if err != nil {
			return appendPart(nil, response{op: "hash", err: err.Error()}.append(nil))
		}
		for _, a := range h.answer(requests) {
			answer = appendPart(answer, responseTo(a).append(nil))
		}
		return answer
	})
}

// answer does what a frame asks for: one file, or several in step.
func (h *LocalHasher) answer(requests []request) []Hashed {
	if len(requests) == 1 {
		d, w, err := h.Hash(context.Background(), requests[0].file, requests[0].n)
		return []Hashed{{d, w, err}}
	}
	files := make([]File, len(requests))
	for i, q := range requests {
		files[i] = q.file
	}
	return h.HashInStep(context.Background(), files)
}

// parseRequests reads the requests of a frame: one, or several that are done in step.
func parseRequests(frame []byte) ([]request, error) {
	parts, err := parseParts(frame)
	if err != nil {
		return nil, err
	}
	requests := make([]request, len(parts))
	for i, part := range parts {
		q := &requests[i]
		if err := q.parse(part); err != nil {
			return nil, err
		}
		if len(parts) > 1 && (q.n != Whole || q.file.Size != requests[0].file.Size) {
			return nil, errors.New("requests in one frame that can't be done in step")
		}
	}
	return requests, nil
}

// A frame is one or more parts: a length of four bytes, and so many bytes.
func appendPart(frame, part []byte) []byte {
	return append(binary.LittleEndian.AppendUint32(frame, uint32(len(part))), part...)
}

func parseParts(frame []byte) (parts [][]byte, err error) {
	for len(frame) > 0 || len(parts) == 0 {
		if len(frame) < 4 || uint64(len(frame)-4) < uint64(binary.LittleEndian.Uint32(frame)) {
			return nil, fmt.Errorf("a frame of %d bytes is too short for its parts", len(frame))
		}
		n := binary.LittleEndian.Uint32(frame)
		parts, frame = append(parts, frame[4:4+n]), frame[4+n:]
	}
	return parts, nil
}

// request is a file and how much of it to hash: six numbers of eight bytes,
// then the path.
type request struct {
	file File
	n    int64
}

func (q request) append(b []byte) []byte {
	f := q.file
	for _, v := range [...]uint64{uint64(q.n), uint64(f.Size), f.Device, f.Inode, uint64(f.ModTime), uint64(f.ChangeTime)} {
		b = binary.LittleEndian.AppendUint64(b, v)
	}
	return append(b, f.Path...)
}

func (q *request) parse(b []byte) error {
	if len(b) < 48 {
		return fmt.Errorf("a request of %d bytes is too short", len(b))
	}
	v := func(i int) uint64 { return binary.LittleEndian.Uint64(b[8*i:]) }
	q.n = int64(v(0))
	q.file = File{
		Size:       int64(v(1)),
		Device:     v(2),
		Inode:      v(3),
		ModTime:    int64(v(4)),
		ChangeTime: int64(v(5)),
		Path:       string(b[48:]),
	}
	if q.n < Whole || q.file.Size < 0 {
		return fmt.Errorf("a request for %d of %d bytes", q.n, q.file.Size)
	}
	return nil
}

// response is four numbers of eight bytes and a digest; then, if the file is a
// problem, whether it changed, the length of the operation's name, that name,
// and the cause.
type response struct {
	work    Work
	digest  Digest
	changed bool
	op, err string
}

func responseTo(a Hashed) response {
	r := response{digest: a.Digest, work: a.Work, changed: errors.Is(a.Err, ErrChanged)}
	if p := (*Problem)(nil); errors.As(a.Err, &p) {
		r.op, r.err = p.Op, p.Err.Error()
	} else if a.Err != nil {
		r.op, r.err = "hash", a.Err.Error()
	}
	return r
}

const responseSize = 4*8 + len(Digest{})

func (r response) append(b []byte) []byte {
	for _, v := range [...]int64{r.work.Opens, r.work.BytesRead, r.work.FilesHashed, r.work.FilesCompared} {
		b = binary.LittleEndian.AppendUint64(b, uint64(v))
	}
	b = append(b, r.digest[:]...)
	if r.op == "" {
		return b
	}
	changed := byte(0)
	if r.changed {
		changed = 1
	}
	b = append(b, changed, byte(len(r.op)))
	return append(append(b, r.op...), r.err...)
}

func (r *response) parse(b []byte) error {
	if len(b) < responseSize {
		return fmt.Errorf("a worker's response of %d bytes is too short", len(b))
	}
	v := func(i int) int64 { return int64(binary.LittleEndian.Uint64(b[8*i:])) }
	*r = response{work: Work{Opens: v(0), BytesRead: v(1), FilesHashed: v(2), FilesCompared: v(3)}, digest: Digest(b[4*8:])}
	rest := b[responseSize:]
	if len(rest) == 0 {
		return nil
	}
	if len(rest) < 2 || rest[0] > 1 || rest[1] == 0 || len(rest) < 2+int(rest[1]) {
		return errors.New("a worker's response is malformed")
	}
	r.changed = rest[0] == 1
	r.op, r.err = string(rest[2:2+int(rest[1])]), string(rest[2+int(rest[1]):])
	return nil
}

// problem is the error that the worker met, as it would be in this process.
func (r *response) problem(path string) error {
	if r.op == "" {
		return nil
	}
	err := errors.New(r.err)
	if r.changed {
		err = fmt.Errorf("%w%s", ErrChanged, strings.TrimPrefix(r.err, ErrChanged.Error()))
	}
	return &Problem{Op: r.op, Path: path, Err: err}
}
