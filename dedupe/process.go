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
	"sync/atomic"

	"efsdedupe/dedupe/mount"
	"efsdedupe/dedupe/pool"
)

// poolHasher passes files to the worker processes of a pool, which call RunWorker. If two
// workers in a row die on a file, the file has a problem.
type poolHasher struct {
	pool *pool.Pool
	read func(bytes int64) // called with the bytes of each file when it is done; may be nil
}

// Hash implements Hasher with one worker. If two workers died on a batch, one of its
// files is to blame, so Hash then asks for each file alone.
func (h *poolHasher) Hash(ctx context.Context, b Batch) []Signed {
	signed, err := h.call(ctx, b)
	if err == nil {
		return signed
	}
	signed = make([]Signed, len(b.Files))
	for i, f := range b.Files {
		alone := b
		alone.Files = []File{f}
		if len(b.Files) > 1 {
			var one []Signed
			if one, err = h.call(ctx, alone); err == nil {
				signed[i] = one[0]
				continue
			}
		}
		signed[i].File = f
		signed[i].Problem = &Problem{Op: "hash", Path: f.Path, Err: err}
	}
	return signed
}

// call asks a worker to sign a batch.
func (h *poolHasher) call(ctx context.Context, b Batch) ([]Signed, error) {
	frame, err := h.pool.Call(ctx, requestOf(b).append(nil))
	if err != nil {
		return nil, err
	}
	parts, err := parseParts(frame)
	if err != nil {
		return nil, err
	}
	if len(parts) != len(b.Files) {
		return nil, fmt.Errorf("a worker answered for %d of %d files", len(parts), len(b.Files))
	}
	signed := make([]Signed, len(parts))
	for i, f := range b.Files {
		var r response
		if err := r.parse(parts[i]); err != nil {
			return nil, err
		}
		signed[i] = Signed{File: f, Ends: r.ends, Digest: r.digest, Work: r.work, Problem: r.problem(f.Path)}
		if h.read != nil {
			h.read(r.work.BytesRead)
		}
	}
	return signed, nil
}

// workerRole makes a program a worker process. Its value is words: howHash first;
// howWithin if paths are relative to the directory open as file descriptor 3; howHashAll
// to compare nothing.
const (
	workerRole pool.Role = "DEDUPE_WORKER"

	howHash    = "hash"
	howWithin  = "within"
	howHashAll = "hash-all"
)

// workerCommand is the command of a worker process.
func (e *Engine) workerCommand() *exec.Cmd {
	var cmd *exec.Cmd
	if e.Worker != nil {
		cmd = e.Worker()
	} else {
		cmd = pool.Self()
	}
	how := howHash
	if e.Within != nil {
		how += " " + howWithin
		cmd.ExtraFiles = []*os.File{e.Within}
	}
	if e.HashAll {
		how += " " + howHashAll
	}
	workerRole.Give(cmd, how)
	e.limitMemory(cmd)
	return cmd
}

// RunWorker makes a program a worker process if its environment says that a scan started
// it as one. It hashes the files named by the frames on in, and answers on out, until in
// ends. A program that scans with the mode Processes must call it first; call it early,
// because many workers start at once. Its error comes from in or out, or says that no
// scan started the program.
func RunWorker(in io.Reader, out io.Writer) (isWorker bool, err error) {
	how, err := workerRole.Take(in, out)
	if how == "" || err != nil {
		return how != "", err
	}
	h := &LocalHasher{cache: contentCache{sparing: true, most: blocksWithin(memoryLimit())}}
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
	var reading atomic.Bool
	defer func() {
		if reading.Load() {
			mount.LetGo()
		}
	}()
	return pool.Serve(in, out, func(frame []byte) (answer []byte) {
		reading.Store(true)
		defer reading.Store(false)
		var q request
		if err := q.parse(frame); err != nil {
			return appendPart(nil, response{op: "hash", err: err.Error()}.append(nil))
		}
		for _, signed := range h.Hash(context.Background(), q.batch()) {
			answer = appendPart(answer, responseTo(signed).append(nil))
		}
		return answer
	})
}

// task is what a request asks for.
type task byte

const (
	taskWhole task = iota
	taskEnds
	tasks
)

// appendPart appends a part to a frame: its length in four bytes, then its bytes.
func appendPart(frame, part []byte) []byte {
	return append(binary.LittleEndian.AppendUint32(frame, uint32(len(part))), part...)
}

// parseParts splits a frame into its parts, at least one.
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

// request is a batch: one byte for the task, one byte of flags, then the parts. The first
// part is the peers, eight bytes each; the others are the files.
type request struct {
	task  task
	apart bool
	more  bool
	nfs   bool
	peers []Ends
	files []File
}

// The flags of a request.
const (
	flagMore = 1 << iota
	flagNFS
	flagApart
	flags = flagMore | flagNFS | flagApart // all there are
)

func requestOf(b Batch) request {
	q := request{apart: b.Apart, more: b.More, nfs: b.NFS, peers: b.Peers, files: b.Files}
	if b.Want == StageEnds {
		q.task = taskEnds
	}
	return q
}

func (q request) batch() Batch {
	b := Batch{Want: StageWhole, Apart: q.apart, More: q.more, NFS: q.nfs, Peers: q.peers, Files: q.files}
	if q.task == taskEnds {
		b.Want = StageEnds
	}
	return b
}

func (q request) append(b []byte) []byte {
	set := byte(0)
	if q.more {
		set |= flagMore
	}
	if q.nfs {
		set |= flagNFS
	}
	if q.apart {
		set |= flagApart
	}
	var ends []byte
	for _, e := range q.peers {
		ends = binary.LittleEndian.AppendUint64(ends, uint64(e))
	}
	b = appendPart(append(b, byte(q.task), set), ends)
	for _, f := range q.files {
		b = appendPart(b, appendFile(nil, f))
	}
	return b
}

func (q *request) parse(b []byte) error {
	if len(b) < 2 || task(b[0]) >= tasks || b[1]&^flags != 0 {
		return errors.New("a request for an unknown task")
	}
	parts, err := parseParts(b[2:])
	if err != nil {
		return err
	}
	ends, files := parts[0], parts[1:]
	if len(files) == 0 || len(ends)%8 != 0 {
		return errors.New("a request is malformed")
	}
	*q = request{task: task(b[0]), apart: b[1]&flagApart != 0, more: b[1]&flagMore != 0, nfs: b[1]&flagNFS != 0, files: make([]File, len(files))}
	for e := range slices.Chunk(ends, 8) {
		q.peers = append(q.peers, Ends(binary.LittleEndian.Uint64(e)))
	}
	for i, part := range files {
		f := &q.files[i]
		if err := parseFile(f, part); err != nil {
			return err
		}
		if q.apart && f.Size > smallMax || !q.apart && f.Size != q.files[0].Size {
			return errors.New("a request for files that can't be hashed together")
		}
	}
	if q.task == taskEnds && q.files[0].Size <= smallMax {
		return fmt.Errorf("a request for the ends of files of %d bytes", q.files[0].Size)
	}
	return nil
}

// A file is eight numbers of eight bytes, then its path.
const fileSize = 8 * 8

func appendFile(b []byte, f File) []byte {
	for _, v := range [...]uint64{
		uint64(f.Size), f.Device, f.Inode,
		uint64(f.ModTime.Sec), uint64(f.ModTime.Nsec), uint64(f.ChangeTime.Sec), uint64(f.ChangeTime.Nsec), uint64(f.Allocated),
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
		Allocated:  int64(v(7)),
		Path:       string(b[fileSize:]),
	}
	if f.Size < 0 {
		return fmt.Errorf("a request for %d bytes", f.Size)
	}
	return nil
}

// response is four numbers of eight bytes, the ends and the digest. A problem follows as
// one byte that says whether the file changed, the length of the operation's name, that
// name, and the cause.
type response struct {
	work    Work
	ends    Ends
	digest  Digest
	changed bool
	op, err string
}

func responseTo(s Signed) response {
	r := response{digest: s.Digest, ends: s.Ends, work: s.Work}
	if s.Problem != nil {
		r.changed = errors.Is(s.Problem, ErrChanged)
		r.op, r.err = s.Problem.Op, s.Problem.Err.Error()
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

// problem returns the worker's problem as it would be in this process, or nil.
func (r *response) problem(path string) *Problem {
	if r.op == "" {
		return nil
	}
	return &Problem{Op: r.op, Path: path, Err: &workerError{r.err, r.changed}}
}

// workerError is an error that a worker met, in the worker's words.
type workerError struct {
	text    string
	changed bool
}

func (e *workerError) Error() string { return e.text }

func (e *workerError) Is(target error) bool { return e.changed && target == ErrChanged }
