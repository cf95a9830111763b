package main

import (
	"os"
	"testing"
)

func BenchmarkPredict(b *testing.B) {
	d := os.Getenv("D")
	s, err := load(d+"/libonnxruntime.so.1", d+"/model.onnx")
	if err != nil {
		b.Fatal(err)
	}
	img, _ := os.ReadFile(d + "/images/044.png")
	b.Run("all", func(b *testing.B) {
		for b.Loop() {
			s.predict(img)
		}
	})
	b.Run("decode", func(b *testing.B) {
		for b.Loop() {
			decode(img)
		}
	})
	m, _ := decode(img)
	b.Run("normalize", func(b *testing.B) {
		for b.Loop() {
			normalize(m)
		}
	})
	x := normalize(m)
	b.Run("run", func(b *testing.B) {
		for b.Loop() {
			s.run(x)
		}
	})
}
