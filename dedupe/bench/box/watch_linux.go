package box

import (
	"cmp"
	"io"
	"os"
	"time"
)

// watchInterval is how often the memory of a box is looked at: once for each quota
// of CPU that there is to fill it with. A look takes some 20 µs; with being woken
// for it, where all cores are busy, up to 150 µs, which is 0.8% of a core.
const watchInterval = period

// Watch finds the most memory that all processes of a box hold at once.
type Watch struct {
	end   chan struct{} // closed by Stop
	ended chan struct{} // closed when the rest is final
	peak  int64
	err   error
}

// Watch begins to watch the box's memory: as the kernel counts it, with thread
// stacks, page tables and what else it keeps for the processes, but without the
// page cache, which it takes back when memory is wanted. It is sampled: what is
// held for less than 20 ms may be missed. Stop ends it, or Close of the box.
func (b *Box) Watch() *Watch {
	w := &Watch{end: make(chan struct{}), ended: make(chan struct{})}
	go func() {
		defer close(w.ended)
		w.err = w.watch(b.cgroup)
	}()
	return w
}

// Stop ends a watch, once, and returns the most that it saw, in bytes.
func (w *Watch) Stop() (peak int64, err error) {
	close(w.end)
	<-w.ended
	return w.peak, w.err
}

// watch takes a sample at once, one at the end, and others between.
func (w *Watch) watch(c cgroup) error {
	m, err := c.openMemory()
	if err != nil {
		return err
	}
	defer m.close()
	tick := time.NewTicker(watchInterval)
	defer tick.Stop()
	for last := false; ; {
		if w.peak, err = m.held(w.peak); err != nil || last {
			return err
		}
		select {
		case <-tick.C:
		case <-w.end:
			last = true
		}
	}
}

// memory is the files that say what a cgroup holds, open.
type memory struct {
	usage, stat      *os.File
	active, inactive string // the lines of stat that have the page cache
	buffer           [16 << 10]byte
}

func (c cgroup) openMemory() (*memory, error) {
	usage, m := "memory.usage_in_bytes", &memory{active: "total_active_file", inactive: "total_inactive_file"}
	if c.unified {
		usage, m = "memory.current", &memory{active: "active_file", inactive: "inactive_file"}
	}
	var errUsage, errStat error
	m.usage, errUsage = os.Open(c.path(usage))
	m.stat, errStat = os.Open(c.path("memory.stat"))
	if err := cmp.Or(errUsage, errStat); err != nil {
		m.close()
		return nil, err
	}
	return m, nil
}

func (m *memory) close() {
	m.usage.Close()
	m.stat.Close()
}

// held is what is held now, in bytes, if that is more than most, or else most. The
// kernel's figures of the page cache may be some 100 KiB behind for each core.
func (m *memory) held(most int64) (int64, error) {
	content, err := m.read(m.usage)
	if err != nil {
		return 0, err
	}
	usage, err := value(content, "")
	if err != nil || usage <= most { // the rest would make it less
		return most, err
	}
	if content, err = m.read(m.stat); err != nil {
		return 0, err
	}
	active, errActive := value(content, m.active)
	inactive, errInactive := value(content, m.inactive)
	return max(most, usage-active-inactive), cmp.Or(errActive, errInactive)
}

func (m *memory) read(f *os.File) ([]byte, error) {
	n, err := f.ReadAt(m.buffer[:], 0)
	if err == io.EOF {
		err = nil
	}
	return m.buffer[:n], err
}
