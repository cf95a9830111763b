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
	"strconv"
	"strings"

	"efsdedupe/dedupe"
)

// Page is a part of a report's groups, in JSON. The totals are those of all.
type Page struct {
	After    Cursor // the last group of the page before
	Limit    int    // groups
	MaxBytes int    // of the JSON, about
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

// WritePage writes the report as JSON with the groups and the problems that fit
// the page, and where the next one begins. It leaves out files of a group, and
// says how many, only where that group alone is too large.
func WritePage(w io.Writer, r dedupe.Report, p *Projection, page Page) error {
	doc := reportOf(r, p)
	room := page.MaxBytes - jsonSize(doc) - pageMarks
	for _, p := range r.Problems {
		problem := problemOf(p)
		if room -= jsonSize(problem); room < page.MaxBytes/2 {
			break // complete is false, and the groups matter more
		}
		doc.Problems = append(doc.Problems, problem)
	}
	last := page.After
	for _, g := range r.Groups {
		if !page.After.before(g) {
			continue
		}
		group := groupOf(g)
		need := jsonSize(group)
		if len(doc.Groups) == page.Limit || need > room && len(doc.Groups) > 0 {
			doc.Next = last.String()
			break
		}
		for need > room {
			keep := len(group.Files) * room / (need + 1)
			group.FilesLeftOut += len(group.Files) - keep
			group.Files = group.Files[:keep]
			need = jsonSize(group)
		}
		room -= need
		doc.Groups = append(doc.Groups, group)
		last = Cursor{g.Reclaimable, g.Digest, true}
	}
	return encode(w, doc)
}

// pageMarks is what a page says of itself, at most: next, and files_left_out.
const pageMarks = 200

// jsonSize is how many bytes a value takes in an array in JSON.
func jsonSize(v any) int {
	b, err := json.Marshal(v)
	if err != nil {
		return 0 // and encode will say why
	}
	return len(b) + len(",")
}
