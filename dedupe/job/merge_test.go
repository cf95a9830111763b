package job

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"reflect"
	"runtime"
	"slices"
	"testing"

	"efsdedupe/dedupe"
	"efsdedupe/fixtures/testkit"
)

// mergeMany has units merge results of 25,000 records: first of one size, then of one
// digest. It prints how much memory the Go runtime took, which never shrinks.
func mergeMany(results int) error {
	const each = 25_000
	j := &Job{store: objects{folder{"."}}, spec: Spec{Limits: DefaultLimits()}}
	w := &worker{store: j.store, spec: j.spec}
	for _, s := range []struct {
		shuffle
		stage
		run func(*worker, unit) (*result, error)
	}{{bySize, sizing, (*worker).sortSizes}, {byDigest, grouping, (*worker).group}} {
		j.rounds = []round{{stage: walking}}
		for i := range results {
			if err := j.addMany(s.shuffle, i*each, each); err != nil {
				return err
			}
		}
		r, err := j.mergers(s.stage, s.shuffle, func(r *result) int64 { return r.Out }, walking)
		if err != nil {
			return err
		}
		in, out := int64(0), int64(0)
		for _, u := range r.units {
			merged, err := s.run(w, u)
			if err != nil {
				return err
			}
			in, out = in+merged.In, out+merged.Out
			for _, next := range merged.Next {
				if copies, err := unpack(w.store, next.Pack, takeCopy); err != nil || int64(len(copies)) > j.spec.Limits.Copies {
					return fmt.Errorf("a pack of %d copies, error %v", len(copies), err)
				}
			}
			j.rounds = append(j.rounds, round{grouping, nil, []outcome{{result: merged}}})
		}
		if in != int64(results)*each || out != in {
			return fmt.Errorf("%d records in and %d out, want %d", in, out, results*each)
		}
	}
	if err := j.checkMany(results * each); err != nil {
		return err
	}
	var taken runtime.MemStats
	runtime.ReadMemStats(&taken)
	fmt.Println(taken.Sys)
	return nil
}

// addMany adds a result with files of one size and one digest.
func (j *Job) addMany(s shuffle, from, n int) error {
	copies := make([]placed, n)
	for i := range copies {
		c := &entry{File: dedupe.File{Path: fmt.Sprintf("/mnt/efs/a/directory/%d", from+i), Size: 1000, Inode: uint64(from + i), Links: 1}}
		if s.by == dedupe.StageWhole {
			c.Known = &known{Digest: dedupe.Digest{1}}
		}
		copies[i] = s.place(c)
	}
	r := &result{Out: int64(n), sections: new(sections)}
	s.write(r.sections, copies)
	u := unit{Stage: walking, Pack: fmt.Sprint(s.first, from)}
	if err := j.store.putResult(u.name(), r); err != nil {
		return err
	}
	round := &round{stage: walking, units: []unit{u}, results: make([]outcome, 1)}
	err := j.read(round, 0)
	j.rounds[0].results = append(j.rounds[0].results, round.results...)
	return err
}

// checkMany checks that there is one group with that many files, sorted.
func (j *Job) checkMany(files int) (err error) {
	for g := range j.groups(&err) {
		n, last := 0, ""
		for f, link := range g.Files {
			if f.Path <= last || link {
				return fmt.Errorf("%q comes after %q, hard link %v", f.Path, last, link)
			}
			n, last = n+1, f.Path
		}
		if n != files || g.Copies != int64(files) || g.Reclaimable != int64(files-1)*1000 {
			return fmt.Errorf("%d files, %d copies", n, g.Copies)
		}
	}
	return err
}

// TestRecords writes random records and takes them back.
func TestRecords(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 1))
	number := func() int64 { return rnd.Int64() >> rnd.IntN(64) }
	path := func() string {
		return fmt.Sprintf("%s/%x\xff\n", []string{"/mnt", "/mnt/efs/a", ""}[rnd.IntN(3)], number())
	}
	time := func() dedupe.Timestamp {
		return dedupe.Timestamp{Sec: number() * int64(1-2*rnd.IntN(2)), Nsec: rnd.Int32N(1e9)}
	}
	var want []*entry
	var b []byte
	var w writer
	for range 1000 {
		c := &entry{File: dedupe.File{
			Path: path(), Size: number(), Device: uint64(rnd.IntN(3)) << 62, Inode: rnd.Uint64(), ModTime: time(), ChangeTime: time(),
			Links: rnd.Uint32(), Allocated: number(),
		}}
		if rnd.IntN(2) == 0 {
			c.ChangeTime = c.ModTime
		}
		for range rnd.IntN(3) {
			c.OtherPaths = append(c.OtherPaths, path())
		}
		if rnd.IntN(2) == 0 {
			c.Known = &known{Ends: dedupe.Ends(1 + number())}
		}
		if rnd.IntN(2) == 0 {
			c.Known = &known{Digest: dedupe.Digest{byte(1 + rnd.IntN(9)), 2}}
		}
		want = append(want, c)
		b = w.appendCopy(b, c, isHardLink)
	}
	var got []*entry
	for r := (taker{rest: b}); len(r.rest) > 0; {
		c, flags := r.takeCopy()
		if r.bad || flags&isHardLink == 0 {
			t.Fatalf("record %d is bad", len(got))
		}
		got = append(got, c)
	}
	if !reflect.DeepEqual(got, want) {
		t.Error("the records came back changed")
	}
}

// FuzzTaker takes records off any bytes. They may make no sense, but must not crash it.
func FuzzTaker(f *testing.F) {
	var w writer
	c := &entry{File: dedupe.File{Path: "/a", Size: 1}, OtherPaths: []string{"/b"}}
	f.Add(w.appendCopy(nil, c, 0))
	g := group{files: 1, inline: []*entry{c}, links: []bool{false}}
	f.Add(g.append(nil))
	f.Add(line{"a", "b", "c"}.append(nil))
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, take := range []func(*taker){
			func(r *taker) { r.takeCopy() }, func(r *taker) { r.takeGroup() }, func(r *taker) { r.takeLine() },
		} {
			for r := (taker{rest: b}); len(r.rest) > 0 && !r.bad; {
				take(&r)
			}
		}
	})
}

// TestDamage reads objects of which any byte has changed, or that end anywhere. They must be
// damaged, not something else.
func TestDamage(t *testing.T) {
	f := objects{folder{t.TempDir()}}
	s := new(sections)
	s.begin()
	for i := range 3 {
		s.block = append(s.block, fmt.Sprint("record ", i)...)
		s.flush()
	}
	var h head
	whole, err := object(&h, &h, s)
	testkit.Must(t, err)
	check := func(name string, b []byte) error {
		testkit.Must(t, f.Put(name, b))
		in, err := f.open(name, 8)
		for err == nil {
			_, err = in.next()
		}
		return err
	}
	if err := check("whole", whole); err.Error() != "EOF" {
		t.Fatal(err)
	}
	for i := range whole {
		flipped := slices.Clone(whole)
		flipped[i] ^= 0x10
		for what, b := range map[string][]byte{"flipped": flipped, "torn": whole[:i], "other version": bytes.Replace(whole, []byte("job 2"), []byte("job 0"), 1)} {
			if err := check(fmt.Sprint(what, i), b); reflect.TypeOf(err) != reflect.TypeFor[*damage]() {
				t.Errorf("%s at %d of %d: %v", what, i, len(whole), err)
			}
		}
	}
}
