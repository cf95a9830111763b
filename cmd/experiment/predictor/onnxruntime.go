package main

import (
	"errors"
	"fmt"
	"runtime"
	"sync"
	"unsafe"

	"github.com/ebitengine/purego"
)

// apiVersion is the version of the C interface: ORT_API_VERSION in ONNX Runtime 1.24.
const apiVersion = 24

// pointer is one to what ONNX Runtime owns: the garbage collector leaves it alone.
type pointer = unsafe.Pointer

// api is the functions of OrtApi that a prediction takes. Those that can fail return a
// status, which is nil if they do not.
type api struct {
	errorMessage     func(status pointer) string
	createEnv        func(level int32, name string, env *pointer) pointer
	createSession    func(env pointer, path string, options pointer, session *pointer) pointer
	runSession       func(session, options pointer, inputNames, inputs *pointer, nInputs uintptr, outputNames *pointer, nOutputs uintptr, outputs *pointer) pointer
	createOptions    func(options *pointer) pointer
	setIntraThreads  func(options pointer, n int32) pointer
	setInterThreads  func(options pointer, n int32) pointer
	getInputName     func(session pointer, i uintptr, allocator pointer, name *pointer) pointer
	getOutputName    func(session pointer, i uintptr, allocator pointer, name *pointer) pointer
	createTensor     func(memory pointer, data *float32, bytes uintptr, shape *int64, dimensions uintptr, element int32, tensor *pointer) pointer
	data             func(tensor pointer, data *pointer) pointer
	elements         func(shape pointer, n *uintptr) pointer
	shape            func(tensor pointer, shape *pointer) pointer
	createMemory     func(allocator, kind int32, memory *pointer) pointer
	defaultAllocator func(allocator *pointer) pointer
	releaseStatus    func(status pointer)
	releaseTensor    func(tensor pointer)
	releaseShape     func(shape pointer)
}

// loadAPI loads ONNX Runtime. The numbers are places in OrtApi, which never change: see
// onnxruntime_c_api.h.
func loadAPI(path string) (*api, error) {
	library, err := purego.Dlopen(path, purego.RTLD_NOW|purego.RTLD_LOCAL)
	if err != nil {
		return nil, err
	}
	base, err := purego.Dlsym(library, "OrtGetApiBase")
	if err != nil {
		return nil, err
	}
	var getBase func() *[2]uintptr // GetApi, GetVersionString
	purego.RegisterFunc(&getBase, base)
	var getAPI func(version uint32) *[102]uintptr
	purego.RegisterFunc(&getAPI, getBase()[0])
	table := getAPI(apiVersion)
	if table == nil {
		return nil, fmt.Errorf("%s is older than ONNX Runtime 1.%d", path, apiVersion)
	}
	a := new(api)
	for place, function := range map[int]any{
		2: &a.errorMessage, 3: &a.createEnv, 7: &a.createSession, 9: &a.runSession, 10: &a.createOptions, 24: &a.setIntraThreads, 25: &a.setInterThreads,
		36: &a.getInputName, 37: &a.getOutputName, 49: &a.createTensor, 51: &a.data, 64: &a.elements, 65: &a.shape, 69: &a.createMemory,
		78: &a.defaultAllocator, 93: &a.releaseStatus, 96: &a.releaseTensor, 99: &a.releaseShape,
	} {
		purego.RegisterFunc(function, table[place])
	}
	return a, nil
}

// check makes an error of a status.
func (a *api) check(status pointer) error {
	if status == nil {
		return nil
	}
	defer a.releaseStatus(status)
	return errors.New(a.errorMessage(status))
}

// session is a model that is ready to run, in as many threads as call it: it starts
// none of its own. It lives as long as the program.
type session struct {
	*api
	model, memory         pointer
	inputName, outputName pointer

	normal [256]float32
	free   sync.Pool // of *buffers
}

// load loads ONNX Runtime and a model.
func load(library, model string) (*session, error) {
	if library == "" || model == "" {
		return nil, errors.New("DEDUPE_ONNXRUNTIME and DEDUPE_MODEL must name the library and the model")
	}
	a, err := loadAPI(library)
	if err != nil {
		return nil, err
	}
	const warnings, oneThread, arenaAllocator, defaultMemory = 2, 1, 1, 0
	s := &session{api: a, normal: normalized(), free: sync.Pool{New: func() any { return new(buffers) }}}
	var env, options, allocator pointer
	for _, step := range []func() pointer{
		func() pointer { return a.createEnv(warnings, "predictor", &env) },
		func() pointer { return a.createOptions(&options) },
		func() pointer { return a.setIntraThreads(options, oneThread) },
		func() pointer { return a.setInterThreads(options, oneThread) },
		func() pointer { return a.createSession(env, model, options, &s.model) },
		func() pointer { return a.createMemory(arenaAllocator, defaultMemory, &s.memory) },
		func() pointer { return a.defaultAllocator(&allocator) },
		func() pointer { return a.getInputName(s.model, 0, allocator, &s.inputName) },
		func() pointer { return a.getOutputName(s.model, 0, allocator, &s.outputName) },
	} {
		if err := a.check(step()); err != nil {
			return nil, err
		}
	}
	return s, nil
}

// run returns the logits of an image.
func (s *session) run(x *input) ([]float32, error) {
	const isFloat = 1
	shape := [...]int64{1, 3, side, side}
	var pinned runtime.Pinner // the input stays where it is until the model has run
	defer pinned.Unpin()
	pinned.Pin(x)
	var input, output pointer
	if err := s.check(s.createTensor(s.memory, &x[0], uintptr(4*len(x)), &shape[0], uintptr(len(shape)), isFloat, &input)); err != nil {
		return nil, err
	}
	defer s.releaseTensor(input)
	if err := s.check(s.runSession(s.model, nil, &s.inputName, &input, 1, &s.outputName, 1, &output)); err != nil {
		return nil, err
	}
	defer s.releaseTensor(output)
	return s.copyOf(output)
}

// copyOf copies a tensor to Go's memory.
func (s *session) copyOf(tensor pointer) ([]float32, error) {
	var data, shape pointer
	var n uintptr
	if err := s.check(s.data(tensor, &data)); err != nil {
		return nil, err
	}
	if err := s.check(s.shape(tensor, &shape)); err != nil {
		return nil, err
	}
	defer s.releaseShape(shape)
	if err := s.check(s.elements(shape, &n)); err != nil {
		return nil, err
	}
	return append([]float32(nil), unsafe.Slice((*float32)(data), n)...), nil
}
