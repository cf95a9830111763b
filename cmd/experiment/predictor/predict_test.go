package main

import (
	"bytes"
	"image"
	"image/color"
	"image/png"
	"strings"
	"testing"
)

func encoded(t *testing.T, m image.Image) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := png.Encode(&b, m); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestDecode(t *testing.T) {
	m := image.NewRGBA(image.Rect(0, 0, side, side))
	for i := range m.Pix {
		m.Pix[i] = 255
	}
	m.SetRGBA(2, 1, color.RGBA{0, 127, 128, 255})
	var p picture
	if err := p.decode(encoded(t, m)); err != nil {
		t.Fatal(err)
	}
	var x input
	normal := normalized()
	x.fill(&p, &normal)
	const at = side + 2
	if got, want := [...]float32{x[at], x[plane+at], x[2*plane+at], x[0]}, [...]float32{-127. / 128, 0, 1. / 128, 1}; got != want {
		t.Errorf("%v, want %v", got, want)
	}
	for _, bad := range [][]byte{
		encoded(t, image.NewRGBA(image.Rect(0, 0, side, side))), // transparent
		encoded(t, image.NewGray(image.Rect(0, 0, side, side))),
		encoded(t, m.SubImage(image.Rect(0, 0, side, side-1))),
	} {
		if err := p.decode(bad); err == nil || !strings.Contains(err.Error(), "make it 224×224, 8-bit RGB") {
			t.Errorf("error %v", err)
		}
	}
	if err := p.decode([]byte("no image")); err == nil {
		t.Error("no error of what is no PNG")
	}
}

func TestLoadFails(t *testing.T) {
	if _, err := load("", ""); err == nil || !strings.Contains(err.Error(), "DEDUPE_ONNXRUNTIME and DEDUPE_MODEL must name") {
		t.Errorf("error %v", err)
	}
	if _, err := load("/no/such/library", "/no/such/model"); err == nil || !strings.Contains(err.Error(), "/no/such/library") {
		t.Errorf("error %v", err)
	}
}
