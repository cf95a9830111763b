package results

import (
	"cmp"
	_ "embed"
	"fmt"
	"html/template"
	"io"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/dustin/go-humanize"

	"efsdedupe/dedupe/report"
)

//go:embed page.html
var pageHTML string

// page is what page.html shows.
type page struct {
	Boxed     bool
	NotBoxed  string
	Measured  string // date and time
	Started   string // the same, for programs
	Facts     []fact
	Costs     string
	Notes     []string
	Workloads []section
	Sources   *sourcesSection // nil if nothing is read
}

// fact is a fact at the top of the page.
type fact struct{ Name, Value string }

// section is a workload on the page.
type section struct {
	Name, About, Penalty string
	Gain                 string
	Ratios               []ratioTile
	Legend               []key
	Bars                 []barFigure
	Figures, Fleets      []figure
	Heads, Units         []string
	Groups               []tableGroup
	Tables               []sectionTable
	Problems             []string
	Verdict              [][]string
}

// sectionTable is a further table of a workload.
type sectionTable struct {
	Title, About, Label string
	Heads               []string
	Rows                [][]string
}

// ratioTile is what processes take, for what goroutines take.
type ratioTile struct{ Value, Of string }

// key is an entry of a legend.
type key struct{ Class, Name string }

type figure struct {
	Title, Note string
	SVG         template.HTML
}

// sourcesSection is where files are read from, on the page.
type sourcesSection struct {
	About, Verdict string
	Legend         []key
	Figure         figure
	Heads          []string
	Rows           [][]string
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
	p := page{
		Boxed: r.Setup.Boxed, NotBoxed: notBoxed, Facts: r.facts(), Costs: r.costs(), Notes: r.notes(),
		Measured: r.Started.UTC().Format("2 January 2006, 15:04 UTC"), Started: r.Started.UTC().Format(time.RFC3339),
	}
	var pictures pictures
	for _, w := range r.workloads {
		s, err := w.section(r, &pictures)
		if err != nil {
			return fmt.Errorf("%s: %w", w.name, err)
		}
		p.Workloads = append(p.Workloads, s)
	}
	if p.Sources, err = newSources(r).section(&pictures); err != nil {
		return err
	}
	return t.Execute(b, p)
}

// pictures counts the pictures of a page, so that each has a title of its own.
type pictures int

// next is the number of the first of n pictures.
func (p *pictures) next(n int) int {
	*p += pictures(n)
	return int(*p) - n
}

// titled gives a drawing a title, for those who do not see it.
func (p *pictures) titled(svg template.HTML, title string) template.HTML {
	id := fmt.Sprintf("picture-%d", p.next(1))
	text := strings.Replace(string(svg), "<svg ", `<svg role="img" aria-labelledby="`+id+`" `, 1)
	return template.HTML(strings.Replace(text, ">", `><title id="`+id+`">`+template.HTMLEscapeString(title)+"</title>", 1))
}

// facts say where this was measured.
func (r *results) facts() []fact {
	m := r.Machine
	facts := []fact{
		{"Machine", fmt.Sprintf("%s, %s, %s", cmp.Or(quoteUnprintable(m.CPU), "unknown processor"), report.Count(int64(m.Cores), "core", "cores"), humanize.IBytes(uint64(max(m.MemoryMB, 0))<<20))},
		{"System", strings.TrimSuffix(quoteUnprintable(m.Kernel)+", cgroup "+quoteUnprintable(m.Cgroup), ", cgroup ")},
		{"Measured", fmt.Sprintf("%s of each row, in turn", report.Count(int64(r.Setup.Runs), "run", "runs"))},
	}
	if r.Version != "" {
		facts = append(facts, fact{"Program", quoteUnprintable(r.Version)})
	}
	return facts
}

func (w *workload) section(r *results, p *pictures) (section, error) {
	s := section{
		Name:     quoteUnprintable(w.name),
		About:    w.about(r.Setup),
		Problems: w.problems(),
		Verdict:  w.verdict(),
	}
	if w.penalty != nil {
		s.Penalty, s.Ratios = w.penalty.sentence, w.penalty.tiles()
	}
	if w.gain != nil {
		s.Gain = w.gain.sentence
	}
	s.Heads, s.Units = w.heads()
	runs := sectionTable{Title: "Runs", About: runsAbout, Label: "runs", Heads: runHeads()}
	helpers := sectionTable{Title: "Helpers", About: helpersAbout, Label: "helpers", Heads: w.helperHeads()}
	for _, row := range w.helped() {
		helpers.Rows = append(helpers.Rows, row.helperCells(r.Setup.HelperMB, w.small()))
	}
	for _, m := range w.modes {
		k := key{r.class(m.name), quoteUnprintable(m.name)}
		s.Legend = append(s.Legend, k)
		s.Groups = append(s.Groups, tableGroup{k, m.tableRows(w.small())})
		for _, row := range m.rows {
			if len(row.runs) > 0 {
				runs.Rows = append(runs.Rows, row.runCells())
			}
		}
	}
	for _, t := range []sectionTable{runs, helpers} {
		if len(t.Rows) > 0 {
			s.Tables = append(s.Tables, t)
		}
	}
	s.Bars = w.barFigures(r)
	for i := range s.Bars {
		s.Bars[i].name(w, p.next(len(s.Bars[i].Bars)))
	}
	var err error
	if s.Figures, err = w.figures(r, p); err != nil {
		return s, err
	}
	s.Fleets, err = w.fleetFigures(r, p)
	return s, err
}

// tiles are the ratios of a penalty.
func (p *penalty) tiles() []ratioTile {
	var tiles []ratioTile
	for _, t := range []struct {
		ratio float64
		of    string
	}{{p.time, "the time"}, {p.cpu, "the CPU time"}, {p.memory, "the memory"}} {
		if t.ratio > 0 {
			tiles = append(tiles, ratioTile{"× " + strings.TrimSuffix(times(t.ratio), " times"), t.of})
		}
	}
	if p.bill != nil {
		tiles = append(tiles, ratioTile{change(*p.bill), "on the bill"})
	}
	return tiles
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

// change prints a share that is added or taken off.
func change(share float64) string {
	switch {
	case math.Abs(share) < 0.0005:
		return "± 0%"
	case share >= 1:
		return "× " + strings.TrimSuffix(times(1+share), " times")
	case share > 0:
		return "+ " + roundedPercent(share) + "%"
	}
	return "− " + roundedPercent(-share) + "%"
}

// figures are the charts of a workload: the time of all modes, and for each mode its time
// and what Lambda costs, on one scale. Rows of which no call succeeded are in none.
func (w *workload) figures(r *results, p *pictures) ([]figure, error) {
	took, paid := make([]line, len(w.modes)), make([]line, len(w.modes))
	for i, m := range w.modes {
		took[i] = m.line(r.class(m.name), (*row).timePoint)
		paid[i] = m.line(r.class(m.name), (*row).costPoint)
	}
	all := chart{xName: "memory, MB", xLabel: humanize.Comma, left: took, leftOn: scaleOf(took)}
	var figures []figure
	add := func(c chart, title, note string) error {
		svg, err := c.draw()
		if err == nil && svg != "" {
			svg = p.titled(svg, fmt.Sprintf("%s, %s: %s", quoteUnprintable(w.name), title, note))
			figures = append(figures, figure{title, note, svg})
		}
		return err
	}
	if err := add(all, "Time of a call, ms", all.leftOn.note(took)); err != nil {
		return nil, err
	}
	for i, m := range w.modes {
		c := all
		c.left, c.right, c.rightOn = took[i:i+1], paid[i:i+1], scaleOf(paid)
		if len(c.right[0].points) == 0 { // nothing is priced
			c.right = nil
		}
		if len(c.left[0].points) < 2 {
			continue
		}
		if err := add(c, quoteUnprintable(m.name), "time, ms; Lambda, "+r.currency()); err != nil {
			return nil, err
		}
	}
	return figures, nil
}

// calls are those that costs are of.
func (r *results) calls() string { return humanize.Comma(r.Setup.Calls) + " calls" }

func (r *results) currency() string {
	if r.prices.book == nil {
		return ""
	}
	return r.prices.book.Currency
}

// timePoint is the row's p50, and its spread, in milliseconds.
func (r *row) timePoint() point {
	s := r.basis()
	p := point{x: float64(r.MemoryMB), y: millis(s.p50)}
	if s.most > s.least {
		p.least, p.most = millis(s.least), millis(s.most)
	}
	return p
}

// costPoint is what of the row's bill is for duration, 0 if it has none.
func (r *row) costPoint() point {
	if r.bill == nil {
		return point{}
	}
	return point{x: float64(r.MemoryMB), y: dollarsOf(r.bill.lambda)}
}

func (m *mode) line(class string, of func(r *row) point) line {
	l := line{class: class}
	for _, r := range m.rows {
		if r.lost() {
			continue
		}
		if p := of(r); p.y > 0 {
			l.points = append(l.points, p)
		}
	}
	return l
}

// note says what a reader of lines on the scale must know.
func (s scale) note(lines []line) string {
	var values []float64
	for _, l := range lines {
		for _, p := range l.points {
			values = append(values, p.y)
		}
	}
	if len(values) == 0 {
		return ""
	}
	text := label(slices.Min(values)) + " to " + label(slices.Max(values))
	if s.log {
		text += ", logarithmic"
	}
	return text
}

// section is the comparison of EFS and S3 on the page; nil if there is none.
func (s *sources) section(p *pictures) (*sourcesSection, error) {
	if s == nil {
		return nil, nil
	}
	svg, err := s.chart()
	if err != nil {
		return nil, err
	}
	page := sourcesSection{About: s.about(), Verdict: s.verdict(), Heads: s.heads(), Rows: s.rows(),
		Figure: figure{Title: "Cost of reading, USD a month", Note: "both axes are logarithmic", SVG: p.titled(svg, "EFS or S3: "+s.verdict())}}
	for i, name := range page.Heads[1:] {
		page.Legend = append(page.Legend, key{fmt.Sprintf("mode%d", i), name})
	}
	return &page, nil
}
