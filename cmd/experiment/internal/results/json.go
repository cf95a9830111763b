package results

import (
	"encoding/json"
	"fmt"
	"io"
	"math"
	"math/big"
	"time"

	"efsdedupe/dedupe/cost"
)

// schema names the format of the JSON document, in its field "schema". It is
// described in results.schema.json, and tests hold documents to it.
const schema = "dedupe.bench/v1"

// document is an experiment in JSON. Read takes the experiment from it; what is
// computed it computes anew.
type document struct {
	Schema   string        `json:"schema"`
	Started  time.Time     `json:"started"`
	Version  string        `json:"version"`
	Machine  Machine       `json:"machine"`
	Setup    setupJSON     `json:"setup"`
	Prices   *pricesJSON   `json:"prices,omitempty"`
	Unpriced []string      `json:"unpriced,omitempty"` // why bills are missing
	Rows     []rowJSON     `json:"rows"`
	Verdict  []verdictJSON `json:"verdict"`
}

type setupJSON struct {
	Boxed        bool         `json:"boxed"`
	Tasks        int          `json:"tasks"`
	Workers      int          `json:"workers"`
	Runs         int          `json:"runs"`
	Instances    int          `json:"instances"`
	HelperMB     int64        `json:"helper_memory_mb,omitempty"`
	TimeoutMS    milliseconds `json:"timeout_ms"`
	FileBytes    int64        `json:"file_bytes"`
	FibSteps     int64        `json:"fib_steps"`
	FetchDelayMS milliseconds `json:"fetch_delay_ms"`
	LatencyMS    milliseconds `json:"latency_ms"`
	Throughput   int64        `json:"throughput_bytes_per_second"`
	FromS3       bool         `json:"from_s3,omitempty"`
	S3LatencyMS  milliseconds `json:"s3_latency_ms,omitempty"`
	Calls        int64        `json:"calls"`
	Region       string       `json:"region"`
	Arch         string       `json:"arch"`
}

type pricesJSON struct {
	Region   string `json:"region"`
	Currency string `json:"currency"`
	Date     string `json:"date"`
}

type rowJSON struct {
	Workload    string     `json:"workload"`
	Mode        string     `json:"mode"`
	MemoryMB    int64      `json:"memory_mb"`
	Digest      string     `json:"digest,omitempty"`
	Helpers     int        `json:"helpers,omitempty"`
	Transitions int        `json:"transitions,omitempty"`
	AtOnce      int        `json:"at_once,omitempty"`
	Basis       string     `json:"basis,omitempty"` // "warm" or "cold": the calls that bill and ratios are of
	Warm        *statsJSON `json:"warm,omitempty"`
	Cold        *statsJSON `json:"cold,omitempty"`
	Bill        *billJSON  `json:"bill,omitempty"`
	ColdBill    *billJSON  `json:"cold_bill,omitempty"`
	CostRatio   float64    `json:"cost_ratio,omitempty"`
	TimeRatio   float64    `json:"time_ratio,omitempty"`
	Runs        []runJSON  `json:"runs,omitempty"`
	Calls       []callJSON `json:"calls"`
}

type statsJSON struct {
	Calls       int     `json:"calls"`
	OutOfMemory int     `json:"out_of_memory"`
	Timeouts    int     `json:"timeouts"`
	Failed      int     `json:"failed"`
	P50         float64 `json:"billed_p50_ms"`
	P95         float64 `json:"billed_p95_ms"`
	Least       float64 `json:"billed_min_ms"`
	Most        float64 `json:"billed_max_ms"`
	Init        float64 `json:"init_p50_ms"`
	CPU         float64 `json:"cpu_p50_ms"`
	OfQuota     float64 `json:"cpu_of_quota_p50"`
	PeakMemory  int64   `json:"peak_memory_max_bytes"`
	ReadBytes   int64   `json:"metered_read_p50_bytes"`
	Metadata    int64   `json:"metadata_operations_p50"`
	Gets        int64   `json:"gets_p50,omitempty"`

	Wait    float64  `json:"wait_p50_ms,omitempty"`
	Helpers float64  `json:"helpers_billed_p50_ms,omitempty"`
	Idle    *float64 `json:"helpers_idle,omitempty"`
}

type billJSON struct {
	Lambda   json.Number `json:"lambda"`
	Requests json.Number `json:"requests"`
	Gateway  json.Number `json:"gateway"`
	EFS      json.Number `json:"efs"`
	S3       json.Number `json:"s3,omitempty"` // missing if nothing is read from there
	Total    json.Number `json:"total"`
	Least    json.Number `json:"total_min"`
	Most     json.Number `json:"total_max"`
	Million  json.Number `json:"million_calls"`

	Helpers     json.Number `json:"helpers,omitempty"`
	Transitions json.Number `json:"transitions,omitempty"`
}

type runJSON struct {
	Run     int         `json:"run"`
	Calls   int         `json:"calls"`
	Cost    json.Number `json:"cost,omitempty"`
	Median  float64     `json:"median_instance_ms"`
	Slowest float64     `json:"slowest_instance_ms"`
}

type callJSON struct {
	Run        int          `json:"run"`
	Instance   int          `json:"instance"`
	Cold       bool         `json:"cold"`
	Outcome    Outcome      `json:"outcome"`
	Error      string       `json:"error,omitempty"`
	Billed     float64      `json:"billed_ms"`
	Init       milliseconds `json:"init_ms"`
	Duration   milliseconds `json:"duration_ms"`
	CPU        milliseconds `json:"cpu_ms"`
	PeakMemory int64        `json:"peak_memory_bytes"`
	OOMKills   int64        `json:"oom_kills"`
	Reads      Reads        `json:"reads"`

	Wait    milliseconds `json:"wait_ms,omitempty"`
	Helpers []helperJSON `json:"helpers,omitempty"`
}

type helperJSON struct {
	Outcome    Outcome      `json:"outcome"`
	Billed     float64      `json:"billed_ms"`
	Init       milliseconds `json:"init_ms"`
	Duration   milliseconds `json:"duration_ms"`
	CPU        milliseconds `json:"cpu_ms"`
	PeakMemory int64        `json:"peak_memory_bytes"`
	Reads      Reads        `json:"reads"`
}

type verdictJSON struct {
	Workload string       `json:"workload"`
	Modes    []modeJSON   `json:"modes"`
	Penalty  *penaltyJSON `json:"penalty,omitempty"`
	Helpers  *gainJSON    `json:"helpers,omitempty"`
}

type gainJSON struct {
	Sentence string       `json:"sentence"`
	MemoryMB int64        `json:"memory_mb"`
	From     int          `json:"pays_off_from,omitempty"`
	Counts   []gainedJSON `json:"counts"`
}

type gainedJSON struct {
	Helpers int      `json:"helpers"`
	Idle    *float64 `json:"helpers_idle,omitempty"`
	Wait    float64  `json:"wait_share"`
	Time    float64  `json:"time_ratio,omitempty"`
	Cost    float64  `json:"cost_ratio,omitempty"`
}

type modeJSON struct {
	Mode     string `json:"mode"`
	Cheapest int64  `json:"cheapest_mb,omitempty"`
	Fastest  int64  `json:"fastest_mb,omitempty"`
	Knee     int64  `json:"knee_mb,omitempty"`
}

type penaltyJSON struct {
	Sentence string   `json:"sentence"`
	MemoryMB int64    `json:"memory_mb,omitempty"`
	Time     float64  `json:"time_ratio,omitempty"`
	CPU      float64  `json:"cpu_ratio,omitempty"`
	Memory   float64  `json:"memory_ratio,omitempty"`
	Bill     *float64 `json:"bill_change,omitempty"`
}

// milliseconds is a duration that was measured or chosen, as a number of
// milliseconds, exact to the nanosecond.
type milliseconds time.Duration

// maxDuration is far above what a call can take, and far below what a float64
// can't hold to the nanosecond.
const maxDuration = 24 * time.Hour

func (m milliseconds) MarshalJSON() ([]byte, error) {
	return json.Marshal(inMS(time.Duration(m)))
}

func (m *milliseconds) UnmarshalJSON(data []byte) error {
	var ms float64
	if err := json.Unmarshal(data, &ms); err != nil {
		return err
	}
	if !(0 <= ms && ms <= float64(maxDuration.Milliseconds())) {
		return fmt.Errorf("a duration is %v ms, allowed: 0 to %d", ms, maxDuration.Milliseconds())
	}
	*m = milliseconds(math.Round(ms * 1e6))
	return nil
}

// inMS is a duration as a number of milliseconds, which is not read back.
func inMS(d time.Duration) float64 { return float64(d) / 1e6 }

func writeJSON(b io.Writer, r *results) error {
	doc := document{
		Schema:   schema,
		Started:  r.Started.UTC(),
		Version:  r.Version,
		Machine:  r.Machine,
		Setup:    setupOf(r.Setup),
		Unpriced: r.prices.unpriced,
		Rows:     make([]rowJSON, len(r.rows)),
		Verdict:  make([]verdictJSON, len(r.workloads)),
	}
	if book := r.prices.book; book != nil {
		doc.Prices = &pricesJSON{book.Region, book.Currency, book.Date}
	}
	for i := range r.rows {
		doc.Rows[i] = r.rows[i].json(r.Setup.HelperMB)
	}
	for i := range r.workloads {
		doc.Verdict[i] = r.workloads[i].json()
	}
	e := json.NewEncoder(b)
	e.SetEscapeHTML(false)
	return e.Encode(doc)
}

func setupOf(s Setup) setupJSON {
	return setupJSON{
		Boxed:        s.Boxed,
		Tasks:        s.Tasks,
		Workers:      s.Workers,
		Runs:         s.Runs,
		Instances:    s.Instances,
		HelperMB:     s.HelperMB,
		TimeoutMS:    milliseconds(s.Timeout),
		FileBytes:    s.FileBytes,
		FibSteps:     s.FibSteps,
		FetchDelayMS: milliseconds(s.FetchDelay),
		LatencyMS:    milliseconds(s.Latency),
		Throughput:   s.Throughput,
		FromS3:       s.FromS3,
		S3LatencyMS:  milliseconds(s.S3Latency),
		Calls:        s.Calls,
		Region:       s.Region,
		Arch:         s.Arch,
	}
}

func (r *row) json(helperMB int64) rowJSON {
	doc := rowJSON{
		Workload:    r.Workload,
		Mode:        r.Mode,
		MemoryMB:    r.MemoryMB,
		Digest:      r.Digest,
		Helpers:     r.Helpers,
		Transitions: r.Transitions,
		AtOnce:      r.AtOnce,
		Warm:        r.warm.json(helperMB),
		Cold:        r.cold.json(helperMB),
		Bill:        r.bill.json(r.Series),
		ColdBill:    r.coldBill.json(r.Series),
		CostRatio:   r.costRatio,
		TimeRatio:   r.timeRatio,
		Calls:       make([]callJSON, len(r.Calls)),
	}
	switch r.basis() {
	case nil:
	case r.warm:
		doc.Basis = "warm"
	case r.cold:
		doc.Basis = "cold"
	}
	for _, run := range r.runs {
		doc.Runs = append(doc.Runs, run.json())
	}
	for i, c := range r.Calls {
		doc.Calls[i] = callOf(c)
	}
	return doc
}

func (s *stats) json(helperMB int64) *statsJSON {
	if s == nil {
		return nil
	}
	doc := &statsJSON{
		Calls:       s.calls,
		OutOfMemory: s.outOfMemory,
		Timeouts:    s.timeouts,
		Failed:      s.failed,
		P50:         inMS(s.p50),
		P95:         inMS(s.p95),
		Least:       inMS(s.least),
		Most:        inMS(s.most),
		Init:        inMS(s.init),
		CPU:         inMS(s.cpu),
		OfQuota:     s.ofQuota,
		PeakMemory:  s.peakMemory,
		ReadBytes:   s.reads.MeteredReadBytes,
		Metadata:    s.reads.MetadataOperations,
		Gets:        s.reads.Gets,
		Wait:        inMS(s.wait),
		Helpers:     inMS(s.helpersBilled),
	}
	if idle, ok := s.idle(helperMB); ok {
		doc.Idle = &idle
	}
	return doc
}

func (b *bill) json(s *Series) *billJSON {
	if b == nil {
		return nil
	}
	cents := func(amount *big.Rat) json.Number { return json.Number(cost.Cents(amount)) }
	doc := &billJSON{
		Lambda:   cents(b.lambda),
		Requests: cents(b.requests),
		Gateway:  cents(b.gateway),
		EFS:      cents(b.efs),
		Total:    cents(b.total),
		Least:    cents(b.least),
		Most:     cents(b.most),
		Million:  json.Number(cost.Decimal(b.million, 6)),
	}
	if b.s3.Sign() > 0 {
		doc.S3 = cents(b.s3)
	}
	if s.Helpers > 0 {
		doc.Helpers, doc.Transitions = cents(b.helpers), cents(b.transitions)
	}
	return doc
}

func (r run) json() runJSON {
	doc := runJSON{
		Run:     r.number,
		Calls:   r.calls,
		Median:  inMS(r.median),
		Slowest: inMS(r.slowest),
	}
	if r.cost != nil {
		doc.Cost = json.Number(cost.Decimal(r.cost, 12))
	}
	return doc
}

func callOf(c Call) callJSON {
	doc := callJSON{
		Run:        c.Run,
		Instance:   c.Instance,
		Cold:       c.Cold,
		Outcome:    c.Outcome,
		Error:      c.Error,
		Billed:     inMS(c.Billed()),
		Init:       milliseconds(c.Init),
		Duration:   milliseconds(c.Duration),
		CPU:        milliseconds(c.CPU),
		PeakMemory: c.PeakMemory,
		OOMKills:   c.OOMKills,
		Reads:      c.Reads,
		Wait:       milliseconds(c.Wait),
	}
	for _, h := range c.Helpers {
		doc.Helpers = append(doc.Helpers, helperJSON{h.Outcome, inMS(h.billed()), milliseconds(h.Init), milliseconds(h.Duration), milliseconds(h.CPU), h.PeakMemory, h.Reads})
	}
	return doc
}

func (w *workload) json() verdictJSON {
	doc := verdictJSON{Workload: w.name, Modes: make([]modeJSON, len(w.modes)), Helpers: w.gain.json()}
	memory := func(r *row) int64 {
		if r == nil {
			return 0
		}
		return r.MemoryMB
	}
	for i, m := range w.modes {
		doc.Modes[i] = modeJSON{m.name, memory(m.cheapest), memory(m.fastest), memory(m.knee)}
	}
	if p := w.penalty; p != nil {
		doc.Penalty = &penaltyJSON{p.sentence, p.memoryMB, p.time, p.cpu, p.memory, p.bill}
	}
	return doc
}
