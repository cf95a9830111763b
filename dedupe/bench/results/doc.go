// Package results says what an experiment found. It knows nothing of how one is
// run: it takes the calls that were made, and computes, prices and shows.
//
//	experiment.go  an experiment as it ran: the types that are filled in
//	results.go     the formats, and all that is computed of an experiment
//	summary.go     what the calls of a series come to
//	price.go       what such calls cost
//	verdict.go     the cheapest, the fastest and the knee
//	penalty.go     what processes take and cost beyond goroutines, in a sentence
//	table.go       the cells that all tables have
//	notes.go       what a reader must know to judge them
//	text.go        for people, at a terminal
//	plot.go        the terminal's charts
//	html.go        a page for people, from page.html
//	chart.go       the page's charts
//	markdown.go    for README.md
//	json.go        the JSON contract, written; results.schema.json describes it
//	read.go        the same, read
//	gobench.go     Go benchmark lines, which benchstat reads
//	compare.go     two experiments side by side
//
// # Figures
//
// Percentiles are nearest-rank: the least measured value that so many in 100 are
// not above. A call that failed counts like any other, because Lambda bills it.
//
// Warm calls decide what a row is said to take and to cost: its median warm call,
// or, where there is no warm call, its median cold one, and then the row says so.
// Only rows without a failed call compete for the cheapest and the fastest.
package results
