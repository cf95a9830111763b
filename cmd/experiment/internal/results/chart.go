package results

import (
	"bytes"
	"html/template"
	"math"
	"slices"

	"github.com/dustin/go-humanize"
	"github.com/go-analyze/charts/chartdraw"
	"github.com/go-analyze/charts/chartdraw/drawing"
)

// Charts are SVG whose colours and fonts are in page.html: they have classes, and
// follow the reader's choice of light or dark.

// line is a line of a chart: a value above 0 for each memory size that has one.
type line struct {
	class  string
	sizes  []int64
	values []float64
}

// lineChart draws values against memory, or what else the axis is named, which is
// logarithmic. It is empty if no line has two points.
func lineChart(lines []line, axis string) (template.HTML, scale, error) {
	var sizes []int64
	var values []float64
	for _, l := range lines {
		sizes = append(sizes, l.sizes...)
		values = append(values, l.values...)
	}
	slices.Sort(sizes)
	if sizes = slices.Compact(sizes); len(sizes) < 2 {
		return "", scale{}, nil
	}
	y := newScale(slices.Min(values), slices.Max(values))
	chart := chartdraw.Chart{
		Width: chartWidth, Height: chartHeight, Background: blank(16), Canvas: blank(0),
		XAxis:          chartdraw.XAxis{Name: axis, NameStyle: axisStyle(), Style: axisStyle(), Ticks: memoryTicks(sizes), GridMajorStyle: chartdraw.Hidden(), GridMinorStyle: chartdraw.Hidden()},
		YAxis:          chartdraw.YAxis{Style: chartdraw.Hidden(), Range: &chartdraw.ContinuousRange{Max: 1}},
		YAxisSecondary: y.axis(),
	}
	for _, l := range slices.Backward(lines) { // the first mode on top
		s := chartdraw.ContinuousSeries{YAxis: chartdraw.YAxisSecondary, Style: chartdraw.Style{ClassName: l.class, StrokeWidth: 2, DotWidth: 3.5}}
		for i, v := range l.values {
			s.XValues = append(s.XValues, math.Log2(float64(l.sizes[i])))
			s.YValues = append(s.YValues, y.of(v))
		}
		if len(s.XValues) > 0 {
			chart.Series = append(chart.Series, s)
		}
	}
	var b bytes.Buffer
	err := chart.Render(chartdraw.SVG, &b)
	return template.HTML(b.String()), y, err
}

// bar is a bar of a chart.
type bar struct {
	class, label string
	value        float64
}

// barChart draws values from 0. It is empty if none is above.
func barChart(bars []bar) (template.HTML, error) {
	most := 0.0
	room := (chartWidth - 80) / max(len(bars), 1)
	width := min(room*2/3, 80)
	chart := chartdraw.BarChart{
		Width: chartWidth, Height: chartHeight, Background: blank(48), Canvas: blank(0),
		XAxis: axisStyle(), BarWidth: width, BarSpacing: room - width,
	}
	for _, v := range bars {
		most = max(most, v.value)
		chart.Bars = append(chart.Bars, chartdraw.Value{Style: chartdraw.Style{ClassName: v.class}, Label: v.label, Value: v.value})
	}
	if most == 0 {
		return "", nil
	}
	chart.YAxis = scale{ticks: linearTicks(most)}.axis()
	chart.YAxis.AxisType = chartdraw.YAxisSecondary
	var b bytes.Buffer
	err := chart.Render(chartdraw.SVG, &b)
	return template.HTML(b.String()), err
}

// The size of a chart, in its own coordinates.
const chartWidth, chartHeight = 620, 340

func blank(bottom int) chartdraw.Style {
	return chartdraw.Style{ClassName: "blank", Padding: chartdraw.NewBox(16, 8, 16, bottom)}
}

func axisStyle() chartdraw.Style {
	return chartdraw.Style{ClassName: "axis", FontStyle: chartdraw.FontStyle{FontSize: 10.5}}
}

// memoryTicks are the memory sizes, with a label where there is room for one.
func memoryTicks(sizes []int64) []chartdraw.Tick {
	const margin, room = 0.12, 0.09 // of the axis
	first, last := math.Log2(float64(sizes[0])), math.Log2(float64(sizes[len(sizes)-1]))
	width := last - first
	ticks := []chartdraw.Tick{{Value: first - margin*width/2}}
	free := math.Inf(-1)
	for _, size := range sizes {
		tick := chartdraw.Tick{Value: math.Log2(float64(size))}
		if tick.Value >= free {
			tick.Label = humanize.Comma(size)
			free = tick.Value + room*width
		}
		ticks = append(ticks, tick)
	}
	return append(ticks, chartdraw.Tick{Value: last + margin*width/2})
}

// label prints a number of an axis.
func label(v float64) string {
	if v >= 1000 {
		return humanize.Comma(int64(math.Round(v)))
	}
	return humanize.Ftoa(math.Round(v*100) / 100)
}

// scale is the vertical axis of a chart.
type scale struct {
	log   bool
	ticks []float64
}

// newScale is logarithmic for values of which the greatest is four times the
// least or more. Otherwise it begins at 0: what differs little then looks so.
func newScale(least, most float64) scale {
	if most/least >= 4 {
		return scale{true, logTicks(least, most)}
	}
	return scale{false, linearTicks(most)}
}

func (s scale) of(value float64) float64 {
	if s.log {
		return math.Log10(value)
	}
	return value
}

func (s scale) axis() chartdraw.YAxis {
	axis := chartdraw.YAxis{Style: axisStyle(), Zero: chartdraw.GridLine{Style: chartdraw.Hidden()}}
	for _, v := range s.ticks {
		axis.Ticks = append(axis.Ticks, chartdraw.Tick{Value: s.of(v), Label: label(v)})
		axis.GridLines = append(axis.GridLines, chartdraw.GridLine{Value: s.of(v), Style: chartdraw.Style{
			StrokeColor: drawing.Color{R: 128, G: 128, B: 128, A: 56}, StrokeWidth: 1}})
	}
	return axis
}

// logTicks are the powers of ten, and if that is few, twice and five times those
// too, from the last at or below least to the first at or above most.
func logTicks(least, most float64) []float64 {
	steps := []float64{1, 2, 5}
	if most/least > 1000 {
		steps = []float64{1}
	}
	var ticks []float64
	for e := math.Floor(math.Log10(least)); ; e++ {
		for _, step := range steps {
			v := step * math.Pow(10, e)
			if v <= least {
				ticks = ticks[:0] // a later one is near enough
			}
			if ticks = append(ticks, v); v >= most {
				return ticks
			}
		}
	}
}

// linearTicks are round numbers, some five, from 0 to the first at or above most.
func linearTicks(most float64) []float64 {
	var unit float64
	for _, n := range []float64{1, 2, 5, 10} {
		if unit = n * math.Pow(10, math.Floor(math.Log10(most/5))); most/unit <= 6 {
			break
		}
	}
	ticks := []float64{0}
	for ticks[len(ticks)-1] < most {
		ticks = append(ticks, float64(len(ticks))*unit)
	}
	return ticks
}
