package jobs

import (
	"cmp"
	"context"
	"io"

	"efsdedupe/dedupe"
	"efsdedupe/dedupe/choose"
	"efsdedupe/dedupe/limits"
	"efsdedupe/dedupe/report"
)

// Rules are the rules of package choose that a job knows. Their paths are relative to the
// folder of the job. They survive JSON with any bytes in paths.
type Rules struct {
	Keep      choose.Keep `json:"keep,omitempty"`
	Priority  [][]byte    `json:"priority,omitempty"`
	Protect   [][]byte    `json:"protect,omitempty"`
	MinCopies int         `json:"min_copies,omitempty"`
}

// RulesOf returns rules as a job has them.
func RulesOf(r choose.Rules) Rules {
	return Rules{r.Keep, bytesOf(r.Priority), bytesOf(r.Protect), r.MinCopies}
}

func (r Rules) rules() choose.Rules {
	return choose.Rules{Keep: r.Keep, Priority: stringsOf(r.Priority), Protect: stringsOf(r.Protect), MinCopies: r.MinCopies}
}

func bytesOf(texts []string) (all [][]byte) {
	for _, text := range texts {
		all = append(all, []byte(text))
	}
	return all
}

func stringsOf(texts [][]byte) (all []string) {
	for _, text := range texts {
		all = append(all, string(text))
	}
	return all
}

// check makes sure that there is something at the paths in the rules of a job, before it does
// anything. If not, the error is a *choose.MissingError. If there is no folder, it is a
// *dedupe.RootError.
func (j Job) check(ctx context.Context) error {
	return j.withSpell(ctx, func(r choose.Rules, spell choose.Spell) error { return r.CheckPaths(spell) })
}

// withOptions runs use with how to write the report of the job.
func (j Job) withOptions(ctx context.Context, tool report.Tool, use func(report.Options) error) error {
	spill := func() (io.ReadWriteSeeker, error) { return limits.TemporaryFile() }
	return j.withSpell(ctx, func(r choose.Rules, spell choose.Spell) error {
		return use(report.Options{Tool: tool, Rules: r, Spell: spell, Spill: spill})
	})
}

// withSpell runs use with the rules of the job, and with what finds their paths in its folder,
// which they cannot leave.
func (j Job) withSpell(ctx context.Context, use func(choose.Rules, choose.Spell) error) error {
	r := j.Rules.rules()
	if len(r.Priority)+len(r.Protect) == 0 {
		return use(r, nil)
	}
	root, err := j.Spec.OpenRoot(ctx)
	if err != nil {
		return err
	}
	defer root.Close()
	eng := dedupe.Engine{Within: root}
	spell, failed := choose.Within(func(path string) (bool, error) { return eng.HasWithin(ctx, path) })
	err = use(r, spell)
	return cmp.Or(*failed, err)
}
