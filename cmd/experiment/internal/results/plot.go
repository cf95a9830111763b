package results

import (
	"fmt"
	"io"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/guptarohit/asciigraph"
)

// mark is how the line of a mode looks in a plot.
type mark struct {
	symbol string
	colour asciigraph.AnsiColor
}

// markOf returns the mark of the i-th mode; they repeat.
func markOf(i int, coloured bool) mark {
	marks := []mark{
		{"o", asciigraph.Blue}, {"x", asciigraph.Red}, {"+", asciigraph.Magenta}, {"*", asciigraph.Green},
		{"#", asciigraph.Yellow}, {"=", asciigraph.Cyan}, {"%", asciigraph.Default}, {"@", asciigraph.Default},
	}
	m := marks[i%len(marks)]
	if !coloured {
		m.colour = asciigraph.Default
	}
	return m
}

// writePlot draws time against memory, a line for each mode, on a logarithmic
// scale. Rows of which no call succeeded are left out, and modes with less than
// two sizes.
func writePlot(b io.Writer, w *workload, modes []string, s style) {
	sizes := w.sizes()
	var lines [][]float64
	var marks []asciigraph.CharSet
	var colours []asciigraph.AnsiColor
	var legend []string
	for _, m := range w.modes {
		line := m.logTimes(sizes)
		if points(line) < 2 {
			continue
		}
		k := markOf(slices.Index(modes, m.name), s.colour)
		lines = append(lines, line)
		marks = append(marks, asciigraph.CreateCharSet(k.symbol))
		colours = append(colours, k.colour)
		legend = append(legend, paint(k.colour, k.symbol)+" "+quoteUnprintable(m.name))
	}
	if len(lines) == 0 {
		return
	}
	slices.Reverse(lines) // what is drawn last is on top
	slices.Reverse(marks)
	slices.Reverse(colours)
	fmt.Fprintf(b, "%s  p50 of the billed time in ms against memory in MB, both logarithmic\n", s.Strong(quoteUnprintable(w.name)))
	fmt.Fprintln(b, asciigraph.PlotMany(lines,
		asciigraph.Height(11), asciigraph.Width(80),
		asciigraph.SeriesChars(marks...), asciigraph.SeriesColors(colours...),
		asciigraph.YAxisValueFormatter(func(v float64) string { return twoDigits(math.Pow(10, v)) }),
		asciigraph.XAxisRange(0, float64(len(sizes)-1)), asciigraph.XAxisTickCount(len(sizes)),
		asciigraph.XAxisValueFormatter(func(v float64) string { return humanize.Comma(sizes[int(math.Round(v))]) })))
	for items := range slices.Chunk(legend, 5) {
		fmt.Fprintf(b, "  %s\n", strings.Join(items, "   "))
	}
	fmt.Fprintln(b)
}

// logTimes is the mode's p50 at each size as the logarithm of milliseconds, NaN
// where there is none.
func (m *mode) logTimes(sizes []int64) []float64 {
	line := make([]float64, len(sizes))
	for i, size := range sizes {
		line[i] = math.NaN()
		if r := m.at(size); r != nil && !r.lost() {
			line[i] = math.Log10(float64(r.basis().p50) / float64(time.Millisecond))
		}
	}
	return line
}

func points(line []float64) int {
	n := 0
	for _, y := range line {
		if !math.IsNaN(y) {
			n++
		}
	}
	return n
}

// twoDigits rounds to two significant digits.
func twoDigits(x float64) string {
	unit := max(math.Pow(10, math.Floor(math.Log10(x))-1), 1)
	return humanize.Comma(int64(math.Round(x/unit) * unit))
}

func paint(c asciigraph.AnsiColor, text string) string {
	if c == asciigraph.Default {
		return text
	}
	return c.String() + text + asciigraph.Default.String()
}
