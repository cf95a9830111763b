package main

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"image"
	"image/png"

	"github.com/zeebo/blake3"
)

// side is the width and height of images.
const side = 224

// predict is a task.Predictor.
func (s *session) predict(content []byte) (string, error) {
	pixels, err := decode(content)
	if err != nil {
		return "", err
	}
	input := s.inputs.Get().(*input)
	defer s.inputs.Put(input)
	input.fill(pixels, &s.normal)
	logits, err := s.run(input)
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

func decode(content []byte) (*image.RGBA, error) {
	decoded, err := png.Decode(bytes.NewReader(content))
	if err != nil {
		return nil, err
	}
	m, isRGB := decoded.(*image.RGBA)
	if !isRGB || m.Rect.Dx() != side || m.Rect.Dy() != side {
		return nil, fmt.Errorf("a PNG of %v, %T: make it %d×%d, 8-bit RGB", decoded.Bounds().Size(), decoded, side, side)
	}
	return m, nil
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

func (x *input) fill(m *image.RGBA, normal *[256]float32) {
	red, green, blue := x[:plane], x[plane:2*plane], x[2*plane:]
	for i := range plane {
		p := m.Pix[4*i : 4*i+3 : 4*i+3]
		red[i], green[i], blue[i] = normal[p[0]], normal[p[1]], normal[p[2]]
	}
}
