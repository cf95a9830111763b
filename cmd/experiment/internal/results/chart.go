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

// point is a point of a line, all above 0. Its error bar is from least to most; there is
// none where both are 0.
type point struct{ x, y, least, most float64 }

// line is a line of a chart.
type line struct {
	class  string
	points []point
}

// chart is lines against a logarithmic axis. The lines of right have an axis of their
// own, and are dashed.
type chart struct {
	xName   string
	xLabel  func(int64) string
	left    []line
	leftOn  scale
	right   []line
	rightOn scale
}

// The size of a chart, in its own coordinates: about that of a phone, so that its text
// is readable there.
const chartWidth, chartHeight = 400, 270

// draw is empty if no line has two points.
func (c chart) draw() (template.HTML, error) {
	ticks := c.xTicks()
	if len(ticks) < 4 { // two of them are the margins
		return "", nil
	}
	drawn := chartdraw.Chart{
		Width: chartWidth, Height: chartHeight, Background: blank(), Canvas: chartdraw.Style{ClassName: "blank"},
		XAxis: chartdraw.XAxis{Name: c.xName, NameStyle: axisStyle(), Style: axisStyle(), Ticks: ticks,
			GridMajorStyle: chartdraw.Hidden(), GridMinorStyle: chartdraw.Hidden()},
		YAxis:          chartdraw.YAxis{Style: chartdraw.Hidden(), Range: &chartdraw.ContinuousRange{Max: 1}},
		YAxisSecondary: c.leftOn.axis(true),
	}
	if len(c.right) > 0 {
		drawn.YAxis = c.rightOn.axis(false)
	}
	for _, l := range slices.Backward(c.right) {
		drawn.Series = append(drawn.Series, l.series(c.rightOn, chartdraw.YAxisPrimary, chartdraw.Style{ClassName: l.class + " dashed", StrokeWidth: 2}))
	}
	for _, l := range slices.Backward(c.left) { // the first mode on top
		drawn.Series = append(drawn.Series, l.errorBars(c.leftOn, errorCap*(ticks[len(ticks)-1].Value-ticks[0].Value))...)
		drawn.Series = append(drawn.Series, l.series(c.leftOn, chartdraw.YAxisSecondary, chartdraw.Style{ClassName: l.class, StrokeWidth: 2, DotWidth: 3.5}))
	}
	drawn.Series = slices.DeleteFunc(drawn.Series, func(s chartdraw.Series) bool { return s.(chartdraw.ContinuousSeries).Len() == 0 })
	var b bytes.Buffer
	err := drawn.Render(chartdraw.SVG, &b)
	return template.HTML(b.String()), err
}

func (l line) series(y scale, axis chartdraw.YAxisType, style chartdraw.Style) chartdraw.ContinuousSeries {
	s := chartdraw.ContinuousSeries{YAxis: axis, Style: style}
	for _, p := range l.points {
		s.XValues = append(s.XValues, math.Log2(p.x))
		s.YValues = append(s.YValues, y.of(p.y))
	}
	return s
}

// errorCap is half the width of the caps of an error bar, as a part of the axis.
const errorCap = 0.012

// errorBars are a series for each, drawn in one stroke with both caps.
func (l line) errorBars(y scale, half float64) []chartdraw.Series {
	var all []chartdraw.Series
	for _, p := range l.points {
		if p.most == 0 {
			continue
		}
		x, top, bottom := math.Log2(p.x), y.of(p.most), y.of(p.least)
		all = append(all, chartdraw.ContinuousSeries{YAxis: chartdraw.YAxisSecondary, Style: chartdraw.Style{ClassName: l.class + " error", StrokeWidth: 1},
			XValues: []float64{x - half, x + half, x, x, x - half, x + half},
			YValues: []float64{top, top, top, bottom, bottom, bottom}})
	}
	return all
}

func blank() chartdraw.Style {
	return chartdraw.Style{ClassName: "blank", Padding: chartdraw.NewBox(8, 8, 8, 8)}
}

func axisStyle() chartdraw.Style {
	return chartdraw.Style{ClassName: "axis", FontStyle: chartdraw.FontStyle{FontSize: 10}}
}

// xTicks are where points are, between two margins. Each has a label if there is room.
func (c chart) xTicks() []chartdraw.Tick {
	var values []int64
	for _, l := range slices.Concat(c.left, c.right) {
		for _, p := range l.points {
			values = append(values, int64(p.x))
		}
	}
	slices.Sort(values)
	return logTicksAt(slices.Compact(values), c.xLabel)
}

func logTicksAt(values []int64, label func(int64) string) []chartdraw.Tick {
	const margin, room = 0.14, 0.145 // of the axis
	if len(values) == 0 {
		return nil
	}
	first, last := math.Log2(float64(values[0])), math.Log2(float64(values[len(values)-1]))
	width := last - first
	ticks := []chartdraw.Tick{{Value: first - margin*width/2}}
	free := math.Inf(-1)
	for _, v := range values {
		tick := chartdraw.Tick{Value: math.Log2(float64(v))}
		if tick.Value >= free {
			tick.Label = label(v)
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

// scaleOf is a scale for lines and their error bars.
func scaleOf(lines []line) scale {
	least, most := math.Inf(1), 0.0
	for _, l := range lines {
		for _, p := range l.points {
			least, most = min(least, p.y), max(most, p.y)
			if p.most > 0 {
				least, most = min(least, p.least), max(most, p.most)
			}
		}
	}
	if most == 0 {
		return scale{}
	}
	return newScale(least, most)
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

// axis is the scale beside a chart; only one of two has lines across it.
func (s scale) axis(grid bool) chartdraw.YAxis {
	axis := chartdraw.YAxis{Style: axisStyle(), Zero: chartdraw.GridLine{Style: chartdraw.Hidden()}}
	for _, v := range s.ticks {
		axis.Ticks = append(axis.Ticks, chartdraw.Tick{Value: s.of(v), Label: label(v)})
		if !grid {
			continue
		}
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
