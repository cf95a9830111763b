// Package results says what an experiment found. It knows nothing of how one is
// run: it takes the calls that were made, and computes, prices and shows.
package results
