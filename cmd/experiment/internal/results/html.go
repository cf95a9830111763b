package results

import (
	_ "embed"
	"fmt"
	"html/template"
	"io"
	"math/big"
	"slices"
	"strings"
	"time"

	"github.com/dustin/go-humanize"
)

//go:embed page.html
var pageHTML string

// page is what page.html shows.
type page struct {
	Boxed     bool
	NotBoxed  string
	Costs     string
	Notes     []string
	Workloads []section
}

// section is a workload on the page.
type section struct {
	Name, About, Penalty string
	Gain, HelpersAbout   string
	HelperHeads          []string
	Helpers              [][]string
	Legend               []key
	Figures              []figure
	Heads, Units         []string
	Groups               []tableGroup
	RunsAbout            string
	RunHeads             []string
	Runs                 [][]string
	Problems             []string
	Verdict              [][]string
}

// key is an entry of a legend.
type key struct{ Class, Name string }

type figure struct {
	Title, Note string
	SVG         template.HTML
}

// tableGroup is the rows of a mode.
type tableGroup struct {
	key
	Rows []tableRow
}

type tableRow struct {
	Class, Status string
	Cells         []string
}

func writeHTML(b io.Writer, r *results) error {
	t, err := template.New("page").Parse(pageHTML)
	if err != nil {
		return err
	}
	p := page{Boxed: r.Setup.Boxed, NotBoxed: notBoxed, Costs: r.costs(), Notes: r.notes()}
	for _, w := range r.workloads {
		s, err := w.section(r)
		if err != nil {
			return fmt.Errorf("%s: %w", w.name, err)
		}
		p.Workloads = append(p.Workloads, s)
	}
	return t.Execute(b, p)
}

func (w *workload) section(r *results) (section, error) {
	s := section{
		Name:     quoteUnprintable(w.name),
		About:    w.about(r.Setup),
		Problems: w.problems(),
		Verdict:  w.verdict(),
	}
	if w.penalty != nil {
		s.Penalty = w.penalty.sentence
	}
	if w.gain != nil {
		s.Gain = w.gain.sentence
	}
	for _, row := range w.helped() {
		s.HelpersAbout, s.HelperHeads = helpersAbout, helperHeads()
		s.Helpers = append(s.Helpers, row.helperCells(r.Setup.HelperMB, w.small()))
	}
	s.Heads, s.Units = heads()
	for _, m := range w.modes {
		k := key{r.class(m.name), quoteUnprintable(m.name)}
		s.Legend = append(s.Legend, k)
		s.Groups = append(s.Groups, tableGroup{k, m.tableRows(w.small())})
		for _, row := range m.rows {
			if len(row.runs) > 0 {
				s.RunsAbout, s.RunHeads = runsAbout, runHeads()
				s.Runs = append(s.Runs, row.runCells())
			}
		}
	}
	var err error
	if s.Figures, err = w.figures(r); err != nil {
		return s, err
	}
	fleets, err := w.fleetFigures(r)
	s.Figures = append(s.Figures, fleets...)
	return s, err
}

// class is the class of a mode in page.html, for its colour; they repeat.
func (r *results) class(mode string) string {
	return fmt.Sprintf("mode%d", slices.Index(r.modes(), mode)%8)
}

func (m *mode) tableRows(cents bool) []tableRow {
	var rows []tableRow
	for _, r := range m.rows {
		row := tableRow{Status: status(r), Cells: r.cells(cents)}
		switch {
		case len(r.Calls) > 0 && r.lost():
			row.Class = "lost"
		case r.costRatio == 1 || r.timeRatio == 1:
			row.Class = "best"
		}
		rows = append(rows, row)
	}
	return rows
}

// figures are the charts of a workload. Rows of which no call succeeded are in
// none of them.
func (w *workload) figures(r *results) ([]figure, error) {
	var figures []figure
	for _, f := range []struct {
		title string
		value func(r *row) float64
	}{
		{fmt.Sprintf("Cost of %s calls, USD", humanize.Comma(r.Setup.Calls)), (*row).cost},
		{"Lambda's part of that, USD", (*row).lambdaCost},
		{"Billed time of a call, p50 in ms", (*row).took},
	} {
		var lines []line
		for _, m := range w.modes {
			lines = append(lines, m.line(r.class(m.name), f.value))
		}
		svg, y, err := lineChart(lines, "memory, MB")
		if err != nil {
			return nil, err
		}
		if svg != "" {
			figures = append(figures, figure{f.title, y.note(lines), svg})
		}
	}
	var bars []bar
	for _, m := range w.modes {
		bars = append(bars, m.bar(r.class(m.name)))
	}
	svg, err := barChart(bars)
	if svg != "" {
		figures = append(figures, figure{"Peak memory of a call, MiB", "the most at any size", svg})
	}
	return figures, err
}

// cost is the row's total, 0 if it has none.
func (r *row) cost() float64 {
	if r.bill == nil {
		return 0
	}
	return quotient(r.bill.total, big.NewRat(1, 1))
}

// lambdaCost is what of cost is for duration.
func (r *row) lambdaCost() float64 {
	if r.bill == nil {
		return 0
	}
	return quotient(r.bill.lambda, big.NewRat(1, 1))
}

// took is the row's p50 in milliseconds.
func (r *row) took() float64 { return float64(r.basis().p50) / float64(time.Millisecond) }

func (m *mode) line(class string, value func(r *row) float64) line {
	l := line{class: class}
	for _, r := range m.rows {
		if r.lost() {
			continue
		}
		if v := value(r); v > 0 {
			l.sizes = append(l.sizes, r.MemoryMB)
			l.values = append(l.values, v)
		}
	}
	return l
}

func (m *mode) bar(class string) bar {
	most := int64(0)
	for _, r := range m.rows {
		if len(r.Calls) > 0 && !r.lost() {
			most = max(most, r.basis().peakMemory)
		}
	}
	label := strings.ReplaceAll(quoteUnprintable(m.name), "-", " ") + "\n" + mib(most)
	return bar{class, label, float64(most) / (1 << 20)}
}

// note says what a reader of lines on the scale must know.
func (s scale) note(lines []line) string {
	var values []float64
	for _, l := range lines {
		values = append(values, l.values...)
	}
	text := label(slices.Min(values)) + " to " + label(slices.Max(values))
	if s.log {
		text += ", logarithmic"
	}
	return text
}
