package predict

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"image"
	_ "image/jpeg" // of three pictures
	"image/png"
	"os"
	"path/filepath"

	"efsdedupe/cmd/experiment/internal/task"
)

const (
	// Images is how many there are.
	Images = 100

	// side is their width and height in pixels, which the model takes.
	side = 224
)

// pictures are those that images are made of: ten photographs, the last two of
// scikit-learn.
var pictures = []string{"astronaut.png", "camera.png", "chelsea.png", "clock_motion.png", "coffee.png", "coins.png", "motorcycle_left.png", "rocket.jpg",
	"china.jpg", "flower.jpg"}

// imagesSHA256 is the digest of all pixels. PNG files with the same pixels may differ.
const imagesSHA256 = "f0f2cd996ba43ab4faf0461269f171b55a17b435830d4d64c045acc367567f0c"

// imagesOf makes images of pictures: each is halved as long as it stays large enough,
// and cropped at the corners and in the middle, as it is and mirrored.
func imagesOf(files map[string][]byte) ([]*image.RGBA, error) {
	var images []*image.RGBA
	digest := sha256.New()
	for _, name := range pictures {
		decoded, _, err := image.Decode(bytes.NewReader(files[name]))
		if err != nil {
			return nil, fmt.Errorf("the picture %s: %w", name, err)
		}
		for _, m := range crops(opaque(decoded)) {
			digest.Write(m.Pix)
			images = append(images, m)
		}
	}
	if sum := fmt.Sprintf("%x", digest.Sum(nil)); sum != imagesSHA256 {
		return nil, fmt.Errorf("the pixels of the images have the SHA-256 %s, not %s: this Go decodes JPEG in another way; build with the version in go.mod", sum, imagesSHA256)
	}
	return images, nil
}

// opaque copies a picture.
func opaque(m image.Image) *image.RGBA {
	b := m.Bounds()
	c := image.NewRGBA(image.Rect(0, 0, b.Dx(), b.Dy()))
	for i := range b.Dx() * b.Dy() {
		red, green, blue, _ := m.At(b.Min.X+i%b.Dx(), b.Min.Y+i/b.Dx()).RGBA()
		copy(c.Pix[4*i:], []byte{byte(red >> 8), byte(green >> 8), byte(blue >> 8), 255})
	}
	return c
}

func crops(m *image.RGBA) []*image.RGBA {
	for m.Rect.Dx() >= 2*side && m.Rect.Dy() >= 2*side {
		m = halve(m)
	}
	right, bottom := m.Rect.Dx()-side, m.Rect.Dy()-side
	var all []*image.RGBA
	for _, p := range []image.Point{{0, 0}, {right, 0}, {right / 2, bottom / 2}, {0, bottom}, {right, bottom}} {
		all = append(all, crop(m, p, false), crop(m, p, true))
	}
	return all
}

// halve averages squares of four pixels.
func halve(m *image.RGBA) *image.RGBA {
	h := image.NewRGBA(image.Rect(0, 0, m.Rect.Dx()/2, m.Rect.Dy()/2))
	for y := range h.Rect.Dy() {
		for x := range h.Rect.Dx() {
			to, from := h.PixOffset(x, y), m.PixOffset(2*x, 2*y)
			for c := range 4 {
				sum := int(m.Pix[from+c]) + int(m.Pix[from+4+c]) + int(m.Pix[from+m.Stride+c]) + int(m.Pix[from+m.Stride+4+c])
				h.Pix[to+c] = byte((sum + 2) / 4)
			}
		}
	}
	return h
}

func crop(m *image.RGBA, at image.Point, mirror bool) *image.RGBA {
	c := image.NewRGBA(image.Rect(0, 0, side, side))
	for y := range side {
		for x := range side {
			from := x
			if mirror {
				from = side - 1 - x
			}
			c.SetRGBA(x, y, m.RGBAAt(at.X+from, at.Y+y))
		}
	}
	return c
}

func writeImages(dir string, images []*image.RGBA) error {
	if err := os.Mkdir(dir, 0o777); err != nil {
		return err
	}
	for i, m := range images {
		var b bytes.Buffer
		if err := png.Encode(&b, m); err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(dir, task.ImageName(i)), b.Bytes(), 0o666); err != nil {
			return err
		}
	}
	return nil
}
