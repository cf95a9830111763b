package main

import (
	"encoding/binary"
	"fmt"

	"github.com/zeebo/blake3"
)

// buffers are the memory of a prediction: 1 MB, which is too much to leave to the garbage
// collector.
type buffers struct {
	input
	picture
}

// predict is a task.Predictor.
func (s *session) predict(content []byte) (string, error) {
	b := s.free.Get().(*buffers)
	defer s.free.Put(b)
	if err := b.decode(content); err != nil {
		return "", err
	}
	b.fill(&b.picture, &s.normal)
	logits, err := s.run(&b.input)
	if err != nil {
		return "", err
	}
	top := 0
	for i, l := range logits {
		if l > logits[top] {
			top = i
		}
	}
	raw, err := binary.Append(nil, binary.LittleEndian, logits)
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("%d %.6f %x", top, logits[top], blake3.Sum256(raw)), nil
}

const plane = side * side

// input is what the model takes: all red values, then all green ones, then all blue ones.
type input [3 * plane]float32

// normalized returns what the model takes for each value of a pixel, about between -1
// and 1. It is exact, so that every language gets the same.
func normalized() (table [256]float32) {
	for v := range table {
		table[v] = (float32(v) - 127) / 128
	}
	return table
}

func (x *input) fill(p *picture, normal *[256]float32) {
	red, green, blue := x[:plane], x[plane:2*plane], x[2*plane:]
	for y := range side {
		_, pixels := p.line(y)
		for i := y * side; len(pixels) >= 3; i, pixels = i+1, pixels[3:] {
			red[i], green[i], blue[i] = normal[pixels[0]], normal[pixels[1]], normal[pixels[2]]
		}
	}
}
