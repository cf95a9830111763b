package pool

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
)

// A frame is its payload's length and CRC-32C, four bytes each, little-endian,
// then the payload. The checksum is there to tell a frame from what a worker
// gone wrong, or a library in it, may print.
const (
	headerSize = 8
	maxPayload = 1 << 20 // far above any path, far below what would hurt
)

var errGarbage = errors.New("not a frame")

func checksum(payload []byte) uint32 {
	return crc32.Checksum(payload, crc32.MakeTable(crc32.Castagnoli))
}

// writeFrame writes a frame in one Write.
func writeFrame(w io.Writer, payload []byte) error {
	if len(payload) > maxPayload {
		return fmt.Errorf("a frame of %d bytes is above the limit of %d", len(payload), maxPayload)
	}
	frame := make([]byte, headerSize, headerSize+len(payload))
	binary.LittleEndian.PutUint32(frame, uint32(len(payload)))
	binary.LittleEndian.PutUint32(frame[4:], checksum(payload))
	_, err := w.Write(append(frame, payload...))
	return err
}

// readFrame reads one frame. Its error is io.EOF if r ends before a frame
// begins, and io.ErrUnexpectedEOF if it ends within one.
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
	if checksum(payload) != binary.LittleEndian.Uint32(header[4:]) {
		return nil, errGarbage
	}
	return payload, nil
}
