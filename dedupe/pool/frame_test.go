package pool

import (
	"bytes"
	"encoding/binary"
	"io"
	"runtime"
	"strings"
	"testing"
)

// frame returns payload as a frame.
func frame(t testing.TB, payload []byte) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := writeFrame(&b, payload); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestFrameRoundTrip(t *testing.T) {
	payloads := [][]byte{
		{},
		{0},
		[]byte("a/path\n\xff"),
		make([]byte, 300),
		bytes.Repeat([]byte("x"), maxPayload),
	}
	var stream bytes.Buffer
	for _, payload := range payloads {
		stream.Write(frame(t, payload))
	}
	for _, want := range payloads {
		got, err := readFrame(&stream)
		if err != nil || !bytes.Equal(got, want) {
			t.Errorf("a frame of %d bytes came back as %d bytes, error %v", len(want), len(got), err)
		}
	}
	if _, err := readFrame(&stream); err != io.EOF {
		t.Errorf("after the last frame: %v, want io.EOF", err)
	}
}

// writes counts calls to Write.
type writes int

func (w *writes) Write(b []byte) (int, error) {
	*w++
	return len(b), nil
}

func TestFrameIsOneWrite(t *testing.T) {
	var w writes
	if err := writeFrame(&w, []byte("payload")); err != nil || w != 1 {
		t.Errorf("%d writes, error %v", w, err)
	}
}

func TestFrameTruncated(t *testing.T) {
	for _, payload := range []string{"", "p", "a longer payload"} {
		whole := frame(t, []byte(payload))
		for n := range whole {
			want := io.ErrUnexpectedEOF
			if n == 0 {
				want = io.EOF
			}
			if _, err := readFrame(bytes.NewReader(whole[:n])); err != want {
				t.Errorf("%d of %d bytes: %v, want %v", n, len(whole), err, want)
			}
		}
	}
}

func TestFrameBitFlips(t *testing.T) {
	for _, payload := range [][]byte{nil, {0}, make([]byte, 40), []byte("a payload of some length")} {
		whole := frame(t, payload)
		for bit := range 8 * len(whole) {
			flipped := bytes.Clone(whole)
			flipped[bit/8] ^= 1 << (bit % 8)
			// With more bytes behind it, a length that grew no longer runs into
			// the end of the stream: only the checksum can catch it.
			for _, more := range []io.Reader{strings.NewReader(""), zeros{}} {
				r := io.MultiReader(bytes.NewReader(flipped), more)
				if got, err := readFrame(r); err == nil {
					t.Errorf("bit %d of the frame of %q, then %T: read as %q", bit, payload, more, got)
				}
			}
		}
	}
}

// Typical output of a broken program must not pass for a frame.
func TestFrameGarbage(t *testing.T) {
	for name, garbage := range map[string][]byte{
		"text":  []byte("panic: hello\n\ngoroutine 1 [running]:\n"),
		"zeros": make([]byte, 4096),
		"ones":  bytes.Repeat([]byte{0xff}, 4096),
	} {
		if got, err := readFrame(bytes.NewReader(garbage)); err != errGarbage {
			t.Errorf("%s: read as %q, error %v", name, got, err)
		}
	}
}

func TestFrameTooLarge(t *testing.T) {
	var b bytes.Buffer
	if err := writeFrame(&b, make([]byte, maxPayload+1)); err == nil || b.Len() > 0 {
		t.Errorf("wrote %d bytes of a frame that is too large, error %v", b.Len(), err)
	}
	for _, n := range []uint32{maxPayload + 1, 1 << 31, 1<<32 - 1} {
		header := binary.LittleEndian.AppendUint32(nil, n)
		r := io.MultiReader(bytes.NewReader(header), zeros{})
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		_, err := readFrame(r)
		runtime.ReadMemStats(&after)
		if err != errGarbage {
			t.Errorf("a header that announces %d bytes: %v", n, err)
		}
		if took := after.TotalAlloc - before.TotalAlloc; took > maxPayload {
			t.Errorf("a header that announces %d bytes made readFrame allocate %d", n, took)
		}
	}
}

// zeros is an endless stream of zeros.
type zeros struct{}

func (zeros) Read(b []byte) (int, error) {
	clear(b)
	return len(b), nil
}

func FuzzReadFrame(f *testing.F) {
	f.Add([]byte{})
	f.Add(make([]byte, 64))
	f.Add([]byte("panic: hello\n"))
	f.Add(frame(f, nil))
	f.Add(frame(f, []byte("payload")))
	f.Add(append(frame(f, []byte("one")), frame(f, []byte("two"))...))
	f.Add(frame(f, []byte("truncated"))[:12])
	f.Fuzz(func(t *testing.T, b []byte) {
		r := bytes.NewReader(b)
		payload, err := readFrame(r)
		if cap(payload) > maxPayload {
			t.Errorf("allocated %d bytes", cap(payload))
		}
		if err == io.EOF && len(b) > 0 {
			t.Errorf("io.EOF after %d bytes", len(b))
		}
		if err != nil {
			return
		}
		read := b[:len(b)-r.Len()]
		if again := frame(t, payload); !bytes.Equal(again, read) {
			t.Errorf("read % x, wrote it back as % x", read, again)
		}
	})
}
