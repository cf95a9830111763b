package report

import (
	"bufio"
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"math/big"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"efsdedupe/dedupe"
	"efsdedupe/dedupe/cost"
)

// The names of the JSON documents' formats, in their field "schema". They are
// described in report.schema.json, and tests hold them to it.
const (
	reportSchema     = "dedupe.report/v1"
	projectionSchema = "dedupe.projection/v1"
)

type reportJSON struct {
	Schema          string          `json:"schema"`
	Roots           []string        `json:"roots"`
	RootsBase64     []string        `json:"roots_base64,omitempty"` // all of them, if one is not UTF-8
	Mode            dedupe.Mode     `json:"mode"`
	Workers         int             `json:"workers"`
	Complete        bool            `json:"complete"`
	Index           *indexUseJSON   `json:"index,omitempty"`
	Stats           statsJSON       `json:"stats"`
	Groups          []groupJSON     `json:"groups"`
	Problems        []problemJSON   `json:"problems"`
	ProblemsLeftOut int             `json:"problems_left_out,omitempty"` // of a page
	Projection      *projectionJSON `json:"projection,omitempty"`
	NoBill          string          `json:"projection_error,omitempty"`
	Next            string          `json:"next,omitempty"` // where the next page begins
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
	CPUMS            *float64 `json:"cpu_ms"` // nil if it is not known
	PeakMemoryBytes  int64    `json:"peak_memory_bytes"`
	WorkerProcesses  int64    `json:"worker_processes"`
}

type groupJSON struct {
	Size             int64      `json:"size"`
	Digest           string     `json:"digest"`
	ReclaimableBytes int64      `json:"reclaimable_bytes"`
	Files            []fileJSON `json:"files"`
	FilesLeftOut     int        `json:"files_left_out,omitempty"` // of a group too large for a page
}

// pathJSON is a path in text. One that is not UTF-8 is there twice: to be read,
// with a replacement character for what is not text, and in full.
type pathJSON struct {
	Path       string `json:"path"`
	PathBase64 []byte `json:"path_base64,omitempty"`
}

type fileJSON struct {
	pathJSON
	Inode    uint64    `json:"inode"`
	MTime    time.Time `json:"mtime"`
	HardLink bool      `json:"hard_link,omitempty"` // to the inode of an earlier file of the group
}

type problemJSON struct {
	pathJSON
	Op    string `json:"op"`
	Error string `json:"error"`
}

type projectionJSON struct {
	Schema          string      `json:"schema,omitempty"` // of a document of its own
	Calls           int64       `json:"calls"`
	Region          string      `json:"region"`
	Currency        string      `json:"currency"`
	Prices          string      `json:"prices"`
	Usage           usageJSON   `json:"usage"`
	Items           []itemJSON  `json:"items"`
	Total           json.Number `json:"total"`
	ReclaimableCost json.Number `json:"reclaimable_cost"`
	Warnings        []string    `json:"warnings,omitempty"`
	Index           *indexJSON  `json:"index,omitempty"`
}

// indexJSON is an Index and, if a churn was asked for, what it comes to.
type indexJSON struct {
	ReadBytes          int64        `json:"metered_read_bytes"`
	AccessBytes        int64        `json:"metered_access_bytes"`
	MetadataOperations int64        `json:"metadata_operations"`
	OpenOperations     int64        `json:"open_operations"`
	Table              *tableJSON   `json:"table,omitempty"`
	AtChurn            *weighedJSON `json:"at_churn,omitempty"`
}

type tableJSON struct {
	LookUp  millionths `json:"look_up_read_units"`
	Reread  millionths `json:"rewrite_read_units"`
	Rewrite millionths `json:"rewrite_write_units"`
	Files   int64      `json:"files_per_item"`
	Bytes   int64      `json:"stored_bytes"`
}

type weighedJSON struct {
	Churn     millionths     `json:"churn"`
	All       projectionJSON `json:"every_call_reads_all"`
	With      projectionJSON `json:"with_index"`
	BreakEven millionths     `json:"break_even_churn"`
	Repaid    int64          `json:"calls_to_repay"`
}

// millionths is a number that is counted in millionths. Up to a thousand million it
// is written and read without loss.
type millionths int64

func (m millionths) MarshalJSON() ([]byte, error) { return json.Marshal(float64(m) / 1e6) }

func (m *millionths) UnmarshalJSON(b []byte) error {
	var v float64
	err := json.Unmarshal(b, &v)
	*m = millionths(math.Round(v * 1e6))
	return err
}

type itemJSON struct {
	Meter     string      `json:"meter"`
	Quantity  json.Number `json:"quantity"`
	Unit      string      `json:"unit"`
	UnitPrice json.Number `json:"unit_price"`
	Cost      json.Number `json:"cost"`
	Source    string      `json:"source"`
}

func writeJSON(w io.Writer, r dedupe.Report, p *Projection) error {
	doc := reportOf(r, p)
	for _, p := range r.Problems {
		doc.Problems = append(doc.Problems, problemOf(p))
	}
	var rest bytes.Buffer
	if err := encode(&rest, doc); err != nil {
		return err
	}
	// The groups are written one by one: all together would take more memory than
	// the scan. No string in JSON has a quote that is not escaped.
	empty := []byte(`"groups":[`)
	at := bytes.Index(rest.Bytes(), empty) + len(empty)
	b := bufio.NewWriterSize(w, 64<<10)
	b.Write(rest.Next(at))
	var line []byte
	for i, g := range r.Groups {
		if line = line[:0]; i > 0 {
			line = append(line, ',')
		}
		line = fmt.Appendf(line, `{"size":%d,"digest":"%s","reclaimable_bytes":%d,"files":[`, g.Size, g.Digest, g.Reclaimable)
		links := g.HardLinks()
		for k, f := range g.Files {
			if k > 0 {
				line = append(line, ',')
			}
			line = appendFile(line, f, links[k])
			b.Write(line)
			line = line[:0]
		}
		b.Write(append(line, "]}"...))
	}
	b.Write(rest.Bytes())
	return b.Flush()
}

// appendFile appends what encoding/json makes of a fileJSON, in half the time and
// without allocations: of a large report nearly all is files.
func appendFile(b []byte, f dedupe.File, link bool) []byte {
	b = append(b, `{"path":`...)
	if plain(f.Path) {
		b = append(append(append(b, '"'), f.Path...), '"')
	} else {
		var path bytes.Buffer
		encode(&path, f.Path) // of a string: can't fail
		b = append(b, bytes.TrimSuffix(path.Bytes(), []byte("\n"))...)
	}
	if !utf8.ValidString(f.Path) {
		b = append(b, `,"path_base64":"`...)
		b = base64.StdEncoding.AppendEncode(b, []byte(f.Path))
		b = append(b, '"')
	}
	b = append(b, `,"inode":`...)
	b = strconv.AppendUint(b, f.Inode, 10)
	b = append(b, `,"mtime":"`...)
	b = f.ModTime.Time().AppendFormat(b, time.RFC3339Nano)
	b = append(b, '"')
	if link {
		b = append(b, `,"hard_link":true`...)
	}
	return append(b, '}')
}

// plain tells whether a string is in JSON as it is.
func plain(s string) bool {
	for i := range len(s) {
		if c := s[i]; c < ' ' || c > '~' || c == '"' || c == '\\' {
			return false
		}
	}
	return true
}

// reportOf is all of a report but its groups and problems.
func reportOf(r dedupe.Report, p *Projection) reportJSON {
	doc := reportJSON{
		Schema:   reportSchema,
		Roots:    make([]string, 0, len(r.Roots)),
		Mode:     r.Mode,
		Workers:  r.Workers,
		Complete: r.Complete,
		Stats:    statsOf(r.Stats),
		Groups:   []groupJSON{},
		Problems: make([]problemJSON, 0, len(r.Problems)),
	}
	if r.Index != nil {
		doc.Index = &indexUseJSON{r.Index.Used, r.Index.Why}
	}
	lossy := false
	for _, root := range r.Roots {
		doc.Roots = append(doc.Roots, root)
		doc.RootsBase64 = append(doc.RootsBase64, base64.StdEncoding.EncodeToString([]byte(root)))
		lossy = lossy || !utf8.ValidString(root)
	}
	if !lossy {
		doc.RootsBase64 = nil
	}
	switch {
	case p == nil:
	case p.Err != nil:
		doc.NoBill = p.Err.Error()
	default:
		projection := projectionOf(p)
		doc.Projection = &projection
	}
	return doc
}

func writeProjectionJSON(w io.Writer, p *Projection) error {
	if p.Err != nil {
		return fmt.Errorf("no bill: %w", p.Err)
	}
	doc := projectionOf(p)
	doc.Schema = projectionSchema
	return encode(w, doc)
}

func encode(w io.Writer, doc any) error {
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	return e.Encode(doc)
}

func statsOf(s dedupe.Stats) statsJSON {
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
	}
}

// Milliseconds keeps three decimals: nothing here is measured finer.
func Milliseconds(d time.Duration) float64 { return float64(d.Microseconds()) / 1e3 }

// CPUMilliseconds is the CPU time of a scan as JSON has it: nil if it is not known.
func CPUMilliseconds(s dedupe.Stats) *float64 {
	if s.CPUUnknown {
		return nil
	}
	ms := Milliseconds(s.CPU)
	return &ms
}

func duration(ms float64) time.Duration { return time.Duration(math.Round(ms * 1e6)) }

func groupOf(g dedupe.Group) groupJSON {
	group := groupJSON{
		Size:             g.Size,
		Digest:           g.Digest.String(),
		ReclaimableBytes: g.Reclaimable,
		Files:            make([]fileJSON, len(g.Files)),
	}
	links := g.HardLinks()
	for i, f := range g.Files {
		group.Files[i] = fileJSON{pathOf(f.Path), f.Inode, f.ModTime.Time(), links[i]}
	}
	return group
}

func problemOf(p *dedupe.Problem) problemJSON {
	return problemJSON{pathOf(p.Path), p.Op, p.Err.Error()}
}

func pathOf(path string) pathJSON {
	if utf8.ValidString(path) {
		return pathJSON{Path: path}
	}
	return pathJSON{path, []byte(path)}
}

func projectionOf(p *Projection) projectionJSON {
	b := p.Bill
	doc := projectionJSON{
		Calls:           p.Usage.Calls,
		Region:          b.Region,
		Currency:        b.Currency,
		Prices:          b.Date,
		Usage:           usageOf(p.Usage),
		Items:           make([]itemJSON, len(b.Items)),
		Total:           cents(b.Total),
		ReclaimableCost: cents(b.Reclaimable),
		Warnings:        b.Warnings,
	}
	for i, item := range b.Items {
		doc.Items[i] = itemJSON{
			Meter:     item.Meter,
			Quantity:  json.Number(cost.Decimal(item.Quantity, 6)),
			Unit:      item.Unit,
			UnitPrice: json.Number(cost.Decimal(item.UnitPrice, 16)),
			Cost:      cents(item.Cost),
			Source:    item.Source + ", " + item.Checked,
		}
	}
	if p.Index != nil {
		doc.Index = indexOf(p)
	}
	return doc
}

func indexOf(p *Projection) *indexJSON {
	x := p.Index
	doc := &indexJSON{x.ReadBytes, x.AccessBytes, x.MetadataOperations, x.OpenOperations, nil, nil}
	if i := x.Items; i != (cost.Items{}) {
		doc.Table = &tableJSON{millionths(i.LookUp), millionths(i.Reread), millionths(i.Rewrite), i.Files, i.Bytes}
	}
	if w := p.Weighed; w != nil {
		doc.AtChurn = &weighedJSON{millionths(w.Churn), projectionOf(w.all()), projectionOf(w.with()), millionths(w.BreakEven), w.Repaid}
	}
	return doc
}

// index is the Index that x was made of.
func (x *indexJSON) index() *Index {
	if x == nil {
		return nil
	}
	index := &Index{x.ReadBytes, x.AccessBytes, x.MetadataOperations, x.OpenOperations, cost.Items{}}
	if t := x.Table; t != nil {
		index.Items = cost.Items{LookUp: int64(t.LookUp), Reread: int64(t.Reread), Rewrite: int64(t.Rewrite), Files: t.Files, Bytes: t.Bytes}
	}
	return index
}

func cents(amount *big.Rat) json.Number { return json.Number(cost.Cents(amount)) }

// usageJSON is a cost.Usage, flat: what each call uses, and what is stored.
type usageJSON struct {
	Arch               cost.Arch         `json:"arch"`
	MemoryMB           int64             `json:"memory_mb"`
	DurationMS         float64           `json:"duration_ms"`
	EphemeralMB        int64             `json:"ephemeral_storage_mb,omitempty"`
	Provisioned        int64             `json:"provisioned_concurrency,omitempty"`
	API                cost.API          `json:"api"`
	RequestBytes       int64             `json:"request_bytes"`
	Throughput         cost.Throughput   `json:"throughput"`
	ProvisionedMiBps   int64             `json:"provisioned_mibps,omitempty"`
	ReadBytes          int64             `json:"metered_read_bytes"`
	AccessBytes        int64             `json:"metered_access_bytes"`
	MetadataOperations int64             `json:"metadata_operations"`
	StorageClass       cost.StorageClass `json:"storage_class"`
	StoredBytes        int64             `json:"stored_bytes"`
	ReclaimableBytes   int64             `json:"reclaimable_bytes"`
	Known              millionths        `json:"known_share,omitempty"`
	OpenOperations     int64             `json:"open_operations,omitempty"`
	ReadUnits          millionths        `json:"dynamodb_read_units,omitempty"`
	WriteUnits         millionths        `json:"dynamodb_write_units,omitempty"`
	TableBytes         int64             `json:"dynamodb_stored_bytes,omitempty"`
	FreeTier           bool              `json:"free_tier"`
}

func usageOf(u cost.Usage) usageJSON {
	return usageJSON{
		Arch:               u.Lambda.Arch,
		MemoryMB:           u.Lambda.MemoryMB,
		DurationMS:         float64(u.Lambda.Duration) / 1e6, // exact: what is billed is rounded up
		EphemeralMB:        u.Lambda.EphemeralMB,
		Provisioned:        u.Lambda.Provisioned.Environments,
		API:                u.API,
		RequestBytes:       u.RequestBytes,
		Throughput:         u.EFS.Throughput,
		ProvisionedMiBps:   u.EFS.ProvisionedMiBps,
		ReadBytes:          u.EFS.ReadBytes,
		AccessBytes:        u.EFS.AccessBytes,
		MetadataOperations: u.EFS.MetadataOperations,
		StorageClass:       u.EFS.StorageClass,
		StoredBytes:        u.EFS.StoredBytes,
		ReclaimableBytes:   u.EFS.ReclaimableBytes,
		Known:              millionths(u.Index.Known),
		OpenOperations:     u.Index.OpenOperations,
		ReadUnits:          millionths(u.DynamoDB.ReadUnits),
		WriteUnits:         millionths(u.DynamoDB.WriteUnits),
		TableBytes:         u.DynamoDB.StoredBytes,
		FreeTier:           u.FreeTier,
	}
}

// usage is the cost.Usage that u was made of.
func (u usageJSON) usage(calls int64) cost.Usage {
	return OnProvisioned(cost.Usage{
		Calls: calls,
		Lambda: cost.Lambda{
			Arch:        u.Arch,
			MemoryMB:    u.MemoryMB,
			Duration:    duration(u.DurationMS),
			EphemeralMB: u.EphemeralMB,
			Provisioned: cost.ProvisionedConcurrency{Environments: u.Provisioned},
		},
		API:          u.API,
		RequestBytes: u.RequestBytes,
		EFS: cost.EFS{
			Throughput:         u.Throughput,
			ProvisionedMiBps:   u.ProvisionedMiBps,
			ReadBytes:          u.ReadBytes,
			AccessBytes:        u.AccessBytes,
			MetadataOperations: u.MetadataOperations,
			StorageClass:       u.StorageClass,
			StoredBytes:        u.StoredBytes,
			ReclaimableBytes:   u.ReclaimableBytes,
		},
		Index:    cost.Index{Known: int64(u.Known), OpenOperations: u.OpenOperations},
		DynamoDB: cost.DynamoDB{ReadUnits: int64(u.ReadUnits), WriteUnits: int64(u.WriteUnits), StoredBytes: u.TableBytes},
		FreeTier: u.FreeTier,
	})
}

// Saved is what a JSON report, or a projection on its own, says of a scan: all
// but the files.
type Saved struct {
	Mode    dedupe.Mode // empty in a projection
	Workers int
	Stats   dedupe.Stats
	Groups  json.RawMessage // as they are written; nil in a projection
	Usage   cost.Usage
	Region  string // whose prices the projection was made with
	Index   *Index // nil: the scan had none
}

// document is either of the JSON documents, as far as Read reads it.
type document struct {
	projectionJSON
	Mode       dedupe.Mode     `json:"mode"`
	Workers    int             `json:"workers"`
	Stats      statsJSON       `json:"stats"`
	Groups     json.RawMessage `json:"groups"`
	Projection *projectionJSON `json:"projection"`
	NoBill     string          `json:"projection_error"`
}

// Read reads back a JSON report or projection.
func Read(r io.Reader) (Saved, error) {
	var doc document
	d := json.NewDecoder(r)
	if err := d.Decode(&doc); err != nil {
		return Saved{}, fmt.Errorf("not a JSON report: %w", err)
	}
	if _, err := d.Token(); err != io.EOF {
		return Saved{}, errors.New("not a JSON report: there is more after it")
	}
	p := &doc.projectionJSON
	switch doc.Schema {
	case reportSchema:
		p = doc.Projection
	case projectionSchema:
	default:
		return Saved{}, fmt.Errorf("its schema is %q, not %s or %s: use a report that 'dedupe scan --format json' wrote", doc.Schema, reportSchema, projectionSchema)
	}
	if p == nil || p.Usage == (usageJSON{}) {
		return Saved{}, errors.New(strings.TrimSuffix("the report has no projection to take the usage from: "+doc.NoBill, ": "))
	}
	usage := p.Usage.usage(p.Calls)
	if err := usage.Validate(); err != nil {
		return Saved{}, fmt.Errorf("no report has such a usage: %w", err)
	}
	return Saved{doc.Mode, doc.Workers, doc.Stats.stats(), doc.Groups, usage, p.Region, p.Index.index()}, nil
}
