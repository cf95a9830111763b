package pool

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
)

// A frame is the payload length, a CRC-32C of length and payload, then the payload.
// Length and checksum are four bytes each, little-endian. The checksum catches stray
// output from a broken worker or one of its libraries, including zeros.
const (
	headerSize = 8
	maxPayload = 1 << 20 // longer than any path, yet cheap to allocate
)

var errGarbage = errors.New("not a frame")

// checksum covers the length in the header and the payload.
func checksum(header, payload []byte) uint32 {
	table := crc32.MakeTable(crc32.Castagnoli)
	return crc32.Update(crc32.Checksum(header[:4], table), table, payload)
}

func checkSize(payload []byte) error {
	if len(payload) > maxPayload {
		return fmt.Errorf("a frame of %d bytes exceeds the limit of %d", len(payload), maxPayload)
	}
	return nil
}

// writeFrame writes a frame in a single Write.
func writeFrame(w io.Writer, payload []byte) error {
	if err := checkSize(payload); err != nil {
		return err
	}
	frame := make([]byte, headerSize, headerSize+len(payload))
	binary.LittleEndian.PutUint32(frame, uint32(len(payload)))
	binary.LittleEndian.PutUint32(frame[4:], checksum(frame, payload))
	_, err := w.Write(append(frame, payload...))
	return err
}

// readFrame reads one frame. It returns io.EOF if r ends before a frame starts,
// io.ErrUnexpectedEOF if r ends inside one, and errGarbage if the bytes are not a frame.
func readFrame(r io.Reader) ([]byte, error) {
	var header [headerSize]byte
	if _, err := io.ReadFull(r, header[:]); err != nil {
		return nil, err
	}
	n := binary.LittleEndian.Uint32(header[:])
	if n > maxPayload {
		return nil, errGarbage
	}
	payload := make([]byte, n)
	if _, err := io.ReadFull(r, payload); err != nil {
		if err == io.EOF {
			err = io.ErrUnexpectedEOF
		}
		return nil, err
	}
	if checksum(header[:], payload) != binary.LittleEndian.Uint32(header[4:]) {
		return nil, errGarbage
	}
	return payload, nil
}
