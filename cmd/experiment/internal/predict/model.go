package predict

import (
	"encoding/binary"
	"fmt"
	"math"
	"slices"
)

// normEpsilon is the epsilon of all batch normalizations.
const normEpsilon = 1e-3

// graph is an ONNX graph in the making: a chain of nodes, and where the chain ends.
type graph struct {
	weights            map[string]tensor
	nodes, initializer []byte
	end                string // the last node's output
	channels, size     int64  // and its shape
	count              int
}

// convertModel makes an ONNX model of the weights of EfficientNet-Lite0, with the batch
// normalizations folded into the convolutions.
func convertModel(weights map[string]tensor) []byte {
	g := &graph{weights: weights, end: "image", channels: 3, size: side}
	g.constant("zero", nil, []float32{0})
	g.constant("six", nil, []float32{6})
	g.convolve("_conv_stem", "_bn0", 2)
	g.clip()
	block := 0
	// The blocks of EfficientNet-Lite0, mobile inverted bottlenecks: each stage with its
	// count and the stride of its first block. The weights say the rest.
	for _, s := range []struct{ blocks, stride int64 }{{1, 1}, {2, 2}, {2, 2}, {3, 2}, {3, 1}, {4, 2}, {1, 1}} {
		for i := range s.blocks {
			stride := int64(1)
			if i == 0 {
				stride = s.stride
			}
			g.block(fmt.Sprintf("_blocks.%d.", block), stride)
			block++
		}
	}
	g.convolve("_conv_head", "_bn1", 1)
	g.clip()
	g.node("GlobalAveragePool", []string{g.end})
	g.node("Flatten", []string{g.end})
	fc, bias := weights["_fc.weight"], weights["_fc.bias"]
	g.constant("_fc.weight", fc.shape, fc.data)
	g.constant("_fc.bias", bias.shape, bias.data)
	g.node("Gemm", []string{g.end, "_fc.weight", "_fc.bias"}, attribute("transB", 1))
	return g.model(fc.shape[0])
}

// block adds an inverted bottleneck, with a shortcut where the shape stays.
func (g *graph) block(name string, stride int64) {
	start, channels := g.end, g.channels
	if _, expands := g.weights[name+"_expand_conv.weight"]; expands {
		g.convolve(name+"_expand_conv", name+"_bn0", 1)
		g.clip()
	}
	g.convolve(name+"_depthwise_conv", name+"_bn1", stride)
	g.clip()
	g.convolve(name+"_project_conv", name+"_bn2", 1)
	if stride == 1 && g.channels == channels {
		g.node("Add", []string{g.end, start})
	}
}

func (g *graph) clip() { g.node("Clip", []string{g.end, "zero", "six"}) }

// convolve adds a convolution, padded as TensorFlow's SAME, and its normalization.
func (g *graph) convolve(name, norm string, stride int64) {
	w, bias := g.fold(name+".weight", norm)
	g.constant(name+".weight", w.shape, w.data)
	g.constant(name+".bias", []int64{w.shape[0]}, bias)
	group := g.channels / w.shape[1]
	kernel := w.shape[2]
	size := (g.size + stride - 1) / stride
	pad := max((size-1)*stride+kernel-g.size, 0)
	before, after := pad/2, pad-pad/2
	g.channels, g.size = w.shape[0], size
	g.node("Conv", []string{g.end, name + ".weight", name + ".bias"}, attribute("group", group),
		attributes("kernel_shape", kernel, kernel), attributes("strides", stride, stride), attributes("pads", before, before, after, after))
}

// fold returns a convolution's weights and bias that do its normalization too. The
// conversions keep every processor from fusing operations, so that all make one model.
func (g *graph) fold(name, norm string) (w tensor, bias []float32) {
	w = g.weights[name]
	w.data = slices.Clone(w.data)
	each := len(w.data) / int(w.shape[0])
	scale, shift := g.weights[norm+".weight"].data, g.weights[norm+".bias"].data
	mean, variance := g.weights[norm+".running_mean"].data, g.weights[norm+".running_var"].data
	bias = make([]float32, w.shape[0])
	for c := range bias {
		factor := float64(scale[c]) / math.Sqrt(float64(variance[c])+normEpsilon)
		shifted := float64(float64(mean[c]) * factor)
		bias[c] = float32(float64(shift[c]) - shifted)
		for i := range each {
			w.data[c*each+i] = float32(float64(w.data[c*each+i]) * factor)
		}
	}
	return w, bias
}

// What follows writes Protocol Buffers by hand: of ONNX, this needs two kinds of field.
// The numbers come from onnx.proto.

// varint appends a number in a field.
func varint(b []byte, field uint64, n int64) []byte {
	return binary.AppendUvarint(binary.AppendUvarint(b, field<<3), uint64(n))
}

// field appends text or a message in a field.
func field[T string | []byte](b []byte, field uint64, content T) []byte {
	b = binary.AppendUvarint(b, field<<3|2)
	return append(binary.AppendUvarint(b, uint64(len(content))), content...)
}

// node adds a node, to whose inputs the chain's end belongs, and moves the end.
func (g *graph) node(operator string, inputs []string, attributes ...[]byte) {
	g.count++
	g.end = fmt.Sprintf("%s.%d", operator, g.count)
	var n []byte
	for _, name := range inputs {
		n = field(n, 1, name)
	}
	n = field(field(n, 2, g.end), 4, operator)
	for _, a := range attributes {
		n = field(n, 5, a)
	}
	g.nodes = field(g.nodes, 1, n)
}

func attribute(name string, n int64) []byte {
	const isInt = 2
	return varint(varint(field(nil, 1, name), 3, n), 20, isInt)
}

func attributes(name string, ns ...int64) []byte {
	const isInts = 7
	a := field([]byte(nil), 1, name)
	for _, n := range ns {
		a = varint(a, 8, n)
	}
	return varint(a, 20, isInts)
}

const isFloat = 1 // the type of all tensors

func (g *graph) constant(name string, shape []int64, data []float32) {
	var t []byte
	for _, d := range shape {
		t = varint(t, 1, d)
	}
	raw := make([]byte, 0, 4*len(data))
	for _, f := range data {
		raw = binary.LittleEndian.AppendUint32(raw, math.Float32bits(f))
	}
	t = field(field(varint(t, 2, isFloat), 8, name), 9, raw)
	g.initializer = field(g.initializer, 5, t)
}

// model returns the graph as a file.
func (g *graph) model(classes int64) []byte {
	const irVersion, opset = 8, 13
	all := field(append(g.nodes, g.initializer...), 2, "EfficientNet-Lite0")
	all = field(all, 11, value("image", 1, 3, side, side))
	all = field(all, 12, value(g.end, 1, classes))
	return field(field(varint(nil, 1, irVersion), 7, all), 8, varint(nil, 2, opset))
}

// value describes an input or output.
func value(name string, shape ...int64) []byte {
	var dims []byte
	for _, d := range shape {
		dims = field(dims, 1, varint(nil, 1, d))
	}
	typed := field(varint(nil, 1, isFloat), 2, dims)
	return field(field([]byte(nil), 1, name), 2, field([]byte(nil), 1, typed))
}
