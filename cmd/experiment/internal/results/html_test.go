package results

import (
	"encoding/xml"
	"fmt"
	"io"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/dustin/go-humanize"
)

// The page needs no other file, runs nothing, and shows what was measured.
func TestPage(t *testing.T) {
	for _, s := range append(samples(), sample{"hostile", hostile()}) {
		page := string(write(t, HTML, s.Experiment, false))
		bare := strings.NewReplacer("http://www.w3.org/2000/svg", "", "http://www.w3.org/1999/xlink", "").Replace(page)
		for _, outside := range []string{"<script", "http:", "https:", "url(", "src=", "href=", "@import", "<link", "<iframe", "\x1b"} {
			if strings.Contains(strings.ToLower(bare), outside) {
				t.Errorf("%s: the page has %q", s.name, outside)
			}
		}
		if strings.Contains(page, "NOT IN A BOX") == s.Setup.Boxed {
			t.Errorf("%s: boxed or not is not said", s.name)
		}
	}
}

// element is an element of SVG.
type element struct {
	name, class, text string
	path              string
	x, y, width       float64 // width in percent
}

// elements parses all charts of a page.
func elements(t *testing.T, page string) [][]element {
	t.Helper()
	var charts [][]element
	for _, svg := range regexp.MustCompile(`(?s)<svg.*?</svg>`).FindAllString(page, -1) {
		var all []element
		d := xml.NewDecoder(strings.NewReader(svg))
		for {
			token, err := d.Token()
			if err == io.EOF {
				break
			}
			if err != nil {
				t.Fatalf("not SVG: %v\n%s", err, svg)
			}
			switch token := token.(type) {
			case xml.StartElement:
				e := element{name: token.Name.Local}
				for _, a := range token.Attr {
					switch a.Name.Local {
					case "class":
						e.class = a.Value
					case "d":
						e.path = a.Value
					case "width":
						e.width, _ = strconv.ParseFloat(strings.TrimSuffix(a.Value, "%"), 64)
					case "x", "cx":
						e.x, _ = strconv.ParseFloat(a.Value, 64)
					case "y", "cy":
						e.y, _ = strconv.ParseFloat(a.Value, 64)
					}
				}
				all = append(all, e)
			case xml.CharData:
				all[len(all)-1].text += string(token)
			}
		}
		charts = append(charts, all)
	}
	return charts
}

// TestCharts finds the measured times again in where the dots of a chart are.
func TestCharts(t *testing.T) {
	e := experiment(setup(),
		oneCall("fib", "goroutines", map[int64]float64{128: 1000, 256: 500, 512: 250, 1024: 125, 1769: 100, 3008: 100}),
		oneCall("fib", "processes", map[int64]float64{128: -60000, 256: 4000, 512: 2000, 1024: 1000, 1769: 600, 3008: 400}))
	charts := elements(t, string(write(t, HTML, e, false)))
	// The chart of both modes' times, one of each mode, and each mode's bars of time, cost and memory.
	if len(charts) != 9 {
		t.Fatalf("%d pictures, want 9", len(charts))
	}
	dots := make(map[string][]element)
	var labels []string
	for _, e := range titled(t, charts, "fib, Time of a call, ms: 100 to ") {
		switch {
		case e.name == "circle":
			mode, _, _ := strings.Cut(e.class, " ")
			dots[mode] = append(dots[mode], e)
		case e.name == "text":
			labels = append(labels, e.text)
		}
	}
	for _, want := range []string{"128", "256", "512", "1,024", "1,769", "3,008", "memory, MB", "100", "1,000", "5,000"} {
		if !slices.Contains(labels, want) {
			t.Errorf("no label %s among %q", want, labels)
		}
	}
	g, p := dots["mode0"], dots["mode1"]
	if len(g) != 6 || len(p) != 5 {
		t.Fatalf("%d dots for goroutines and %d for processes, want 6 and 5: what timed out has none", len(g), len(p))
	}
	// On logarithmic axes a doubling is as far as any other.
	doubling := (g[3].x - g[0].x) / 3
	for i, size := range lambdaSizes {
		if want := g[0].x + doubling*math.Log2(float64(size)/128); math.Abs(g[i].x-want) > 1.5 {
			t.Errorf("%d MB are at %v, want %v", size, g[i].x, want)
		}
	}
	halving := (g[3].y - g[0].y) / 3 // down
	for i, ms := range []float64{4000, 2000, 1000, 600, 400} {
		if want := g[0].y - halving*math.Log2(ms/1000); math.Abs(p[i].y-want) > 1.5 {
			t.Errorf("%v ms are at %v, want %v", ms, p[i].y, want)
		}
	}
}

// TestErrorBars finds the least and the most of calls again, as halving and doubling of
// the median on a logarithmic axis.
func TestErrorBars(t *testing.T) {
	series := func(size int64, ms ...time.Duration) Series {
		s := Series{Workload: "fib", Mode: "goroutines", MemoryMB: size}
		for i, d := range ms {
			s.Calls = append(s.Calls, Call{Run: i, Outcome: OK, Duration: d * time.Millisecond})
		}
		return s
	}
	e := experiment(setup(), []Series{series(512, 400, 200, 800), series(1024, 200, 100, 400), series(2048, 100, 100, 100)})
	charts := elements(t, string(write(t, HTML, e, false)))
	for _, title := range []string{"fib, Time of a call, ms: ", "fib, goroutines: "} {
		var dots, bars []element
		for _, e := range titled(t, charts, title) {
			switch {
			case e.name == "circle":
				dots = append(dots, e)
			case strings.Contains(e.class, "error"):
				bars = append(bars, e)
			}
		}
		if len(dots) != 3 || len(bars) != 2 {
			t.Fatalf("%s: %d dots and %d error bars, want 3 and 2: calls that took equally long have none", title, len(dots), len(bars))
		}
		doubling := dots[1].y - dots[0].y // down
		for i, b := range bars {
			var left, right, x, top, bottom float64
			if _, err := fmt.Sscanf(strings.ReplaceAll(b.path, "\n", " "), "M %f %f L %f %f L %f %f L %f %f", &left, &top, &right, &top, &x, &top, &x, &bottom); err != nil {
				t.Fatalf("%s: %v", b.path, err)
			}
			if math.Abs(x-dots[i].x) > 1 || left >= x || right <= x {
				t.Errorf("%s: an error bar at %v to %v, the dot at %v", title, left, right, dots[i].x)
			}
			if math.Abs(dots[i].y-top-doubling) > 1.5 || math.Abs(bottom-dots[i].y-doubling) > 1.5 {
				t.Errorf("%s: from %v to %v, the dot at %v, want %v on each side", title, top, bottom, dots[i].y, doubling)
			}
		}
	}
}

// TestBars compares the widths of bars and of their parts with figures made by hand.
func TestBars(t *testing.T) {
	e := experiment(setup(), oneCall("fetch", "goroutines", map[int64]float64{1024: 100}), oneCall("fetch", "processes", map[int64]float64{1024: 200}))
	charts := elements(t, string(write(t, HTML, e, false)))
	// Lambda: 50,000,000 × 0.1 s × 1 GB × 0.0000133334, requests 10, gateway 50.
	for start, want := range map[string][]float64{
		"fetch, Time of a call, goroutines: 100 ":           {49},
		"fetch, Time of a call, processes: 200 ":            {98},
		"fetch, Peak memory of a call, processes: 1.0 ":     {98},
		"fetch, Cost of 50,000,000 calls, goroutines: 127 ": {66.667 / 193.334 * 98, 10 / 193.334 * 98, 50 / 193.334 * 98},
		"fetch, Cost of 50,000,000 calls, processes: 193 ":  {133.334 / 193.334 * 98, 10 / 193.334 * 98, 50 / 193.334 * 98},
	} {
		var got []float64
		for _, e := range titled(t, charts, start) {
			if e.name == "rect" {
				got = append(got, e.width)
			}
		}
		if len(got) != len(want) {
			t.Fatalf("%s: %v, want %v", start, got, want)
		}
		for i := range want {
			if math.Abs(got[i]-want[i]) > 0.01 {
				t.Errorf("%s: %v, want %v", start, got, want)
				break
			}
		}
	}
}

// titled returns the picture whose title begins so.
func titled(t *testing.T, charts [][]element, start string) []element {
	t.Helper()
	var titles []string
	for _, chart := range charts {
		if chart[1].name != "title" {
			t.Fatalf("a picture begins with %+v", chart[1])
		}
		if strings.HasPrefix(chart[1].text, start) {
			return chart
		}
		titles = append(titles, chart[1].text)
	}
	t.Fatalf("no picture %q among %q", start, titles)
	return nil
}

func TestTicks(t *testing.T) {
	for _, test := range []struct {
		least, most float64
		want        string
	}{
		{240, 5900, "true [200 500 1000 2000 5000 10000]"},
		{100, 400, "true [100 200 500]"},
		{1, 10000, "true [1 10 100 1000 10000]"},
		{0.5, 2000.5, "true [0.1 1 10 100 1000 10000]"},
		{100, 399, "false [0 100 200 300 400]"},
		{148355, 150505, "false [0 50000 100000 150000 200000]"},
		{1, 1, "false [0 0.2 0.4 0.6 0.8 1]"},
		{640, 640, "false [0 200 400 600 800]"},
	} {
		s := newScale(test.least, test.most)
		if got := fmt.Sprint(s.log, " ", labels(s)); got != test.want {
			t.Errorf("%v to %v: %s, want %s", test.least, test.most, got, test.want)
		}
	}
}

func labels(s scale) []string {
	var all []string
	for _, v := range s.ticks {
		all = append(all, strings.ReplaceAll(label(v), ",", ""))
	}
	return all
}

// Sizes that are close to each other share the room for a label.
func TestMemoryTicks(t *testing.T) {
	var shown []string
	for _, tick := range logTicksAt([]int64{128, 130, 140, 512, 3008}, humanize.Comma) {
		if tick.Label != "" {
			shown = append(shown, tick.Label)
		}
	}
	if got := strings.Join(shown, " "); got != "128 512 3,008" {
		t.Errorf("labels %s", got)
	}
}
