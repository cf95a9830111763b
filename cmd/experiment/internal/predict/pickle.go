package predict

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
)

// tensor is an array of float32 in C order.
type tensor struct {
	shape []int64
	data  []float32
}

// stored is where a .pth file keeps a tensor.
type stored struct {
	key           string // of the storage
	offset        int64  // in elements
	shape, stride []int64
}

// readWeights reads a PyTorch state dictionary, as torch.save wrote it before version
// 1.6: four pickles, then for each storage its length and its elements.
func readWeights(pth []byte) (map[string]tensor, error) {
	u := unpickler{r: bufio.NewReader(bytes.NewReader(pth)), widths: make(map[string]int)}
	var pickles [5]any // magic number, protocol, system, state, keys
	for i := range pickles {
		var err error
		if pickles[i], err = u.load(); err != nil {
			return nil, err
		}
	}
	state, isDict := pickles[3].(map[string]any)
	keys, isList := pickles[4].(*[]any)
	if !isDict || !isList {
		return nil, errors.New("this is not a state dictionary")
	}
	storages := make(map[string][]byte)
	for _, k := range *keys {
		key := fmt.Sprint(k)
		var n int64
		if err := binary.Read(u.r, binary.LittleEndian, &n); err != nil {
			return nil, err
		}
		storages[key] = make([]byte, n*int64(u.widths[key]))
		if _, err := io.ReadFull(u.r, storages[key]); err != nil {
			return nil, err
		}
	}
	tensors := make(map[string]tensor)
	for name, v := range state {
		if s, ok := v.(stored); ok && u.widths[s.key] == 4 {
			tensors[name] = s.tensor(storages[s.key])
		}
	}
	return tensors, nil
}

// tensor copies a tensor in C order, in which TensorFlow's are not stored.
func (s stored) tensor(storage []byte) tensor {
	n := int64(1)
	for _, d := range s.shape {
		n *= d
	}
	t := tensor{s.shape, make([]float32, n)}
	for i := range t.data {
		at, rest := s.offset, int64(i)
		for d := len(s.shape) - 1; d >= 0; d-- {
			at += rest % s.shape[d] * s.stride[d]
			rest /= s.shape[d]
		}
		t.data[i] = math.Float32frombits(binary.LittleEndian.Uint32(storage[4*at:]))
	}
	return t
}

// unpickler reads pickles of dictionaries of tensors, and no others: it calls nothing
// that a pickle names. A tuple is an []any, a list a *[]any.
type unpickler struct {
	r      *bufio.Reader
	stack  []any
	marks  []int
	memo   map[uint32]any
	widths map[string]int // bytes of an element, by storage
}

func (u *unpickler) load() (any, error) {
	u.stack, u.marks, u.memo = nil, nil, make(map[uint32]any)
	for {
		op, err := u.r.ReadByte()
		if err != nil {
			return nil, err
		}
		if op == '.' {
			return u.pop(), nil
		}
		if err := u.do(op); err != nil {
			return nil, err
		}
	}
}

// do does what one opcode says. Their list is Lib/pickletools.py of Python.
func (u *unpickler) do(op byte) error {
	switch op {
	case 0x80: // PROTO
		u.number(1)
	case 'N': // NONE
		u.push(nil)
	case 0x88, 0x89: // NEWTRUE, NEWFALSE
		u.push(op == 0x88)
	case 'K': // BININT1
		u.push(int64(u.number(1)))
	case 'M': // BININT2
		u.push(int64(u.number(2)))
	case 'J': // BININT
		u.push(int64(int32(u.number(4))))
	case 0x8a: // LONG1: of those here, only the magic number, which nothing reads
		u.bytes(u.number(1))
		u.push(nil)
	case 'X': // BINUNICODE
		u.push(string(u.bytes(u.number(4))))
	case 'c': // GLOBAL
		u.push(u.line() + "." + u.line())
	case 'q', 'r': // BINPUT, LONG_BINPUT
		u.memo[u.number(width(op, 'q'))] = u.top()
	case 'h', 'j': // BINGET, LONG_BINGET
		u.push(u.memo[u.number(width(op, 'h'))])
	case 'Q', 'R': // BINPERSID, REDUCE
		return u.build(op)
	default:
		return u.collect(op)
	}
	return nil
}

// collect does opcodes of tuples, lists and dictionaries.
func (u *unpickler) collect(op byte) error {
	switch op {
	case '(': // MARK
		u.marks = append(u.marks, len(u.stack))
	case ')', 't': // EMPTY_TUPLE, TUPLE
		var items []any
		if op == 't' {
			items = u.popMark()
		}
		u.push(items)
	case 0x85, 0x86, 0x87: // TUPLE1, TUPLE2, TUPLE3
		n := len(u.stack) - int(op-0x84)
		u.stack = append(u.stack[:n:n], append([]any(nil), u.stack[n:]...))
	case ']': // EMPTY_LIST
		u.push(new([]any))
	case 'e': // APPENDS
		items := u.popMark()
		list := u.top().(*[]any)
		*list = append(*list, items...)
	case '}': // EMPTY_DICT
		u.push(make(map[string]any))
	case 's', 'u': // SETITEM, SETITEMS
		if op == 's' {
			u.marks = append(u.marks, len(u.stack)-2)
		}
		items := u.popMark()
		for i := 0; i < len(items); i += 2 {
			u.top().(map[string]any)[fmt.Sprint(items[i])] = items[i+1]
		}
	case 'b': // BUILD: metadata of the dictionary
		u.pop()
	default:
		return fmt.Errorf("a pickle has the opcode %#x, which tensors don't need", op)
	}
	return nil
}

// build makes a dictionary, a tensor or, of its key, a storage.
func (u *unpickler) build(op byte) error {
	args := u.pop().([]any)
	if op == 'Q' { // ("storage", type, key, device, length, view)
		key := args[2].(string)
		u.widths[key] = map[any]int{"torch.FloatStorage": 4, "torch.LongStorage": 8}[args[1]]
		u.push(key)
		return nil
	}
	switch what := u.pop(); what {
	case "collections.OrderedDict":
		u.push(make(map[string]any))
	case "torch._utils._rebuild_tensor_v2": // (storage, offset, shape, stride, ...)
		u.push(stored{args[0].(string), args[1].(int64), numbers(args[2]), numbers(args[3])})
	default:
		return fmt.Errorf("a pickle calls %v, which tensors don't need", what)
	}
	return nil
}

func numbers(tuple any) (ns []int64) {
	for _, n := range tuple.([]any) {
		ns = append(ns, n.(int64))
	}
	return ns
}

// width is the bytes of the operand of an opcode that has a short form.
func width(op, short byte) int {
	if op == short {
		return 1
	}
	return 4
}

func (u *unpickler) push(v any) { u.stack = append(u.stack, v) }

func (u *unpickler) top() any { return u.stack[len(u.stack)-1] }

func (u *unpickler) pop() any {
	v := u.top()
	u.stack = u.stack[:len(u.stack)-1]
	return v
}

func (u *unpickler) popMark() []any {
	mark := u.marks[len(u.marks)-1]
	u.marks = u.marks[:len(u.marks)-1]
	items := append([]any(nil), u.stack[mark:]...)
	u.stack = u.stack[:mark]
	return items
}

// number reads a little-endian operand.
func (u *unpickler) number(width int) uint32 {
	return binary.LittleEndian.Uint32(append(u.bytes(uint32(width)), make([]byte, 4)...))
}

func (u *unpickler) bytes(n uint32) []byte {
	b := make([]byte, n)
	io.ReadFull(u.r, b) // load notices the end
	return b
}

func (u *unpickler) line() string {
	s, _ := u.r.ReadString('\n')
	return s[:max(len(s)-1, 0)]
}
