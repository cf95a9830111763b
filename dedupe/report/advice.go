package report

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"unicode/utf8"

	"github.com/dustin/go-humanize"

	"efsdedupe/dedupe/cost"
)

const adviceSchema = "dedupe.advice/v1"

// adviceJSON is a cost.Advice, see advice.schema.json.
type adviceJSON struct {
	Schema   string         `json:"schema"`
	Calls    int64          `json:"calls"`
	Region   string         `json:"region"`
	Currency string         `json:"currency"`
	Prices   string         `json:"prices"`
	Options  []optionJSON   `json:"options"`
	Rejected []rejectedJSON `json:"rejected"`
}

// optionJSON is a cost.Way. The items are as in a projection.
type optionJSON struct {
	Name         string      `json:"name"`
	Total        json.Number `json:"total"`
	TotalDecimal string      `json:"total_decimal"`
	Items        []itemJSON  `json:"items"`
	Requires     []string    `json:"requires"`
	Flags        []string    `json:"flags"`
	Parameters   []string    `json:"parameters"`
	Loses        string      `json:"loses,omitempty"`
	Warnings     []string    `json:"warnings,omitempty"`
}

type rejectedJSON struct {
	Name string `json:"name"`
	Why  string `json:"why"`
}

// WriteAdvice writes the ways to do a job, as [JSON] or as text.
func WriteAdvice(w io.Writer, f Format, a *cost.Advice, colour bool) error {
	if f == JSON {
		return encode(w, adviceOf(a))
	}
	b := bufio.NewWriter(w)
	writeAdvice(b, a, NewStyle(colour))
	return b.Flush()
}

func adviceOf(a *cost.Advice) adviceJSON {
	doc := adviceJSON{
		Schema:   adviceSchema,
		Calls:    a.Job.All.Calls,
		Region:   a.Book.Region,
		Currency: a.Book.Currency,
		Prices:   a.Book.Date,
		Options:  make([]optionJSON, len(a.Ways)),
		Rejected: make([]rejectedJSON, len(a.Rejected)),
	}
	for i, way := range a.Ways {
		p := projectionOf(&cost.Projection{Usage: way.Usage, Bill: way.Bill})
		doc.Options[i] = optionJSON{
			Name:         way.Name,
			Total:        p.Total,
			TotalDecimal: p.TotalDecimal,
			Items:        p.Items,
			Requires:     append([]string{}, way.Requires...),
			Flags:        append([]string{}, way.Flags...),
			Parameters:   append([]string{}, way.Parameters...),
			Loses:        loses(way),
			Warnings:     p.Warnings,
		}
	}
	for i, r := range a.Rejected {
		doc.Rejected[i] = rejectedJSON{r.Name, r.Why.Error()}
	}
	return doc
}

// writeAdvice writes a table, and what each way requires and what selects it.
func writeAdvice(w io.Writer, a *cost.Advice, s Style) {
	fmt.Fprintf(w, "%s in %s, prices of %s\n", s.Strong("The cheapest ways for ", humanize.Comma(a.Job.All.Calls), " such calls a month"), a.Book.Region, a.Book.Date)
	fmt.Fprintf(w, "%s\n\n", s.Faint(jobOf(a.Job)))
	name, amount := 0, len(a.Book.Currency)
	for _, way := range a.Ways {
		name = max(name, utf8.RuneCountInString(way.Name))
		amount = max(amount, len(money(way.Bill.Total)))
	}
	fmt.Fprintf(w, "    %*s  %-*s  %s\n", amount, a.Book.Currency, name, "way", "why it is not the first")
	for _, way := range a.Ways {
		fmt.Fprintf(w, "    %*s  %s\n", amount, money(way.Bill.Total), strings.TrimRight(fmt.Sprintf("%-*s  %s", name, way.Name, loses(way)), " "))
	}
	for i, way := range a.Ways {
		fmt.Fprintf(w, "\n%d. %s\n", i+1, s.Strong(way.Name))
		for _, requires := range way.Requires {
			fmt.Fprintf(w, "   needs %s\n", requires)
		}
		if len(way.Flags) > 0 {
			fmt.Fprintf(w, "   flags: %s\n", strings.Join(way.Flags, " "))
		}
		if len(way.Parameters) > 0 {
			fmt.Fprintf(w, "   parameters of the stack: %s\n", strings.Join(way.Parameters, " "))
		}
	}
	if len(a.Rejected) > 0 {
		fmt.Fprintf(w, "\n%s\n", s.Strong("What cannot do it"))
	}
	for _, r := range a.Rejected {
		fmt.Fprintf(w, "    %s: %s\n", r.Name, strings.ReplaceAll(r.Why.Error(), "\n", "; "))
	}
}

// loses says why a way is not the cheapest.
func loses(way cost.Way) string {
	if way.Meter == "" {
		return ""
	}
	return fmt.Sprintf("%s more for %s", Commas(cost.Amount(way.More)), way.Meter)
}

// jobOf says what the advice assumes.
func jobOf(j cost.Job) string {
	parts := []string{
		fmt.Sprintf("%s of the files change between two calls", cost.Percent(j.Churn)),
		fmt.Sprintf("%s of the calls are cold", cost.Percent(1e6-j.Warm)),
	}
	if j.Staleness > 0 {
		parts = append(parts, "answers may be "+cost.Brief(j.Staleness)+" old")
	}
	if j.Trees > 1 {
		parts = append(parts, humanize.Comma(j.Trees)+" trees")
	}
	return strings.Join(parts, ", ")
}
