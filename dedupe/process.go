package dedupe

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
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
func (h *PoolHasher) Hash(ctx context.Context, f File) (Digest, Work, error) {
	a := h.alone(ctx, request{task: taskHash, files: []File{f}})
	return a.Digest, a.Work, a.Err
}

// HashEnds implements Hasher, by one worker.
func (h *PoolHasher) HashEnds(ctx context.Context, files []File, others Others) []Hashed {
	return h.together(ctx, request{taskEnds, others, files}, taskEnds)
}

// HashInStep implements Hasher, by one worker.
func (h *PoolHasher) HashInStep(ctx context.Context, files []File) []Hashed {
	return h.together(ctx, request{task: taskInStep, files: files}, taskHash)
}

// together has one worker do a task. Where two died of it, it was one of the files:
// so then each is asked for alone.
func (h *PoolHasher) together(ctx context.Context, q request, alone task) []Hashed {
	answers, err := h.call(ctx, q)
	if err != nil {
		answers = make([]Hashed, len(q.files))
		for i, f := range q.files {
			answers[i] = h.alone(ctx, request{alone, q.others, []File{f}})
		}
	}
	return answers
}

func (h *PoolHasher) alone(ctx context.Context, q request) Hashed {
	answers, err := h.call(ctx, q)
	if err != nil {
		return Hashed{Err: &Problem{Op: "hash", Path: q.files[0].Path, Err: err}}
	}
	return answers[0]
}

// call has a worker do what is requested.
func (h *PoolHasher) call(ctx context.Context, q request) ([]Hashed, error) {
	frame, err := h.Pool.Call(ctx, q.append(nil))
	if err != nil {
		return nil, err
	}
	parts, err := parseParts(frame)
	if err == nil && len(parts) != len(q.files) {
		err = fmt.Errorf("a worker answered for %d of %d files", len(parts), len(q.files))
	}
	answers := make([]Hashed, len(q.files))
	for i, f := range q.files {
		var r response
		if err == nil {
			err = r.parse(parts[i])
		}
		if err != nil {
			return nil, err
		}
		answers[i] = Hashed{r.digest, r.ends, r.work, r.problem(f.Path)}
		if h.Read != nil {
			h.Read(r.work.BytesRead)
		}
	}
	return answers, nil
}

// workerRole makes a program a worker process. How it works is words: always the first
// one; whether paths are within the directory that it has as file descriptor 3; and
// whether it compares nothing.
const (
	workerRole pool.Role = "DEDUPE_WORKER"

	howHash    = "hash"
	howWithin  = "within"
	howHashAll = "hash-all"
)

// workerCommand is the command of a worker process for a scan with options o.
func (o *Options) workerCommand() *exec.Cmd {
	var cmd *exec.Cmd
	if o.Worker != nil {
		cmd = o.Worker()
	} else {
		cmd = pool.Self()
	}
	how := howHash
	if o.Within != nil {
		how += " " + howWithin
		cmd.ExtraFiles = []*os.File{o.Within}
	}
	if o.HashAll {
		how += " " + howHashAll
	}
	workerRole.Give(cmd, how)
	return cmd
}

// RunWorker makes a program a worker process if a scan started it as one, which its
// environment tells: it hashes the files that frames on in name, and answers on out,
// until in ends. A program whose scans have the mode Processes calls it before it does
// anything else; many workers start at once. Its error is one of in or out, or says
// that no scan started the program.
func RunWorker(in io.Reader, out io.Writer) (isWorker bool, err error) {
	how, err := workerRole.Take(in, out)
	if how == "" || err != nil {
		return how != "", err
	}
	h := &LocalHasher{cache: contentCache{sparing: true}}
	for i, word := range strings.Split(how, " ") {
		switch {
		case i == 0 && word == howHash:
		case i > 0 && word == howWithin:
			h.Within = os.NewFile(3, howWithin)
		case i > 0 && word == howHashAll:
			h.HashAll = true
		default:
			return true, fmt.Errorf("the environment variable %s is %q, which no scan sets: unset it", workerRole, how)
		}
	}
	return true, serve(in, out, h)
}

func serve(in io.Reader, out io.Writer, h *LocalHasher) error {
	return pool.Serve(in, out, func(frame []byte) (answer []byte) {
		var q request
		if err := q.parse(frame); err != nil {
			return appendPart(nil, response{op: "hash", err: err.Error()}.append(nil))
		}
		for _, a := range h.do(q) {
			answer = appendPart(answer, responseTo(a).append(nil))
		}
		return answer
	})
}

func (h *LocalHasher) do(q request) []Hashed {
	ctx := context.Background()
	switch q.task {
	case taskInStep:
		return h.HashInStep(ctx, q.files)
	case taskEnds:
		return h.HashEnds(ctx, q.files, q.others)
	}
	var a Hashed
	a.Digest, a.Work, a.Err = h.Hash(ctx, q.files[0])
	return []Hashed{a}
}

// task is a method of Hasher.
type task byte

const (
	taskHash task = iota
	taskEnds
	taskInStep
	tasks
)

// appendPart appends to a frame a length of four bytes, and so many bytes.
func appendPart(frame, part []byte) []byte {
	return append(binary.LittleEndian.AppendUint32(frame, uint32(len(part))), part...)
}

// parseParts takes a frame to pieces. There is one at least.
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

// request is a task, of one byte, another that tells whether there are other files,
// and parts: the ends of these, of eight bytes each, and the files that are asked for,
// one or some of one size.
type request struct {
	task   task
	others Others
	files  []File
}

func (q request) append(b []byte) []byte {
	exist := byte(0)
	if q.others.Exist {
		exist = 1
	}
	var ends []byte
	for _, e := range q.others.Ends {
		ends = binary.LittleEndian.AppendUint64(ends, uint64(e))
	}
	b = appendPart(append(b, byte(q.task), exist), ends)
	for _, f := range q.files {
		b = appendPart(b, appendFile(nil, f))
	}
	return b
}

func (q *request) parse(b []byte) error {
	if len(b) < 2 || task(b[0]) >= tasks || b[1] > 1 {
		return errors.New("a request for no known task")
	}
	parts, err := parseParts(b[2:])
	if err != nil {
		return err
	}
	ends, files := parts[0], parts[1:]
	if len(files) == 0 || len(ends)%8 != 0 {
		return errors.New("a request is malformed")
	}
	*q = request{task(b[0]), Others{Exist: b[1] == 1}, make([]File, len(files))}
	for e := range slices.Chunk(ends, 8) {
		q.others.Ends = append(q.others.Ends, Ends(binary.LittleEndian.Uint64(e)))
	}
	for i, part := range files {
		f := &q.files[i]
		if err := parseFile(f, part); err != nil {
			return err
		}
		if f.Size != q.files[0].Size || i > 0 && q.task == taskHash {
			return errors.New("a request for files that can't be hashed together")
		}
	}
	if q.task == taskEnds && q.files[0].Size <= smallMax {
		return fmt.Errorf("a request for the ends of files of %d bytes", q.files[0].Size)
	}
	return nil
}

// A file is seven numbers of eight bytes, and its path.
const fileSize = 7 * 8

func appendFile(b []byte, f File) []byte {
	for _, v := range [...]uint64{
		uint64(f.Size), f.Device, f.Inode,
		uint64(f.ModTime.Sec), uint64(f.ModTime.Nsec), uint64(f.ChangeTime.Sec), uint64(f.ChangeTime.Nsec),
	} {
		b = binary.LittleEndian.AppendUint64(b, v)
	}
	return append(b, f.Path...)
}

func parseFile(f *File, b []byte) error {
	if len(b) < fileSize {
		return fmt.Errorf("a file of %d bytes is too short", len(b))
	}
	v := func(i int) uint64 { return binary.LittleEndian.Uint64(b[8*i:]) }
	*f = File{
		Size:       int64(v(0)),
		Device:     v(1),
		Inode:      v(2),
		ModTime:    Timestamp{int64(v(3)), int32(v(4))},
		ChangeTime: Timestamp{int64(v(5)), int32(v(6))},
		Path:       string(b[fileSize:]),
	}
	if f.Size < 0 {
		return fmt.Errorf("a request for %d bytes", f.Size)
	}
	return nil
}

// response is four numbers of eight bytes, the ends and the digest; then, if the file
// is a problem, whether it changed, the length of the operation's name, that name,
// and the cause.
type response struct {
	work    Work
	ends    Ends
	digest  Digest
	changed bool
	op, err string
}

func responseTo(a Hashed) response {
	r := response{digest: a.Digest, ends: a.Ends, work: a.Work, changed: errors.Is(a.Err, ErrChanged)}
	if p := (*Problem)(nil); errors.As(a.Err, &p) {
		r.op, r.err = p.Op, p.Err.Error()
	} else if a.Err != nil {
		r.op, r.err = "hash", a.Err.Error()
	}
	return r
}

const responseSize = 5*8 + len(Digest{})

func (r response) append(b []byte) []byte {
	for _, v := range [...]int64{r.work.Opens, r.work.BytesRead, r.work.FilesHashed, r.work.FilesCompared, int64(r.ends)} {
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
	*r = response{work: Work{Opens: v(0), BytesRead: v(1), FilesHashed: v(2), FilesCompared: v(3)}, ends: Ends(v(4)), digest: Digest(b[5*8:])}
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
	return &Problem{Op: r.op, Path: path, Err: &workerError{r.err, r.changed}}
}

// workerError is an error that a worker met, in its words.
type workerError struct {
	text    string
	changed bool
}

func (e *workerError) Error() string { return e.text }

func (e *workerError) Is(target error) bool { return e.changed && target == ErrChanged }
