package results

import (
	"fmt"
	"slices"
	"strings"

	"github.com/dustin/go-humanize"

	"efsdedupe/dedupe/report"
)

// about says what a call of the workload does.
func (w *workload) about(s Setup) string {
	task := map[string]string{
		"scan":    "a file of " + humanize.IBytes(uint64(max(s.FileBytes, 0))) + " each",
		"fib":     humanize.Comma(s.FibSteps) + " steps of Fibonacci each",
		"predict": "an image of 224×224 pixels each, by a neural network",
		"fetch":   "a request each that is answered after " + s.FetchDelay.String(),
	}[w.name]
	text := fmt.Sprintf("%s tasks a call, %s at once", humanize.Comma(int64(s.Tasks)), humanize.Comma(int64(s.Workers)))
	if task != "" {
		text += ", " + task
	}
	return text
}

// digests says which modes compute other checksums than most, and so other work.
func (w *workload) digests() string {
	var names []string
	modes := make(map[string][]string)
	for _, r := range w.rows() {
		if r.Digest != "" && !slices.Contains(modes[r.Digest], r.Mode) {
			if modes[r.Digest] == nil {
				names = append(names, r.Digest)
			}
			modes[r.Digest] = append(modes[r.Digest], r.Mode)
		}
	}
	if len(names) < 2 {
		return ""
	}
	var parts []string
	for _, name := range names {
		parts = append(parts, fmt.Sprintf("%s in %s", quoteUnprintable(name), quoteUnprintable(list(modes[name]))))
	}
	return quoteUnprintable(w.name) + ": digests differ, and the work with them: " + strings.Join(parts, "; ")
}

// costs says what the costs are of.
func (r *results) costs() string {
	if !slices.ContainsFunc(r.rows, func(r row) bool { return r.bill != nil }) {
		return "No costs."
	}
	return fmt.Sprintf("Costs are those of a month of %s calls in %s on %s, behind an HTTP API, in %s, prices of %s.",
		humanize.Comma(r.Setup.Calls), quoteUnprintable(r.Setup.Region), quoteUnprintable(r.Setup.Arch), r.prices.book.Currency, r.prices.book.Date)
}

const notBoxed = "NOT IN A BOX: nothing limited CPU and memory or measured them; memory sizes are only priced"

// notOnLambda is what does not carry over from the boxes here to Lambda.
const notOnLambda = "Not as on Lambda: the CPU is this machine's, and so are its caches and memory; " +
	"the network and EFS are simulated, with fixed latencies and one client; " +
	"INIT has the CPU of a call, where Lambda gives it more; " +
	"nothing is frozen between calls; " +
	"the page cache is dropped before each call, where a warm environment may answer reads from it."

// notes are what a reader must know to judge the figures, one thing each.
func (r *results) notes() []string {
	notes := []string{
		r.machine(),
		r.mount(),
		fmt.Sprintf("Rows are of warm calls, unless marked; cold is INIT and the first call. %s, interleaved. "+
			"p50 and p95 are nearest-rank, ± the spread from the least to the most. "+
			"A failed call is billed, and counted, like any other.", report.Count(int64(r.Setup.Runs), "run", "runs")),
		"Costs are of the median call: its billed time (INIT and duration, rounded up to 1 ms) and what EFS or S3 meters of its reads. " +
			"Storage and data transfer are left out.",
		fmt.Sprintf("The knee is the smallest size from which no larger one takes off %.0f%% of the time for each doubling of memory; "+
			"the best buy is the fastest size that costs at most %.0f%% more than the cheapest.", 100*kneeGain, 100*sameBill),
	}
	notes = append(notes, r.waves()...)
	for _, why := range r.prices.unpriced {
		notes = append(notes, "There are rows without costs: "+quoteUnprintable(why)+".")
	}
	if slices.Contains(r.modes(), "product") {
		notes = append(notes, "The mode product is the scan as the product does it: it reads and hashes less than the others, which hash all files whole.")
	}
	if slices.ContainsFunc(r.workloads, func(w workload) bool { return w.name == "predict" }) {
		notes = append(notes, "All predictions have the same logits, to the bit, in every mode and language. INIT loads the model.")
	}
	for _, w := range r.workloads {
		if d := w.digests(); d != "" {
			notes = append(notes, d+".")
		}
	}
	if !r.Setup.Boxed {
		return append(notes, notBoxed+".")
	}
	return append(notes, notOnLambda)
}

func (r *results) machine() string {
	m := r.Machine
	text := fmt.Sprintf("Measured %s on %s, %s, %s, %s", r.Started.UTC().Format("2006-01-02 15:04 UTC"), quoteUnprintable(m.CPU),
		report.Count(int64(m.Cores), "core", "cores"), humanize.IBytes(uint64(max(m.MemoryMB, 0))<<20), quoteUnprintable(m.Kernel))
	if m.Cgroup != "" {
		text += ", cgroup " + quoteUnprintable(m.Cgroup)
	}
	if r.Version != "" {
		text += ", by " + quoteUnprintable(r.Version)
	}
	text += "."
	if m.GOARCH == "amd64" && r.Setup.Arch == "arm64" || m.GOARCH == "arm64" && r.Setup.Arch == "x86_64" {
		text += fmt.Sprintf(" The prices are of %s; this machine is %s.", r.Setup.Arch, m.GOARCH)
	}
	return text
}

func (r *results) mount() string {
	s := r.Setup
	throughput := "no cap on throughput"
	if s.Throughput > 0 {
		throughput = humanize.IBytes(uint64(s.Throughput)) + "/s"
	}
	text := fmt.Sprintf("Files are read from a mount like EFS: %v an operation, %s.", s.Latency, throughput)
	if s.FromS3 {
		text = fmt.Sprintf("Files are read from a server like S3: %v a request.", s.S3Latency)
	}
	text += fmt.Sprintf(" A call times out after %v", s.Timeout)
	if s.Instances > 1 {
		text += fmt.Sprintf("; %s instances a run", humanize.Comma(int64(s.Instances)))
	}
	return text + "."
}
