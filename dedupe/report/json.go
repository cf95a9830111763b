package report

import (
	"encoding/base64"
	"math"
	"strconv"
	"time"
	"unicode/utf8"

	"efsdedupe/dedupe"
	"efsdedupe/dedupe/choose"
	"efsdedupe/dedupe/cost"
	"efsdedupe/dedupe/mount"
)

// The formats of the JSON documents, named in their field "schema". report.schema.json
// describes them, and tests check every document against it. A version 1 report is a
// version 2 report without the fields added later.
const (
	reportSchema     = "dedupe.report/v2"
	reportSchemaV1   = "dedupe.report/v1"
	projectionSchema = "dedupe.projection/v1"
)

// document is a report without its groups, its problems and what was skipped.
type document struct {
	head
	tail
	bill *cost.Projection // the projection from Projection or NoBill
}

// head is what is written before the groups. A nil field is not known yet.
type head struct {
	Schema      string         `json:"schema"`
	Tool        *Tool          `json:"tool,omitempty"`
	Started     time.Time      `json:"started,omitzero"`
	Finished    time.Time      `json:"finished,omitzero"`
	Roots       []string       `json:"roots"`
	RootsBase64 [][]byte       `json:"roots_base64,omitempty"` // all of them, if one is not UTF-8
	Selection   *selectionJSON `json:"selection,omitempty"`
	Mode        dedupe.Mode    `json:"mode"`
	Workers     int            `json:"workers"`
	Complete    *bool          `json:"complete"`
	Reason      string         `json:"reason,omitempty"`
	Index       *indexUseJSON  `json:"index,omitempty"`
	Stats       *statsJSON     `json:"stats"`
}

// known reports whether all mandatory fields are known.
func (h *head) known() bool {
	return h.Roots != nil && h.Mode != "" && h.Workers > 0 && h.Complete != nil && h.Stats != nil
}

// tail is what is written after the groups.
type tail struct {
	ProblemsLeftOut    int             `json:"problems_left_out,omitempty"`          // on a page
	FoldersLeftOut     int             `json:"duplicate_folders_left_out,omitempty"` // the same
	Sizes              []sizeJSON      `json:"sizes,omitzero"`
	Folders            []folderJSON    `json:"folders,omitzero"`
	FoldersApproximate bool            `json:"folders_approximate,omitempty"`
	Projection         *projectionJSON `json:"projection,omitempty"`
	NoBill             string          `json:"projection_error,omitempty"`
	Next               string          `json:"next,omitempty"` // where the next page begins
}

type selectionJSON struct {
	Roots         []rootJSON `json:"roots"`
	MinSize       int64      `json:"min_size"`
	MaxSize       int64      `json:"max_size"`
	Include       []string   `json:"include"`
	IncludeBase64 [][]byte   `json:"include_base64,omitempty"` // all of them, if one is not UTF-8
	Exclude       []string   `json:"exclude"`
	ExcludeBase64 [][]byte   `json:"exclude_base64,omitempty"` // all of them, if one is not UTF-8

	Newer            time.Time   `json:"newer,omitzero"`
	Older            time.Time   `json:"older,omitzero"`
	FilesFrom        string      `json:"files_from,omitempty"`
	FilesFromBase64  []byte      `json:"files_from_base64,omitempty"`
	Files0From       string      `json:"files0_from,omitempty"`
	Files0FromBase64 []byte      `json:"files0_from_base64,omitempty"`
	CopiesOf         string      `json:"copies_of,omitempty"`
	CopiesOfBase64   []byte      `json:"copies_of_base64,omitempty"`
	Keep             choose.Keep `json:"keep,omitempty"`
	Priority         []string    `json:"priority,omitempty"`
	PriorityBase64   [][]byte    `json:"priority_base64,omitempty"` // all of them, if one is not UTF-8
	Protect          []string    `json:"protect,omitempty"`
	ProtectBase64    [][]byte    `json:"protect_base64,omitempty"` // all of them, if one is not UTF-8
	Isolate          bool        `json:"isolate,omitempty"`
	MinCopies        int         `json:"min_copies,omitempty"`
	Unique           bool        `json:"unique,omitempty"`
	Folders          bool        `json:"folders,omitempty"`
}

type rootJSON struct {
	pathJSON
	Absolute       string          `json:"absolute,omitempty"`
	AbsoluteBase64 []byte          `json:"absolute_base64,omitempty"`
	FileSystem     *fileSystemJSON `json:"file_system,omitempty"`
}

type fileSystemJSON struct {
	Type     string `json:"type"`
	Identity string `json:"identity"`
}

type indexUseJSON struct {
	Used bool   `json:"used"`
	Why  string `json:"why,omitempty"`
}

type statsJSON struct {
	Files            int64    `json:"files"`
	Bytes            int64    `json:"bytes"`
	Directories      int64    `json:"directories"`
	Opens            int64    `json:"opens"`
	FilesHashed      int64    `json:"files_hashed"`
	FilesCompared    int64    `json:"files_compared"`
	FilesKnown       int64    `json:"files_known"`
	OpensSpared      int64    `json:"opens_spared"`
	BytesSpared      int64    `json:"bytes_spared"`
	BytesRead        int64    `json:"bytes_read"`
	DuplicateGroups  int64    `json:"duplicate_groups"`
	DuplicateFiles   int64    `json:"duplicate_files"`
	ReclaimableBytes int64    `json:"reclaimable_bytes"`
	ElapsedMS        float64  `json:"elapsed_ms"`
	CPUMS            *float64 `json:"cpu_ms"` // nil if unknown
	PeakMemoryBytes  int64    `json:"peak_memory_bytes"`
	WorkerProcesses  int64    `json:"worker_processes"`

	NFS *nfsJSON `json:"nfs"` // nil if unknown, or if no root is on NFS
}

// nfsJSON is what NFS clients sent, for one file system or the sum of several.
type nfsJSON struct {
	trafficJSON
	Mounts []mountJSON `json:"mounts,omitempty"` // each of several
}

type trafficJSON struct {
	Messages        map[string]int64 `json:"messages"` // by type
	BesidesREAD     int64            `json:"messages_besides_read"`
	MeteredBytes    int64            `json:"metered_metadata_bytes"` // of messages besides READ
	BytesSent       int64            `json:"bytes_sent"`
	BytesReceived   int64            `json:"bytes_received"`
	Retransmissions int64            `json:"retransmissions"`
	Timeouts        int64            `json:"timeouts"`
	RoundTripMS     float64          `json:"round_trip_ms"` // mean; 0 without messages
}

type mountJSON struct {
	Path       string `json:"path,omitempty"`
	PathBase64 []byte `json:"path_base64,omitempty"`
	trafficJSON
}

// sizeJSON counts the duplicates of one size class. A class ends before twice its start.
type sizeJSON struct {
	Min         int64 `json:"min_bytes"`
	Max         int64 `json:"max_bytes"`
	Count       int64 `json:"count"` // copies, including the first of each group
	Bytes       int64 `json:"bytes"`
	Reclaimable int64 `json:"reclaimable_bytes"`
}

type folderJSON struct {
	pathJSON
	Files       int64 `json:"files"`
	Reclaimable int64 `json:"reclaimable_bytes"`
}

// pathJSON is a path in text. A path that is not UTF-8 is there twice: readable, with
// replacement characters for bytes that are not text, and in full.
type pathJSON struct {
	Path       string `json:"path"`
	PathBase64 []byte `json:"path_base64,omitempty"`
}

type problemJSON struct {
	pathJSON
	Op    string `json:"op"`
	Error string `json:"error"`
}

type skippedJSON struct {
	pathJSON
	Rule string `json:"rule"`
}

// documentOf returns everything in a report except what handlers receive one by one.
func documentOf(r dedupe.Report, p *cost.Projection, o Options) document {
	stats := statsOf(r.Stats, o.Dir != "")
	d := document{bill: p}
	d.head = head{
		Schema:    reportSchema,
		Started:   r.Started.UTC(),
		Finished:  r.Finished.UTC(),
		Selection: selectionOf(r, o),
		Mode:      r.Mode,
		Workers:   r.Workers,
		Complete:  &r.Complete,
		Reason:    reasonOf(r),
		Stats:     &stats,
	}
	if o.Tool != (Tool{}) {
		d.Tool = &o.Tool
	}
	d.Roots, d.RootsBase64 = textsOf(r.Roots)
	if r.Index != nil {
		d.Index = &indexUseJSON{r.Index.Used, r.Index.Why}
	}
	return d
}

// statsOf leaves out the paths of mounts unless withPaths.
func statsOf(s dedupe.Stats, withPaths bool) statsJSON {
	return statsJSON{
		Files:            s.Files,
		Bytes:            s.Bytes,
		Directories:      s.Directories,
		Opens:            s.Opens,
		FilesHashed:      s.FilesHashed,
		FilesCompared:    s.FilesCompared,
		FilesKnown:       s.FilesKnown,
		OpensSpared:      s.OpensSpared,
		BytesSpared:      s.BytesSpared,
		BytesRead:        s.BytesRead,
		DuplicateGroups:  s.DuplicateGroups,
		DuplicateFiles:   s.DuplicateFiles,
		ReclaimableBytes: s.ReclaimableBytes,
		ElapsedMS:        Milliseconds(s.Elapsed),
		CPUMS:            CPUMilliseconds(s),
		PeakMemoryBytes:  s.PeakMemory,
		WorkerProcesses:  s.WorkerProcesses,
		NFS:              nfsOf(s.NFS, withPaths),
	}
}

func nfsOf(t *mount.Traffic, withPaths bool) *nfsJSON {
	if t == nil {
		return nil
	}
	out := &nfsJSON{trafficJSON: trafficOf(t)}
	for i := range t.Mounts {
		m := mountJSON{trafficJSON: trafficOf(&t.Mounts[i])}
		if withPaths {
			path := pathOf(t.Mounts[i].Point)
			m.Path, m.PathBase64 = path.Path, path.PathBase64
		}
		out.Mounts = append(out.Mounts, m)
	}
	return out
}

func trafficOf(t *mount.Traffic) trafficJSON {
	return trafficJSON{
		Messages:        t.Messages,
		BesidesREAD:     t.BesidesREAD(),
		MeteredBytes:    t.MeteredBytes,
		BytesSent:       t.BytesSent,
		BytesReceived:   t.BytesReceived,
		Retransmissions: t.Retransmissions,
		Timeouts:        t.Timeouts,
		RoundTripMS:     Milliseconds(t.RoundTrip),
	}
}

func (n *nfsJSON) traffic() *mount.Traffic {
	if n == nil {
		return nil
	}
	out := n.trafficJSON.traffic()
	for _, m := range n.Mounts {
		t := m.trafficJSON.traffic()
		t.Point = m.Path
		if m.PathBase64 != nil {
			t.Point = string(m.PathBase64)
		}
		out.Mounts = append(out.Mounts, t)
	}
	return &out
}

func (t *trafficJSON) traffic() mount.Traffic {
	return mount.Traffic{
		Messages:        t.Messages,
		BytesSent:       t.BytesSent,
		BytesReceived:   t.BytesReceived,
		MeteredBytes:    t.MeteredBytes,
		Retransmissions: t.Retransmissions,
		Timeouts:        t.Timeouts,
		RoundTrip:       duration(t.RoundTripMS),
	}
}

func (s statsJSON) stats() dedupe.Stats {
	var cpu time.Duration
	if s.CPUMS != nil {
		cpu = duration(*s.CPUMS)
	}
	return dedupe.Stats{
		Files:       s.Files,
		Bytes:       s.Bytes,
		Directories: s.Directories,
		Work: dedupe.Work{Opens: s.Opens, BytesRead: s.BytesRead, FilesHashed: s.FilesHashed, FilesCompared: s.FilesCompared,
			FilesKnown: s.FilesKnown, OpensSpared: s.OpensSpared, BytesSpared: s.BytesSpared},
		DuplicateGroups:  s.DuplicateGroups,
		DuplicateFiles:   s.DuplicateFiles,
		ReclaimableBytes: s.ReclaimableBytes,
		Elapsed:          duration(s.ElapsedMS),
		CPU:              cpu,
		CPUUnknown:       s.CPUMS == nil,
		PeakMemory:       s.PeakMemoryBytes,
		WorkerProcesses:  s.WorkerProcesses,
		NFS:              s.NFS.traffic(),
	}
}

// Milliseconds keeps three decimals; nothing here is measured more finely.
func Milliseconds(d time.Duration) float64 { return float64(d.Microseconds()) / 1e3 }

// CPUMilliseconds returns the CPU time of a scan for JSON: nil if it is unknown.
func CPUMilliseconds(s dedupe.Stats) *float64 {
	if s.CPUUnknown {
		return nil
	}
	ms := Milliseconds(s.CPU)
	return &ms
}

func duration(ms float64) time.Duration { return time.Duration(inMillionths(ms)) }

// inMillionths rounds to a millionth, but away from zero where that would hide that a
// number is beyond a limit.
func inMillionths(v float64) int64 {
	rounded := math.Round(v * 1e6)
	switch {
	case rounded >= math.MaxInt64:
		return math.MaxInt64
	case rounded <= math.MinInt64:
		return math.MinInt64
	}
	n := int64(rounded)
	switch exact := float64(n) / 1e6; {
	case v > 0 && exact < v:
		n++
	case v < 0 && exact > v:
		n--
	}
	return n
}

func problemOf(p *dedupe.Problem) problemJSON {
	return problemJSON{pathOf(p.Path), p.Op, p.Err.Error()}
}

func skippedOf(s dedupe.Skipped) skippedJSON { return skippedJSON{pathOf(s.Path), s.Rule} }

func pathOf(path string) pathJSON {
	if utf8.ValidString(path) {
		return pathJSON{Path: path}
	}
	return pathJSON{path, []byte(path)}
}

// textsOf returns strings of any bytes as text, and also in full if one is not UTF-8.
func textsOf(all []string) (texts []string, full [][]byte) {
	texts = make([]string, 0, len(all))
	lossy := false
	for _, s := range all {
		texts = append(texts, s)
		full = append(full, []byte(s))
		lossy = lossy || !utf8.ValidString(s)
	}
	if !lossy {
		return texts, nil
	}
	return texts, full
}

// appendGroup appends the start of a group, up to its files.
func appendGroup(b []byte, g group) []byte {
	b = append(b, `{"size":`...)
	b = strconv.AppendInt(b, g.size, 10)
	b = append(b, `,"digest":"`...)
	b = append(b, g.digest.String()...)
	b = append(b, `","reclaimable_bytes":`...)
	b = strconv.AppendInt(b, g.reclaimable, 10)
	if g.allocated >= 0 {
		b = append(b, `,"reclaimable_allocated_bytes":`...)
		b = strconv.AppendInt(b, g.allocated, 10)
	}
	if g.countsApart() {
		b = append(b, `,"copies":`...)
		b = strconv.AppendInt(b, g.copies, 10)
	}
	return append(b, `,"files":[`...)
}

// appendEndGroup appends what closes a group.
func appendEndGroup(b []byte, g group) []byte {
	b = append(b, ']')
	if g.before > 0 {
		b = append(b, `,"files_before":`...)
		b = strconv.AppendInt(b, g.before, 10)
	}
	if g.leftOut > 0 {
		b = append(b, `,"files_left_out":`...)
		b = strconv.AppendInt(b, g.leftOut, 10)
	}
	return append(b, '}')
}

// appendFile appends a file. Almost all of a large report is files, so this does not use
// encoding/json: it takes half the time and does not allocate.
func appendFile(b []byte, f file) []byte {
	b = append(b, `{"path":`...)
	if plain(f.path) {
		b = append(append(append(b, '"'), f.path...), '"')
	} else {
		b = appendText(b, f.path)
	}
	if !utf8.ValidString(f.path) {
		b = append(b, `,"path_base64":"`...)
		b = base64.StdEncoding.AppendEncode(b, []byte(f.path))
		b = append(b, '"')
	}
	b = append(b, `,"inode":`...)
	b = strconv.AppendUint(b, f.inode, 10)
	b = appendMoment(b, "mtime", f.mtime)
	if f.ctime != (moment{}) {
		b = appendMoment(b, "ctime", f.ctime)
	}
	if f.links > 0 {
		b = append(b, `,"links":`...)
		b = strconv.AppendInt(b, f.links, 10)
		b = append(b, `,"allocated":`...)
		b = strconv.AppendInt(b, f.allocated, 10)
	}
	if f.hardLink {
		b = append(b, `,"hard_link":true`...)
	}
	if f.kept {
		b = append(b, `,"kept":true`...)
	}
	return append(b, '}')
}

// appendUnique appends a file without a duplicate.
func appendUnique(b []byte, f file) []byte {
	b = appendFile(b, f)
	b = append(b[:len(b)-len("}")], `,"size":`...)
	return append(strconv.AppendInt(b, f.size, 10), '}')
}

// appendTwins appends the start of a set of identical folders, up to their paths.
func appendTwins(b []byte, t twin) []byte {
	b = strconv.AppendInt(append(b, `{"files":`...), t.files, 10)
	b = strconv.AppendInt(append(b, `,"bytes":`...), t.bytes, 10)
	b = strconv.AppendInt(append(b, `,"reclaimable_bytes":`...), t.reclaimable, 10)
	return append(b, `,"paths":[`...)
}

// twinJSON is one of several identical folders.
type twinJSON struct {
	pathJSON
	Kept bool `json:"kept,omitempty"`
}

// appendMoment appends a time as RFC 3339. If RFC 3339 cannot express the year, it
// appends the nearest time that RFC 3339 can, and the exact seconds since 1970.
func appendMoment(b []byte, name string, m moment) []byte {
	b = append(append(append(b, `,"`...), name...), `":"`...)
	b = append(m.appendRFC3339(b), '"')
	if !m.fits() {
		b = append(append(append(b, `,"`...), name...), `_unix":`...)
		b = m.appendUnix(b)
	}
	return b
}

const (
	firstSecond = -62167219200 // of year 0
	lastSecond  = 253402300799 // of year 9999
)

// fits reports whether RFC 3339 can express the moment.
func (m moment) fits() bool { return firstSecond <= m.seconds && m.seconds <= lastSecond }

func (m moment) appendRFC3339(b []byte) []byte {
	switch {
	case m.seconds < firstSecond:
		m = moment{firstSecond, 0}
	case m.seconds > lastSecond:
		m = moment{lastSecond, 999_999_999}
	}
	return time.Unix(m.seconds, m.nanoseconds).UTC().AppendFormat(b, time.RFC3339Nano)
}

// appendUnix appends seconds since 1970, with decimals only if there are any.
func (m moment) appendUnix(b []byte) []byte {
	seconds, nanoseconds := m.seconds, m.nanoseconds
	if seconds < 0 && nanoseconds > 0 { // -1 s and 400 ms are -0.6 s
		seconds, nanoseconds = seconds+1, 1e9-nanoseconds
		if seconds == 0 {
			b = append(b, '-')
		}
	}
	b = strconv.AppendInt(b, seconds, 10)
	if nanoseconds == 0 {
		return b
	}
	decimals := strconv.AppendInt(nil, 1e9+nanoseconds, 10) // the 1 keeps the zeros
	decimals[0] = '.'
	for decimals[len(decimals)-1] == '0' {
		decimals = decimals[:len(decimals)-1]
	}
	return append(b, decimals...)
}

// plain reports whether JSON needs no escapes for a string.
func plain(s string) bool {
	for i := range len(s) {
		if c := s[i]; c < ' ' || c > '~' || c == '"' || c == '\\' {
			return false
		}
	}
	return true
}

// appendText appends a string of any bytes as JSON, with replacement characters for bytes
// that are not text.
func appendText(b []byte, s string) []byte {
	text, _ := marshal(s) // a string causes no error
	return append(b, text...)
}
