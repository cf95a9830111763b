package cost

import (
	"errors"
	"fmt"
	"math/big"
	"slices"
	"strings"
	"time"
)

// Job is what [Book.Advise] finds cheaper ways for.
type Job struct {
	Choice                   // calls that read all, all of them cold, and what an index takes
	Tree       Tree          // what a call finds
	Churn      int64         // files in a million that change between two calls
	Warm       int64         // calls in a million that find the files in the page cache
	Staleness  time.Duration // how old an answer may be; 0 if each must be new
	Trees      int64         // how many such trees the calls are about; each is stored
	CPU        time.Duration // that a call takes; 0 if unknown
	PeakMemory int64         // bytes that a call takes; 0 if unknown
}

// NewJob returns the job of calls that each take u. The scan is what one of them found and
// took. X tells what an index saves; nil if the calls had none: then it is modeled.
func NewJob(u Usage, s Scan, x *Unindexed) Job {
	s.Files, s.Directories, s.Opens, s.OpensSpared = counted(s.Files), counted(s.Directories), counted(s.Opens), counted(s.OpensSpared)
	if s.Files == 0 && s.Opens == 0 { // nobody counted
		s.Opens = max(0, u.EFS.MetadataOperations-rootMessages-2) / fileMessages
		s.Files, s.Directories = s.Opens, 1
	}
	if x == nil {
		s.Messages, s.OpensSpared = Messages{u.EFS.MetadataOperations, u.EFS.MetadataBytes}, 0
		x = NewUnindexed(s, Reads{Read: u.EFS.ReadBytes, Access: u.EFS.AccessBytes}, Items{}).sending(u.EFS)
	}
	c := x.choice(u)
	c.All.Warm = 0
	tree := s.tree()
	tree.Opens += s.OpensSpared
	if c.Items == (Items{}) {
		c.Items = tree.items()
	}
	return Job{Choice: c, Tree: tree, Warm: u.Warm, Trees: 1, PeakMemory: s.PeakMemory}
}

// sending returns x for calls that send what e says, even if that is nothing.
func (x *Unindexed) sending(e EFS) *Unindexed {
	x.MetadataOperations, x.MetadataBytes, x.WarmMetadata = e.MetadataOperations, e.MetadataBytes, e.WarmMetadata
	x.OpenOperations = min(x.OpenOperations, max(0, e.mostOpening()-x.Relisting.Count))
	return x
}

// counted is what a scan can have counted: no report with more or less is true.
func counted(n int64) int64 { return min(max(n, 0), 1e12) }

// Option is one way to do a job, or a part of one.
type Option struct {
	Name     string
	Requires []string // what it needs

	// apply returns the usage of a job done so. Its error says why it cannot be.
	apply func(Usage) (Usage, error)

	// selects returns the flags of dedupe and the parameters of deploy/template.yaml that
	// select it. It takes the usage that apply returned. Nil if there are none.
	selects func(Usage) (flags, parameters []string)
}

// and is both options, first o. It has flags and parameters only if both do.
func (o Option) and(p Option) Option {
	both := Option{
		Name:     o.Name + ", " + p.Name,
		Requires: slices.Concat(o.Requires, p.Requires),
		apply: func(u Usage) (Usage, error) {
			u, err := o.apply(u)
			if err != nil {
				return u, err
			}
			return p.apply(u)
		},
	}
	if o.selects != nil && p.selects != nil {
		both.selects = func(u Usage) (flags, parameters []string) {
			flags, parameters = o.selects(u)
			f, p := p.selects(u)
			return slices.Concat(flags, f), slices.Concat(parameters, p)
		}
	}
	return both
}

// Way is an option with its price.
type Way struct {
	Option
	Flags      []string // of dedupe, that select it
	Parameters []string // of deploy/template.yaml, that select it
	Usage      Usage
	Bill       *Bill

	// Meter is the one on which it costs the most More than the cheapest way; empty if it
	// costs no more on any.
	Meter string
	More  *big.Rat
}

// Rejection is an option that cannot do the job.
type Rejection struct {
	Name string
	Why  error
}

// Advice is ways to do a job, the cheapest first.
type Advice struct {
	Job      Job
	Book     *Book
	Ways     []Way
	Rejected []Rejection
}

// Advise prices the ways to do a job. It returns an error if there is none.
func (b *Book) Advise(j Job) (*Advice, error) {
	if err := j.Items.validate(); err != nil {
		return nil, err
	}
	a := &Advice{Job: j, Book: b}
	for _, reading := range j.readings() {
		if _, err := reading.apply(j.usage()); err != nil {
			a.Rejected = append(a.Rejected, Rejection{reading.Name, err})
			continue
		}
		for _, throughput := range j.throughputs() {
			a.add(reading.and(throughput))
		}
	}
	for _, o := range j.objects() {
		a.add(o)
	}
	a.sort()
	if len(a.Ways) == 0 {
		return nil, fmt.Errorf("there is no way to do it: %w", a.Rejected[0].Why)
	}
	best := a.Ways[0].Option
	for _, o := range j.tunings() {
		a.add(best.and(o))
	}
	a.sort()
	for i := range a.Ways {
		a.Ways[i].Meter, a.Ways[i].More = a.Ways[i].Bill.mostAbove(a.Ways[0].Bill)
	}
	return a, nil
}

// add prices an option, or notes why it cannot be.
func (a *Advice) add(o Option) {
	u, err := o.apply(a.Job.usage())
	var bill *Bill
	if err == nil {
		bill, err = a.Book.Bill(u)
	}
	if err != nil {
		a.Rejected = append(a.Rejected, Rejection{o.Name, err})
		return
	}
	w := Way{Option: o, Usage: u, Bill: bill}
	if o.selects != nil {
		w.Flags, w.Parameters = o.selects(u)
	}
	a.Ways = append(a.Ways, w)
}

func (a *Advice) sort() {
	slices.SortStableFunc(a.Ways, func(v, w Way) int { return v.Bill.Total.Cmp(w.Bill.Total) })
}

// mostAbove returns the meter on which b costs the most more than other.
func (b *Bill) mostAbove(other *Bill) (meter string, most *big.Rat) {
	most = new(big.Rat)
	for _, name := range Meters(b) {
		if more := new(big.Rat).Sub(b.Meter(name), other.Meter(name)); more.Cmp(most) > 0 {
			meter, most = name, more
		}
	}
	return meter, most
}

// usage is calls that read all, with all trees stored.
func (j Job) usage() Usage {
	u := j.All
	e := &u.EFS
	e.StoredBytes, e.ReclaimableBytes = addUp(0, e.StoredBytes, j.Trees), addUp(0, e.ReclaimableBytes, j.Trees)
	e.Stored, e.Reclaimable = e.Stored.times(j.Trees), e.Reclaimable.times(j.Trees)
	return u
}

// readings are the ways to know the content of files.
func (j Job) readings() []Option {
	return []Option{
		{
			Name:    "every call reads all",
			apply:   func(u Usage) (Usage, error) { return u, nil },
			selects: j.selecting("Index=off"),
		},
		{
			Name:     "page cache",
			Requires: j.pageCache(),
			apply: func(u Usage) (Usage, error) {
				if j.Warm == 0 {
					return u, errors.New("all calls are taken to be cold: give a --cold-share below 100% if environments keep their page cache")
				}
				u.Warm = j.Warm * (million - j.Churn) / million // a changed file is read again
				return u, nil
			},
			selects: j.selecting("Index=off"),
		},
		{
			Name:     "index, fresh listings",
			Requires: []string{"a DynamoDB table of digests that all environments share"},
			apply: func(u Usage) (Usage, error) {
				c := j.Choice
				c.All = u
				u = c.AtChurn(j.Churn)
				u.Warm = j.Warm
				u.DynamoDB.StoredBytes = addUp(0, u.DynamoDB.StoredBytes, j.Trees)
				return u, nil
			},
			selects: j.selecting("Index=on", "--index dynamodb://TABLE", "--churn "+Percent(j.Churn)),
		},
		{
			Name:     "answers kept " + Brief(j.Staleness),
			Requires: append([]string{"answers that may be that old, in a table that all environments share (dedupe has none)"}, j.pageCache()...),
			apply: func(u Usage) (Usage, error) {
				if j.Staleness == 0 {
					return u, errors.New("every answer must be new: give a --staleness if it may be older")
				}
				return j.kept(u), nil
			},
			selects: j.selecting("Index=off", "--staleness "+Brief(j.Staleness)),
		},
	}
}

// pageCache is what warm calls need.
func (j Job) pageCache() []string {
	if j.Warm == 0 {
		return nil
	}
	return []string{"warm environments that keep their page cache (AWS does not promise it)"}
}

// selecting selects a reading: with these flags, and where calls may be warm with the share
// that is not.
func (j Job) selecting(parameter string, flags ...string) func(Usage) ([]string, []string) {
	return func(u Usage) ([]string, []string) {
		if j.Warm > 0 {
			return append(slices.Clone(flags), "--cold-share "+Percent(million-u.Warm)), []string{parameter}
		}
		return flags, []string{parameter}
	}
}

// Brief formats a duration without parts that are zero: "1m", not "1m0s".
func Brief(d time.Duration) string {
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}

// always selects an option whatever the usage is.
func always(flags, parameters []string) func(Usage) ([]string, []string) {
	return func(Usage) ([]string, []string) { return flags, parameters }
}

// kept is calls of which only some scan: one for each tree and time that an answer is
// kept, evenly over the month. The others read the answer from a table, and take as long
// as calls that read no file.
func (j Job) kept(u Usage) Usage {
	u.Warm = j.Warm
	scans := ratio(int64(j.Staleness), int64(u.month()), j.Trees)
	if u.Calls > 0 {
		scans.Mul(scans, big.NewRat(1, u.Calls))
	}
	if scans.Cmp(ratio(1, 1)) > 0 {
		scans = ratio(1, 1)
	}
	part := func(n int64) int64 { return ceil(new(big.Rat).Mul(scans, ratio(1, n))) }
	all := Messages{u.EFS.MetadataOperations, u.EFS.MetadataBytes}
	e := &u.EFS
	e.ReadBytes, e.AccessBytes, e.WriteBytes = part(e.ReadBytes), part(e.AccessBytes), part(e.WriteBytes)
	e.MetadataOperations, e.MetadataBytes = 0, part(all.bytes())
	e.WarmMetadata = Messages{Bytes: part(e.WarmMetadata.bytes())}
	if j.Known > 0 {
		u.Lambda.Duration = j.Known + time.Duration(part(int64(u.Lambda.Duration-j.Known)))
	}
	answer := max(u.Extras.ResponseBytes, 1)
	u.DynamoDB = DynamoDB{
		ReadUnits:   roundUp(answer, readUnitBytes) / readUnitBytes * million / 2,
		WriteUnits:  part(roundUp(answer, writeUnitBytes) / writeUnitBytes * million),
		StoredBytes: addUp(0, answer+itemBytes, j.Trees),
	}
	return u
}

// times is o, n times. Sums end at the largest integer.
func (o Objects) times(n int64) Objects {
	return Objects{addUp(0, o.Files, n), addUp(0, o.Directories, n), addUp(0, o.Bytes, n), addUp(0, o.ColdBytes, n)}
}

// items models the items of a tree in the table of an index: 128 files in one, with some 71
// bytes each.
func (t Tree) items() Items {
	const itemFiles = 128
	each, directories := t.filesPerDirectory(), max(1, t.Directories)
	return itemOf(itemFiles).times(each / itemFiles * directories).plus(itemOf(each % itemFiles).times(directories))
}

func itemOf(files int64) Items {
	const fileBytes = 71
	return ItemsOf(func(yield func(bytes, files int64) bool) {
		if files > 0 {
			yield(itemBytes+fileBytes*files, files)
		}
	})
}

func (i Items) times(n int64) Items {
	return Items{addUp(0, i.LookUp, n), addUp(0, i.Reread, n), addUp(0, i.Rewrite, n), i.Files, addUp(0, i.Bytes, n)}
}

func (i Items) plus(o Items) Items {
	total := Items{addUp(i.LookUp, o.LookUp, 1), addUp(i.Reread, o.Reread, 1), addUp(i.Rewrite, o.Rewrite, 1), 0, addUp(i.Bytes, o.Bytes, 1)}
	if total.Rewrite > 0 {
		total.Files = ceil(sum(ratio(total.Rewrite, i.Rewrite, i.Files), ratio(total.Rewrite, o.Rewrite, o.Files)))
	}
	return total
}
