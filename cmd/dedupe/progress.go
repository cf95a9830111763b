package main

import (
	"fmt"
	"io"
	"sync/atomic"

	"github.com/dustin/go-humanize"
	"github.com/vbauerster/mpb/v8"
	"github.com/vbauerster/mpb/v8/decor"

	"efsdedupe/cmd/internal/cli"
	"efsdedupe/dedupe"
)

// progress shows on a terminal how far a scan is. It is nil where there is none
// to show it on.
type progress struct {
	lines io.Writer // where a terminal shows no more than lines; else nil
	bars  *mpb.Progress
	bar   atomic.Pointer[mpb.Bar]
	found int64
	stage dedupe.Stage
}

func newProgress(w io.Writer, quiet bool) *progress {
	if quiet || !cli.IsTerminal(w) {
		return nil
	}
	if cli.IsDumb() {
		return &progress{lines: w}
	}
	return &progress{bars: mpb.New(mpb.WithOutput(cli.File(w)), mpb.WithWidth(64))}
}

// observe is told of every step of the scan, by one goroutine at a time.
func (p *progress) observe(e dedupe.Event) {
	if p == nil {
		return
	}
	if e.Stage != p.stage {
		p.begin(e)
	}
	if e.Stage == dedupe.StageWalk {
		p.found += e.Files
		if p.lines == nil {
			p.bar.Load().SetCurrent(p.found)
		}
	}
}

// read is told of bytes as they are read, from many goroutines.
func (p *progress) read(bytes int64) {
	if p.lines == nil {
		p.bar.Load().IncrInt64(bytes)
	}
}

// begin replaces the bar of one stage by that of the next.
func (p *progress) begin(e dedupe.Event) {
	p.endStage()
	p.stage = e.Stage
	names := map[dedupe.Stage]string{dedupe.StageEnds: "reading, ends first ", dedupe.StageWhole: "reading "}
	switch {
	case p.lines == nil:
	case e.Stage == dedupe.StageWalk:
		fmt.Fprintln(p.lines, "looking for files")
		return
	default:
		fmt.Fprintf(p.lines, "%s files found, %s%s\n", humanize.Comma(p.found), names[e.Stage], humanize.IBytes(uint64(e.Bytes)))
		return
	}
	if e.Stage == dedupe.StageWalk {
		files := func(s decor.Statistics) string { return humanize.Comma(s.Current) + " files found " }
		p.bar.Store(p.bars.New(0, mpb.SpinnerStyle(), mpb.BarRemoveOnComplete(), mpb.PrependDecorators(decor.Any(files))))
		return
	}
	eta := decor.AverageETA(decor.ET_STYLE_GO)
	left := func(s decor.Statistics) string {
		if s.Current == 0 {
			return "" // nothing to judge by
		}
		text, _ := eta.Decor(s)
		return ", " + text + " left"
	}
	p.bar.Store(p.bars.AddBar(e.Bytes, mpb.BarRemoveOnComplete(),
		mpb.PrependDecorators(decor.Name(names[e.Stage]), decor.CountersKibiByte("% .1f of % .1f")),
		mpb.AppendDecorators(decor.AverageSpeed(decor.SizeB1024(0), "% .1f"), decor.Any(left))))
}

func (p *progress) endStage() {
	if bar := p.bar.Load(); bar != nil {
		bar.Abort(true)
	}
}

// end clears the terminal for what follows.
func (p *progress) end() {
	if p != nil && p.lines == nil {
		p.endStage()
		p.bars.Shutdown()
	}
}
