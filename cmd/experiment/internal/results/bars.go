package results

import (
	"fmt"
	"math/big"
	"slices"
	"strings"
	"time"
)

// barFigure is a picture of bars, one for each mode. Its text is text of the page, so
// that it keeps its size on a narrow screen.
type barFigure struct {
	Title, Note string
	Parts       []key // what the parts of a bar are; empty if a bar has one
	Bars        []bar
}

// bar is a bar of a figure.
type bar struct {
	key
	ID, Title string // of the picture
	Size      string // of the function's memory
	Value     string
	Range     string // from the least to the most; empty if there is none
	Parts     []barPart
	Error     *barError // nil if there is none
}

// barPart is a part of a bar, in percent of the width.
type barPart struct {
	Class       string
	From, Width float64
}

// barError is an error bar, in percent of the width.
type barError struct{ Least, Most float64 }

// amount is what a bar shows: its parts, and how far the sum may be off.
type amount struct {
	parts       []float64
	least, most float64 // 0 if unknown
}

func (a amount) sum() float64 {
	sum := 0.0
	for _, p := range a.parts {
		sum += p
	}
	return sum
}

// fill draws the amounts on one scale from 0. A part that is there, but too small to be
// seen, is drawn a little wider.
func (f *barFigure) fill(amounts []amount) {
	const room, visible = 98.0, 0.4 // percent
	longest := 0.0
	for _, a := range amounts {
		longest = max(longest, a.sum(), a.most)
	}
	if longest == 0 {
		f.Bars = nil
		return
	}
	for i, a := range amounts {
		b := &f.Bars[i]
		from := 0.0
		for n, p := range a.parts {
			if p == 0 {
				continue
			}
			class := b.Class
			if len(f.Parts) > 0 {
				class = f.Parts[n].Class
			}
			width := max(visible, p/longest*room)
			b.Parts = append(b.Parts, barPart{class, from, width})
			from += width
		}
		if a.most > a.least {
			b.Error = &barError{a.least / longest * room, a.most / longest * room}
		}
	}
}

// barFigures compare the modes, each at its best buy.
func (w *workload) barFigures(r *results) []barFigure {
	times := barFigure{Title: "Time of a call, ms", Note: "median; the line is from the least to the most"}
	costs := barFigure{Title: "Cost of " + r.calls() + ", " + r.currency(), Note: "each at the median time; in brackets, at the least and the most", Parts: w.parts()}
	memory := barFigure{Title: "Peak memory of a call, MiB", Note: "the most at any size"}
	var taken, paid, held []amount
	for _, m := range w.modes {
		row := m.bestBuy()
		if row == nil {
			continue
		}
		k, s := key{r.class(m.name), quoteUnprintable(m.name)}, row.basis()
		times.Bars = append(times.Bars, bar{key: k, Size: size(row.MemoryMB), Value: ms(s.p50), Range: span(ms(s.least), ms(s.most))})
		taken = append(taken, amount{[]float64{millis(s.p50)}, millis(s.least), millis(s.most)})
		if b := row.bill; b != nil {
			cents := b.total.Cmp(big.NewRat(100, 1)) < 0
			costs.Bars = append(costs.Bars, bar{key: k, Size: size(row.MemoryMB), Value: money(b.total, cents), Range: span(money(b.least, cents), money(b.most, cents))})
			paid = append(paid, amount{[]float64{dollarsOf(b.files()), dollarsOf(b.lambda), dollarsOf(b.requests), dollarsOf(b.gateway)}, dollarsOf(b.least), dollarsOf(b.most)})
		}
		if most := m.peakMemory(); most > 0 {
			memory.Bars = append(memory.Bars, bar{key: k, Value: mib(most)})
			held = append(held, amount{parts: []float64{float64(most)}})
		}
	}
	times.fill(taken)
	costs.fill(paid)
	memory.fill(held)
	return slices.DeleteFunc([]barFigure{times, costs, memory}, func(f barFigure) bool { return len(f.Bars) == 0 })
}

// parts are those of a bill, in the order of the bars.
func (w *workload) parts() []key {
	files := key{"files", "EFS"}
	if w.fromS3() {
		files.Name = "S3"
	}
	return []key{files, {"lambda", "Lambda, duration"}, {"requests", "Lambda, requests"}, {"gateway", "API Gateway"}}
}

// bestBuy is the row that stands for a mode: if each size had failed calls, the largest at
// which one succeeded; nil if none did.
func (m *mode) bestBuy() *row {
	if r := bestBuy(slices.Clone(m.rows)); r != nil {
		return r
	}
	for _, r := range slices.Backward(m.rows) {
		if !r.lost() {
			return r
		}
	}
	return nil
}

func (m *mode) peakMemory() int64 {
	most := int64(0)
	for _, r := range m.rows {
		if !r.lost() {
			most = max(most, r.basis().peakMemory)
		}
	}
	return most
}

// span is "(12–34)", or nothing if both are the same.
func span(least, most string) string {
	if least == most {
		return ""
	}
	return "(" + least + "–" + most + ")"
}

func millis(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

func dollarsOf(amount *big.Rat) float64 { return quotient(amount, big.NewRat(1, 1)) }

// name titles the pictures of a figure's bars, from number first.
func (f *barFigure) name(w *workload, first int) {
	what, _, _ := strings.Cut(f.Title, ",")
	for i := range f.Bars {
		b := &f.Bars[i]
		b.ID = fmt.Sprintf("picture-%d", first+i)
		b.Title = fmt.Sprintf("%s, %s, %s: %s %s", quoteUnprintable(w.name), what, b.Name, b.Value, b.Range)
	}
}
