// Package results computes what an experiment found, prices it and shows it. It
// takes the calls that were made, and knows nothing of how they were made.
//
// The data, and what is computed from it:
//
//	experiment.go  an experiment as it ran: the types that a caller fills in
//	results.go     the formats, and everything that is computed
//	summary.go     what the calls of a series come to
//	price.go       what such calls cost
//	verdict.go     the cheapest, the fastest and the knee
//	penalty.go     what processes cost beyond goroutines, in a sentence
//	helpers.go     both sides of the bill of helpers, and where they pay off
//	instances.go   what many instances at once cost and take
//	sources.go     what reading files costs, from EFS and from S3, by their size
//
// How it is shown:
//
//	table.go     the cells that all tables have
//	notes.go     what a reader must know to judge the figures
//	text.go      for people, at a terminal
//	plot.go      the terminal's charts
//	html.go      a page for people, from page.html
//	chart.go     the page's charts of lines
//	bars.go      the page's bars
//	markdown.go  for README.md
//	gobench.go   Go benchmark lines, which benchstat reads
//	compare.go   two experiments side by side
//	json.go      the JSON contract, written; results.schema.json describes it
//	read.go      the same, read
//
// # Figures
//
// Percentiles are nearest-rank: the smallest measured value that at least so many
// in 100 do not exceed. A call that failed counts like any other, because Lambda
// bills it.
//
// A row takes and costs what its median warm call does. Without warm calls, it is
// the median cold call, and the row says so. Only rows without a failed call
// compete for the cheapest and the fastest.
package results
