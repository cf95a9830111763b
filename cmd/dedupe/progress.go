package main

import (
	"io"

	"github.com/dustin/go-humanize"
	"github.com/vbauerster/mpb/v8"
	"github.com/vbauerster/mpb/v8/decor"

	"efsdedupe/dedupe"
)

// progress shows on a terminal how far a scan is. It is nil where there is none
// to show it on.
type progress struct {
	bars  *mpb.Progress
	bar   *mpb.Bar
	found int64
	stage dedupe.Stage
}

func newProgress(w io.Writer, quiet bool) *progress {
	if quiet || !isTerminal(w) {
		return nil
	}
	return &progress{bars: mpb.New(mpb.WithOutput(w), mpb.WithWidth(64))}
}

// observe is told of every step of the scan, by one goroutine at a time.
func (p *progress) observe(e dedupe.Event) {
	if p == nil {
		return
	}
	if e.Stage != p.stage {
		p.begin(e)
	}
	switch e.Stage {
	case dedupe.StageWalk:
		p.found += e.Files
		p.bar.SetCurrent(p.found)
	default:
		p.bar.IncrInt64(e.Work.BytesRead)
	}
}

// begin replaces the bar of one stage by that of the next.
func (p *progress) begin(e dedupe.Event) {
	p.endStage()
	p.stage = e.Stage
	if e.Stage == dedupe.StageWalk {
		files := func(s decor.Statistics) string { return humanize.Comma(s.Current) + " files found " }
		p.bar = p.bars.New(0, mpb.SpinnerStyle(), mpb.BarRemoveOnComplete(), mpb.PrependDecorators(decor.Any(files)))
		return
	}
	p.bar = p.bars.AddBar(e.Bytes, mpb.BarRemoveOnComplete(),
		mpb.PrependDecorators(decor.Name(map[dedupe.Stage]string{
			dedupe.StageHead:  "comparing heads ",
			dedupe.StageWhole: "reading ",
		}[e.Stage]), decor.CountersKibiByte("% .1f of % .1f")),
		mpb.AppendDecorators(decor.AverageSpeed(decor.SizeB1024(0), "% .1f"), decor.Name(", "), decor.AverageETA(decor.ET_STYLE_GO), decor.Name(" left")))
}

func (p *progress) endStage() {
	if p.bar != nil {
		p.bar.Abort(true)
	}
}

// end clears the terminal for what follows.
func (p *progress) end() {
	if p != nil {
		p.endStage()
		p.bars.Shutdown()
	}
}
