package report

import (
	"bytes"
	"cmp"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"strconv"
	"strings"

	"efsdedupe/dedupe"
	"efsdedupe/dedupe/cost"
)

// Page is a part of a report's groups, in JSON. The totals are those of all.
type Page struct {
	After    Cursor // the last group of the page before
	Limit    int    // groups at most; 0: any number
	MaxBytes int    // of the JSON at most; 0: any number
	Tool     Tool   // that made the report
}

// Cursor is a place in the order of groups, which is the same in every report of
// the same files. The zero Cursor is before all groups.
type Cursor struct {
	reclaimable int64
	digest      dedupe.Digest
	set         bool
}

// ParseCursor reads what String returns; "" is the zero Cursor.
func ParseCursor(s string) (Cursor, error) {
	if s == "" {
		return Cursor{}, nil
	}
	b, err := base64.RawURLEncoding.DecodeString(s)
	reclaimable, digest, _ := strings.Cut(string(b), " ")
	n, err2 := strconv.ParseInt(reclaimable, 10, 64)
	d, err3 := hex.DecodeString(digest)
	if errors.Join(err, err2, err3) != nil || len(d) != len(dedupe.Digest{}) {
		return Cursor{}, errors.New("next is not one that an answer gave")
	}
	return Cursor{n, dedupe.Digest(d), true}, nil
}

// String returns the cursor as text for URLs and JSON.
func (c Cursor) String() string {
	if !c.set {
		return ""
	}
	return base64.RawURLEncoding.EncodeToString(fmt.Appendf(nil, "%d %v", c.reclaimable, c.digest))
}

// before reports whether the cursor comes before a group.
func (c Cursor) before(g dedupe.Group) bool {
	return !c.set || cmp.Or(cmp.Compare(c.reclaimable, g.Reclaimable), bytes.Compare(g.Digest[:], c.digest[:])) > 0
}

// pageJSON is a report as a page has it.
type pageJSON struct {
	head
	Groups   []groupJSON   `json:"groups"`
	Problems []problemJSON `json:"problems"`
	Skipped  []skippedJSON `json:"skipped,omitempty"`
	tail
}

type groupJSON struct {
	Size                 int64             `json:"size"`
	Digest               string            `json:"digest"`
	Reclaimable          int64             `json:"reclaimable_bytes"`
	ReclaimableAllocated *int64            `json:"reclaimable_allocated_bytes,omitempty"`
	Copies               int64             `json:"copies,omitempty"` // if the sizes do not tell; see group.countsApart
	Files                []json.RawMessage `json:"files"`
	FilesLeftOut         int               `json:"files_left_out,omitempty"` // of a group too large for a page
}

// WritePage writes the report as JSON with the groups and the problems that fit
// the page, and where the next one begins. It leaves out files of a group, and
// says how many, only where that group alone is too large. Its error is that of w, or
// says that nothing fits.
func WritePage(w io.Writer, r dedupe.Report, p *cost.Projection, page Page) error {
	if page.Limit < 0 || page.MaxBytes < 0 {
		return fmt.Errorf("a page of %d groups and %d bytes: neither can be negative", page.Limit, page.MaxBytes)
	}
	// The summaries by size and by folder are on the page if they leave half of it.
	doc := pageOf(r, p, page.Tool)
	summarized := doc
	summarized.summarize(r)
	if jsonSize(summarized) < cmp.Or(page.MaxBytes, math.MaxInt)/2 && summarized.fill(r, page) == nil {
		return encode(w, summarized)
	}
	if err := doc.fill(r, page); err != nil {
		return err
	}
	return encode(w, doc)
}

// fill adds the groups and problems that fit.
func (doc *pageJSON) fill(r dedupe.Report, page Page) error {
	limit, maxBytes := cmp.Or(page.Limit, math.MaxInt), cmp.Or(page.MaxBytes, math.MaxInt)
	room := maxBytes - jsonSize(doc) - pageMarks
	for i, p := range r.Problems {
		problem := problemOf(p)
		need := jsonSize(problem)
		if room-need < maxBytes/2 { // the groups matter more
			doc.ProblemsLeftOut = len(r.Problems) - i
			break
		}
		room -= need
		doc.Problems = append(doc.Problems, problem)
	}
	last, need := page.After, 0
	for _, g := range r.Groups {
		if !page.After.before(g) {
			continue
		}
		group := groupJSONOf(g)
		need = jsonSize(group)
		if len(doc.Groups) == limit || need > room && len(doc.Groups) > 0 {
			doc.Next = last.String()
			break
		}
		if need = group.cut(need, room); need > room {
			break
		}
		room -= need
		need = 0
		doc.Groups = append(doc.Groups, group)
		last = Cursor{g.Reclaimable, g.Digest, true}
	}
	if room < 0 || need > room && len(doc.Groups) == 0 {
		return fmt.Errorf("a page of %d bytes is too small for this report: it needs %d", page.MaxBytes, maxBytes-room+need)
	}
	return nil
}

// pageOf is a page without groups and problems.
func pageOf(r dedupe.Report, p *cost.Projection, tool Tool) pageJSON {
	d := documentOf(r, p, Options{Tool: tool})
	doc := pageJSON{head: d.head, tail: d.tail, Groups: []groupJSON{}, Problems: []problemJSON{}}
	for _, s := range r.Skipped {
		doc.Skipped = append(doc.Skipped, skippedOf(s))
	}
	return doc
}

// summarize sets the summaries by size and by folder, which are those of all groups.
func (doc *pageJSON) summarize(r dedupe.Report) {
	t := newTotals()
	for _, g := range r.Groups {
		t.add(g)
	}
	doc.setTotals(t, DefaultTop)
}

func groupJSONOf(g dedupe.Group) groupJSON {
	of := groupOf(g)
	group := groupJSON{Size: g.Size, Digest: g.Digest.String(), Reclaimable: g.Reclaimable, Files: make([]json.RawMessage, len(g.Files))}
	if of.allocated >= 0 {
		group.ReclaimableAllocated = &of.allocated
	}
	if of.countsApart() {
		group.Copies = of.copies
	}
	links := g.HardLinks()
	for i, f := range g.Files {
		group.Files[i] = appendFile(nil, fileOf(f, links[i]))
	}
	return group
}

// fewestFiles is how many files of a group a page has at least: with fewer it would be
// no group.
const fewestFiles = 2

// cut leaves out files of a group, which needs so many bytes, until it fits the room or
// has the fewest files. It returns how many bytes it needs then.
func (g *groupJSON) cut(need, room int) int {
	for need > room && len(g.Files) > fewestFiles {
		keep := max(fewestFiles, len(g.Files)*max(room, 0)/need)
		g.FilesLeftOut += len(g.Files) - keep
		g.Files = g.Files[:keep]
		need = jsonSize(g)
	}
	return need
}

// pageMarks is what a page says of itself, at most: next, problems_left_out, and the
// end of its line.
const pageMarks = 200

// jsonSize is how many bytes a value takes in an array in JSON.
func jsonSize(v any) int {
	b, err := json.Marshal(v)
	if err != nil {
		return 0 // and encode will say why
	}
	return len(b) + len(",")
}
