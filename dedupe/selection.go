package dedupe

import (
	"encoding/json"
	"errors"
	"time"
	"unicode/utf8"
)

// Selection says what to scan. It survives JSON with any bytes in names and globs.
type Selection struct {
	Roots         []string // directories or files; at least one
	Filter        Filter
	OneFileSystem bool // stay on the file system of each root

	// These work only in a Scan. They do not survive JSON.

	Files    []string // more files to scan, not within Engine.Within; one that is missing is a problem, and links are not followed
	CopiesOf string   // a file; scan it, and of all others only those of its size
	Unique   bool     // also report files without a duplicate
}

// Validate returns an error if there is nothing to scan or the filter is bad, worded for
// the user.
func (s *Selection) Validate() error {
	if len(s.Roots) == 0 && s.Files == nil { // an empty list is fine
		return errors.New("nothing to scan: name a directory or a file")
	}
	return s.Filter.validate()
}

// selectionJSON is a Selection. Text that JSON cannot hold is in base64.
type selectionJSON struct {
	Roots         texts `json:"roots"`
	MinSize       int64 `json:"min_size,omitempty"`
	MaxSize       int64 `json:"max_size,omitempty"`
	Include       texts `json:"include,omitzero"`
	Exclude       texts `json:"exclude,omitzero"`
	OneFileSystem bool  `json:"one_file_system,omitempty"`

	Newer time.Time `json:"newer,omitzero"`
	Older time.Time `json:"older,omitzero"`
}

// MarshalJSON implements json.Marshaler.
func (s Selection) MarshalJSON() ([]byte, error) {
	f := s.Filter
	return json.Marshal(selectionJSON{s.Roots, f.MinSize, f.MaxSize, f.Include, f.Exclude, s.OneFileSystem, f.Newer, f.Older})
}

// UnmarshalJSON implements json.Unmarshaler.
func (s *Selection) UnmarshalJSON(b []byte) error {
	var v selectionJSON
	if err := json.Unmarshal(b, &v); err != nil {
		return err
	}
	*s = Selection{
		Roots:         v.Roots,
		Filter:        Filter{v.MinSize, v.MaxSize, v.Include, v.Exclude, v.Newer, v.Older},
		OneFileSystem: v.OneFileSystem,
	}
	return nil
}

// frontierJSON is a Frontier.
type frontierJSON struct {
	Root text `json:"root"`
	Dir  text `json:"dir,omitzero"`
	Part int  `json:"part,omitempty"`
	Of   int  `json:"of,omitempty"`
}

// MarshalJSON implements json.Marshaler.
func (f Frontier) MarshalJSON() ([]byte, error) {
	return json.Marshal(frontierJSON{text(f.Root), text(f.Dir), f.Part, f.Of})
}

// UnmarshalJSON implements json.Unmarshaler.
func (f *Frontier) UnmarshalJSON(b []byte) error {
	var v frontierJSON
	if err := json.Unmarshal(b, &v); err != nil {
		return err
	}
	*f = Frontier{string(v.Root), string(v.Dir), v.Part, v.Of}
	return nil
}

// text is a string of any bytes. In JSON it is a string if it is valid UTF-8, else an
// object with the bytes in base64.
type text string

type base64JSON struct {
	Base64 []byte `json:"base64"`
}

func (t text) MarshalJSON() ([]byte, error) {
	if utf8.ValidString(string(t)) {
		return json.Marshal(string(t))
	}
	return json.Marshal(base64JSON{[]byte(t)})
}

func (t *text) UnmarshalJSON(b []byte) error {
	if len(b) > 0 && b[0] == '{' {
		var v base64JSON
		err := json.Unmarshal(b, &v)
		*t = text(v.Base64)
		return err
	}
	return json.Unmarshal(b, (*string)(t))
}

type texts []string

func (t texts) MarshalJSON() ([]byte, error) {
	all := make([]text, len(t))
	for i := range t {
		all[i] = text(t[i])
	}
	return json.Marshal(all)
}

func (t *texts) UnmarshalJSON(b []byte) error {
	var all []text
	if err := json.Unmarshal(b, &all); err != nil {
		return err
	}
	*t = nil
	for _, s := range all {
		*t = append(*t, string(s))
	}
	return nil
}
