package results

import (
	"fmt"
	"html/template"
	"math"
	"math/big"
	"slices"
	"sort"
	"strings"

	"github.com/dustin/go-humanize"

	"efsdedupe/dedupe/cost"
)

// sources compares what reading files costs from EFS and from S3, by the size of a
// file. It is computed from prices alone, for as many calls and files as the
// experiment's. Left out are storage and the time that a call waits.
type sources struct {
	sizes []int64
	ways  []way
	s3    *big.Rat // whatever the size
	files string   // such as "50,000,000 calls of 100 files"
}

// way is a way to read files from EFS.
type way struct {
	name       string
	throughput cost.Throughput
	warm       int64      // calls in a million that find the files in their page cache
	costs      []*big.Rat // by size
	breakEven  int64      // the largest file whose reading costs no more than a GET; 0 for none
}

// fileMessages are the OPEN and the CLOSE that reading a file takes, besides READs.
const fileMessages = 2

// largestFile is where the search for a break-even ends.
const largestFile = 1 << 30

// newSources returns nil where no task reads images, or where figures are missing.
func newSources(r *results) *sources {
	reads := slices.ContainsFunc(r.workloads, func(w workload) bool { return w.name == "predict" })
	tasks := int64(r.Setup.Tasks)
	if !reads || r.Setup.Calls <= 0 || tasks <= 0 || tasks > math.MaxInt64/largestFile || r.prices.book == nil {
		return nil
	}
	s := &sources{
		sizes: []int64{4 << 10, 16 << 10, 64 << 10, 256 << 10, 1 << 20, 4 << 20},
		files: fmt.Sprintf("%s calls of %s files", humanize.Comma(r.Setup.Calls), humanize.Comma(tasks)),
		ways: []way{
			{name: "all calls cold", throughput: cost.Elastic},
			{name: "10% cold", throughput: cost.Elastic, warm: 900_000},
			{name: "1% cold", throughput: cost.Elastic, warm: 990_000},
			{name: "all cold, Provisioned", throughput: cost.Provisioned},
		},
	}
	if s.s3 = r.reading(cost.Usage{S3: cost.S3{Gets: tasks}}); s.s3 == nil {
		return nil
	}
	for i := range s.ways {
		w := &s.ways[i]
		for _, size := range s.sizes {
			c := r.reading(w.usage(size, tasks))
			if c == nil {
				return nil
			}
			w.costs = append(w.costs, c)
		}
		w.breakEven = int64(sort.Search(largestFile, func(n int) bool {
			return r.reading(w.usage(int64(n)+1, tasks)).Cmp(s.s3) > 0
		}))
	}
	return s
}

// usage returns the usage of calls that read this many files of a size.
func (w *way) usage(size, files int64) cost.Usage {
	return cost.Usage{Warm: w.warm, EFS: cost.EFS{
		Throughput:         w.throughput,
		StorageClass:       cost.NoStorage,
		ReadBytes:          files * cost.MeteredRead(size),
		MetadataOperations: files * fileMessages,
	}}
}

// reading prices the month's calls; it returns nil if a price is missing.
func (r *results) reading(u cost.Usage) *big.Rat {
	u.Calls = r.Setup.Calls
	b, err := r.prices.book.Bill(u)
	if err != nil {
		return nil
	}
	return b.Total
}

// about says what the figures are of.
func (s *sources) about() string {
	return fmt.Sprintf("What reading costs in USD a month, for %s of one size, from prices alone: READ, OPEN and CLOSE of files that were listed before on EFS, a GET each on S3. "+
		"Storage is left out, and so is the time that a call waits. Provisioned throughput is at the average rate of the month, without room for peaks.", s.files)
}

// verdict says at which sizes EFS is as cheap.
func (s *sources) verdict() string {
	if s.ways[0].breakEven == 0 {
		return fmt.Sprintf("Cold reads cost more from EFS than from S3 at every size, because a read counts at least 32 KiB. "+
			"EFS costs no more up to %s if 10%% of the calls are cold, and up to %s if 1%% are.", fileSize(s.ways[1].breakEven), fileSize(s.ways[2].breakEven))
	}
	return fmt.Sprintf("Cold reads cost no more from EFS than from S3 up to %s.", fileSize(s.ways[0].breakEven))
}

// heads and rows are the table: a row for each size, and one for the break-even.
func (s *sources) heads() []string {
	heads := []string{"size of a file"}
	for _, w := range s.ways {
		heads = append(heads, "EFS, "+w.name)
	}
	return append(heads, "S3")
}

func (s *sources) rows() [][]string {
	var rows [][]string
	for i, size := range s.sizes {
		row := []string{fileSize(size)}
		for _, w := range s.ways {
			row = append(row, money(w.costs[i], false))
		}
		rows = append(rows, append(row, money(s.s3, false)))
	}
	last := []string{"EFS costs no more up to"}
	for _, w := range s.ways {
		last = append(last, fileSize(w.breakEven))
	}
	return append(rows, append(last, none))
}

// fileSize prints bytes in whole KiB or MiB, or as no size at all.
func fileSize(bytes int64) string {
	switch {
	case bytes == 0:
		return "no size"
	case bytes >= largestFile:
		return "any size"
	}
	return strings.Replace(humanize.IBytes(uint64(bytes)), ".0 ", " ", 1)
}

// chart draws the costs against the size of a file.
func (s *sources) chart() (template.HTML, error) {
	var lines []line
	for i, costs := range append(s.costs(), slices.Repeat([]*big.Rat{s.s3}, len(s.sizes))) {
		l := line{class: fmt.Sprintf("mode%d", i)}
		for j, c := range costs {
			l.points = append(l.points, point{x: float64(s.sizes[j]), y: dollarsOf(c)})
		}
		lines = append(lines, l)
	}
	return chart{xName: "size of a file", xLabel: fileSize, left: lines, leftOn: scaleOf(lines)}.draw()
}

func (s *sources) costs() [][]*big.Rat {
	var all [][]*big.Rat
	for _, w := range s.ways {
		all = append(all, w.costs)
	}
	return all
}
