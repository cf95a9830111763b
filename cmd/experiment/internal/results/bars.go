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
	Title, Unit, Note string
	Parts             []key // what the parts of a bar are; empty if a bar has one
	Bars              []bar
	amounts           []amount // of Bars
}

// bar is a bar of a figure.
type bar struct {
	key
	ID, Title string // of the picture
	Size      string // of the function's memory
	Value     string
	Range     string // from the least to the most, or why there is no value; empty if there is none
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

// add adds a bar.
func (f *barFigure) add(b bar, a amount) {
	f.Bars, f.amounts = append(f.Bars, b), append(f.amounts, a)
}

// draw draws all bars on one scale from 0. A part that is there, but too small to be
// seen, is drawn a little wider.
func (f *barFigure) draw() {
	const room, visible = 98.0, 0.4 // percent
	longest := 0.0
	for _, a := range f.amounts {
		longest = max(longest, a.sum(), a.most)
	}
	var used []key
	for i, a := range f.amounts {
		b, from := &f.Bars[i], 0.0
		for n, p := range a.parts {
			if p == 0 {
				continue
			}
			class := b.Class
			if len(f.Parts) > 0 {
				class = f.Parts[n].Class
				find(&used, func(k key) bool { return k == f.Parts[n] }, f.Parts[n])
			}
			width := max(visible, p/longest*room)
			b.Parts = append(b.Parts, barPart{class, from, width})
			from += width
		}
		if a.most > a.least {
			b.Error = &barError{a.least / longest * room, a.most / longest * room}
		}
	}
	f.Parts = used
}

// barFigures compare the modes, each at its best buy. Of a mode of which no call succeeded
// they say so. Figures without bars are left out.
func (w *workload) barFigures(r *results) []barFigure {
	times := barFigure{Title: "Time of a call", Unit: "ms", Note: "median; the line is from the least to the most"}
	memory := barFigure{Title: "Peak memory of a call", Unit: "MiB", Note: "the most at any size"}
	costs := barFigure{Title: "Cost of " + r.calls(), Unit: r.currency(), Note: "each at the median time; in brackets, at the least and the most", Parts: w.parts()}
	rest := barFigure{Title: "The same without " + w.source(), Unit: r.currency(), Note: "what choosing a mode can change", Parts: w.parts()[1:]}
	for _, m := range w.modes {
		k, row := key{r.class(m.name), quoteUnprintable(m.name)}, m.bestBuy()
		if row == nil {
			last := m.rows[len(m.rows)-1]
			times.add(bar{key: k, Size: size(last.MemoryMB), Range: status(last)}, amount{})
			continue
		}
		s := row.basis()
		times.add(bar{key: k, Size: size(row.MemoryMB), Value: ms(s.p50), Range: span(ms(s.least), ms(s.most))},
			amount{[]float64{millis(s.p50)}, millis(s.least), millis(s.most)})
		if most := m.peakMemory(); most > 0 {
			memory.add(bar{key: k, Value: mib(most)}, amount{parts: []float64{float64(most)}})
		}
		if row.bill != nil && row.bill.total.Sign() > 0 {
			row.bill.addTo(&costs, &rest, k, size(row.MemoryMB))
		}
	}
	figures := slices.DeleteFunc([]barFigure{times, memory, costs, rest}, func(f barFigure) bool { return len(f.Bars) == 0 })
	for i := range figures {
		figures[i].draw()
	}
	return figures
}

// addTo adds a bill to the bars of costs and, if it pays for files, without those to rest.
func (b *bill) addTo(costs, rest *barFigure, k key, size string) {
	cents := b.total.Cmp(big.NewRat(100, 1)) < 0
	parts := []float64{dollarsOf(b.files()), dollarsOf(b.lambda), dollarsOf(b.requests), dollarsOf(b.gateway)}
	least, most := dollarsOf(b.least), dollarsOf(b.most)
	costs.add(bar{key: k, Size: size, Value: money(b.total, cents), Range: span(money(b.least, cents), money(b.most, cents))}, amount{parts, least, most})
	if without := new(big.Rat).Sub(b.total, b.files()); parts[0] > 0 {
		rest.add(bar{key: k, Size: size, Value: money(without, cents)}, amount{parts[1:], least - parts[0], most - parts[0]})
	}
}

// parts returns the parts of a bill, in the order of the bars.
func (w *workload) parts() []key {
	return []key{{"files", w.source()}, {"lambda", "Lambda's duration"}, {"requests", "Requests"}, {"gateway", "API Gateway"}}
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
	for i := range f.Bars {
		b := &f.Bars[i]
		b.ID = fmt.Sprintf("picture-%d", first+i)
		text := strings.TrimSpace(b.Value + " " + f.Unit + " " + b.Range)
		if b.Value == "" {
			text = b.Range
		}
		b.Title = fmt.Sprintf("%s, %s, %s: %s", quoteUnprintable(w.name), f.Title, b.Name, text)
	}
}
