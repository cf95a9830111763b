package main

import (
	"bytes"
	"cmp"
	"compress/zlib"
	"encoding/binary"
	"hash/crc32"
	"image"
	"image/color"
	"image/png"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

// chunk makes a chunk of a PNG file.
func chunk(kind string, content []byte) []byte {
	b := binary.BigEndian.AppendUint32(nil, uint32(len(content)))
	b = append(append(b, kind...), content...)
	return binary.BigEndian.AppendUint32(b, crc32.ChecksumIEEE(b[4:]))
}

// file makes a PNG file of a zlib stream, in two parts.
func file(header, stream []byte) []byte {
	half := len(stream) / 2
	return slices.Concat([]byte("\x89PNG\r\n\x1a\n"), chunk("IHDR", header), chunk("tEXt", []byte("Title\x00of no interest")),
		chunk("IDAT", stream[:half]), chunk("IDAT", stream[half:]), chunk("IEND", nil))
}

var header = []byte{0, 0, 0, side, 0, 0, 0, side, 8, 2, 0, 0, 0}

// compressed makes a zlib stream of an image. It flushes after each piece, which makes
// more blocks.
func compressed(t testing.TB, level, piece int, content []byte) []byte {
	t.Helper()
	var b bytes.Buffer
	w, err := zlib.NewWriterLevel(&b, level)
	if err != nil {
		t.Fatal(err)
	}
	for part := range slices.Chunk(content, piece) {
		_, err := w.Write(part)
		if err := cmp.Or(err, w.Flush()); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// lines makes the lines of an image, with all filters: the less often a value is there,
// the larger it is, so that a Huffman code has symbols of many lengths.
func lines(value func(*rand.Rand) float64) []byte {
	random := rand.New(rand.NewPCG(1, 2))
	b := make([]byte, side*(1+line))
	for i := range b {
		if b[i] = byte(min(value(random), 255)); i%(1+line) == 0 {
			b[i] = byte(i / (1 + line) % 5)
		}
	}
	return b
}

// images are PNG files with blocks of all kinds: stored ones, ones with fixed codes, ones
// with codes of their own that are short, long, or of one symbol alone.
func images(t testing.TB) (all [][]byte) {
	for _, value := range []func(*rand.Rand) float64{
		func(r *rand.Rand) float64 { return 0 },
		func(r *rand.Rand) float64 { return 1.5 * r.ExpFloat64() },
		func(r *rand.Rand) float64 { return 40 * r.ExpFloat64() },
		func(r *rand.Rand) float64 { return 256 * r.Float64() },
	} {
		for _, level := range []int{zlib.HuffmanOnly, zlib.NoCompression, zlib.BestSpeed, zlib.BestCompression} {
			for _, piece := range []int{100, 1 << 20} {
				all = append(all, file(header, compressed(t, level, piece, lines(value))))
			}
		}
	}
	return all
}

// checkSame fails unless a picture shows what image/png decoded.
func checkSame(t *testing.T, p *picture, decoded image.Image) {
	t.Helper()
	for y := range side {
		_, pixels := p.line(y)
		for x := range side {
			if got, want := (color.RGBA{pixels[3*x], pixels[3*x+1], pixels[3*x+2], 255}), decoded.(*image.RGBA).RGBAAt(x, y); got != want {
				t.Fatalf("pixel %d, %d is %v, want %v", x, y, got, want)
			}
		}
	}
}

func TestDecodeAll(t *testing.T) {
	var p picture
	for i, content := range images(t) {
		want, err := png.Decode(bytes.NewReader(content))
		if err != nil {
			t.Fatal(i, err)
		}
		if err := p.decode(content); err != nil {
			t.Fatal(i, err)
		}
		checkSame(t, &p, want)
	}
}

// FuzzDecode has streams that are damaged. What image/png decodes is decoded, and to the
// same pixels.
func FuzzDecode(f *testing.F) {
	for _, level := range []int{zlib.HuffmanOnly, zlib.NoCompression, zlib.BestSpeed} {
		stream := compressed(f, level, 20_000, lines(func(r *rand.Rand) float64 { return 1.5 * r.ExpFloat64() }))
		f.Add(stream)
		f.Add(stream[:len(stream)-1])
		f.Add(stream[:len(stream)/2])
		f.Add(append(stream[:len(stream):len(stream)], stream...))
		for i := range 40 {
			damaged := bytes.Clone(stream)
			damaged[i] ^= 1 << (i % 8)
			f.Add(damaged)
		}
	}
	f.Add([]byte{})
	f.Add([]byte{0x78, 0x9c})
	var p picture
	f.Fuzz(func(t *testing.T, stream []byte) {
		content := file(header, stream)
		want, err := png.Decode(bytes.NewReader(content))
		if err != nil {
			p.decode(content) // must not panic
			return
		}
		if err := p.decode(content); err != nil {
			t.Fatal(err)
		}
		checkSame(t, &p, want)
	})
}

// TestDecodeDamaged has files that are cut off, or where a byte of what is around the
// stream is another.
func TestDecodeDamaged(t *testing.T) {
	var p picture
	content := file(header, compressed(t, zlib.BestCompression, 1<<20, lines(func(*rand.Rand) float64 { return 0 })))
	for n := range content {
		if p.decode(content[:n]) == nil {
			t.Errorf("no error of %d bytes of %d", n, len(content))
		}
		damaged := bytes.Clone(content)
		damaged[n] ^= 1
		if p.decode(damaged) == nil {
			t.Errorf("no error of a file with another byte %d", n)
		}
	}
	interlaced := bytes.Clone(header)
	interlaced[12] = 1
	if err := p.decode(file(interlaced, nil)); err == nil || !strings.Contains(err.Error(), "interlace method 1: make it 224×224, 8-bit RGB, not interlaced") {
		t.Errorf("error %v", err)
	}
}
