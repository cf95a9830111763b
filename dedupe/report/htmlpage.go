package report

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"fmt"
	"iter"
	"math/big"
	"strings"
	"time"
)

// What is inside every page. D3's licence must be in all copies.
var (
	//go:embed html/page.css
	pageCSS string
	//go:embed html/page.js
	pageJS string
	//go:embed html/d3-hierarchy.min.js
	d3 string
	//go:embed html/d3-hierarchy.LICENSE
	d3License string
)

// htmlPage writes a page. Errors of writing stay in w until it is flushed.
type htmlPage struct{ w *bufio.Writer }

func (p htmlPage) put(format string, args ...any) { p.w.WriteString(string(markupf(format, args...))) }

// open writes everything up to the content of the page. The policy lets a browser run and
// apply only what is in the page, and request nothing.
func (p htmlPage) open(title, script string) {
	p.put(`<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; script-src '%s'; style-src '%s'; img-src data:; base-uri 'none'; form-action 'none'">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="referrer" content="no-referrer">
<title>%s</title>
<link rel="icon" href="data:,">
<style>%s</style>
</head>
<body>
<a class="skip" href="#main">Skip to the findings</a>
`, markup(hashOf(script)), markup(hashOf(pageCSS)), attribute(title), markup(pageCSS))
}

func (p htmlPage) close(script string) {
	p.put("</main>\n<script>%s</script>\n</body>\n</html>\n", markup(script))
}

// hashOf is how a policy names a script or a style.
func hashOf(s string) string {
	sum := sha256.Sum256([]byte(s))
	return "sha256-" + base64.StdEncoding.EncodeToString(sum[:])
}

// section begins a section and returns what ends it.
func (p htmlPage) section(id, title string) (end func()) {
	p.put("<section id=\"%s\">\n<h2>%s</h2>\n", markup(id), title)
	return func() { p.put("</section>\n") }
}

func (p htmlPage) para(format string, args ...any) {
	p.put("<p>%s</p>\n", markupf(format, args...))
}

// table is a table whose first column names the rows.
type table struct {
	name  string // for those who do not see it
	id    string // optional
	heads []string
	rows  []markup // see row
	first int      // rows to show at first; 0 for all
}

// row returns a row of a table. The cells may be of any type that markupf takes.
func row(cells ...any) markup { return rowWith("", cells...) }

// rowWith returns a row with attributes.
func rowWith(attributes markup, cells ...any) markup {
	var b bytes.Buffer
	b.WriteString(string(markupf(`<tr%s><th scope="row">%s</th>`, attributes, cells[0])))
	for _, cell := range cells[1:] {
		b.WriteString(string(markupf("<td>%s</td>", cell)))
	}
	b.WriteString("</tr>\n")
	return markup(b.String())
}

func (p htmlPage) table(t table) {
	id := markup("")
	if t.id != "" {
		id = markupf(` id="%s"`, markup(t.id))
	}
	p.put(`<div class="scroll" tabindex="0" role="region" aria-label="%s"><table%s><thead><tr>`, attribute(t.name), id)
	for _, head := range t.heads {
		p.put(`<th scope="col">%s</th>`, head)
	}
	p.put("</tr></thead>\n<tbody%s>\n", firstOf(t.first, len(t.rows)))
	for _, row := range t.rows {
		p.put("%s", row)
	}
	p.put("</tbody></table></div>\n")
}

// firstOf tells the script how many of a list's entries to show at first.
func firstOf(first, all int) markup {
	if first == 0 || first >= all {
		return ""
	}
	return markup(fmt.Sprintf(` data-first="%d"`, first))
}

// fitting returns pieces as long as there is room for them, and the room that is left.
func fitting(pieces iter.Seq[markup], room int) (fit []markup, left int) {
	for piece := range pieces {
		if len(piece) > room {
			break
		}
		room -= len(piece)
		fit = append(fit, piece)
	}
	return fit, room
}

// part is a part of a bar, and of the table below it.
type part struct {
	class  string
	name   string
	value  string
	amount int64
}

// bar writes parts of a whole as one bar, and as the table that has their numbers.
func (p htmlPage) bar(name string, head string, parts []part) {
	whole := int64(0)
	for _, part := range parts {
		whole += part.amount
	}
	p.put(`<svg class="bar" aria-hidden="true">`)
	at := 0.0
	var rows []markup
	for _, part := range parts {
		width := 100 * share(part.amount, whole)
		p.put(`<rect class="%s" x="%s%%" width="%s%%" height="100%%"/>`, markup(part.class), markup(fmt.Sprintf("%.2f", at)), markup(fmt.Sprintf("%.2f", width)))
		at += width
		rows = append(rows, row(markupf(`<i class="key %s"></i>%s`, markup(part.class), part.name), part.value, percentOf(part.amount, whole)))
	}
	p.put("</svg>\n")
	p.table(table{name: name, heads: []string{head, "Amount", "Share"}, rows: rows})
}

// gauged is a number in a cell, after a small bar that shows its share.
func gauged(amount, whole int64, number string) markup {
	return markupf(`<svg class="gauge" aria-hidden="true"><rect width="%s%%" height="100%%"/></svg><span>%s</span>`,
		markup(fmt.Sprintf("%.1f", 100*share(amount, whole))), number)
}

// gaugedMoney is an amount of money in a cell, after a small bar that shows its share.
func gaugedMoney(amount, whole *big.Rat, text string) markup {
	part, _ := amount.Float64()
	all, _ := whole.Float64()
	const steps = 1000
	return gauged(int64(steps*part/max(all, 1e-9)), steps, text)
}

func share(amount, whole int64) float64 {
	if whole <= 0 {
		return 0
	}
	return min(1, max(0, float64(amount)/float64(whole)))
}

// percentOf formats a share. It never rounds to none or all what is not.
func percentOf(amount, whole int64) string {
	switch s := 100 * share(amount, whole); {
	case amount > 0 && s < 0.1:
		return "under 0.1%"
	case amount < whole && s > 99.9:
		return "over 99.9%"
	case s == float64(int64(s)), s >= 10 && s < 99.5:
		return fmt.Sprintf("%.0f%%", s)
	default:
		return fmt.Sprintf("%.1f%%", s)
	}
}

// when formats a point in time.
func when(t time.Time) markup {
	if t.IsZero() {
		return "at an unknown time"
	}
	return markupf(`<time datetime="%s">%s</time>`, attribute(t.Format(time.RFC3339)), t.Format("2 January 2006, 15:04 UTC"))
}

// inCode formats a path in HTML.
func inCode(p string) markup { return markupf("<code>%s</code>", fileName(p)) }

const fewPaths = 3 // that a page names of a list in a sentence

// someOf lists a few paths, and how many there are besides.
func someOf(paths []string) markup {
	var b strings.Builder
	for i, p := range paths[:min(len(paths), fewPaths)] {
		if i > 0 {
			b.WriteString(", ")
		}
		b.WriteString(string(inCode(p)))
	}
	if more := len(paths) - fewPaths; more > 0 {
		b.WriteString(string(markupf(" and %v more", more)))
	}
	return markup(b.String())
}

// clip shortens text that only a hostile report has so long.
func clip(s string) string {
	const most = 300
	if len(s) > most {
		return s[:most] + "…"
	}
	return s
}
