package report

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/big"
	"strconv"
	"strings"

	"efsdedupe/dedupe/cost"
)

// projectionJSON is a cost.Projection. It has each amount twice: as a number, and as the
// same decimal in a string that no parser rounds, for programs that add amounts up.
type projectionJSON struct {
	Schema             string      `json:"schema,omitempty"` // only in a document of its own
	Calls              int64       `json:"calls"`
	Region             string      `json:"region"`
	Currency           string      `json:"currency"`
	Prices             string      `json:"prices"`
	Usage              usageJSON   `json:"usage"`
	Items              []itemJSON  `json:"items"`
	Total              json.Number `json:"total"`
	TotalDecimal       string      `json:"total_decimal,omitempty"`
	ReclaimableCost    json.Number `json:"reclaimable_cost"`
	ReclaimableDecimal string      `json:"reclaimable_cost_decimal,omitempty"`
	Warnings           []string    `json:"warnings,omitempty"`
	AtColdShare        []coldJSON  `json:"at_cold_share,omitempty"`
	Index              *indexJSON  `json:"index,omitempty"`
}

// coldJSON is a cost.ColdTotal.
type coldJSON struct {
	Share        millionths  `json:"cold_share"`
	Total        json.Number `json:"total"`
	TotalDecimal string      `json:"total_decimal,omitempty"`
}

// indexJSON is a cost.Unindexed and, if a churn was asked for, the comparison at that
// churn.
type indexJSON struct {
	ReadBytes          int64        `json:"metered_read_bytes"`
	AccessBytes        int64        `json:"metered_access_bytes"`
	MetadataOperations int64        `json:"metadata_operations"`
	MetadataBytes      int64        `json:"metered_metadata_bytes"`
	WarmOperations     int64        `json:"warm_metadata_operations"`
	WarmBytes          int64        `json:"metered_warm_metadata_bytes"`
	OpenOperations     int64        `json:"open_operations"`
	RelistOperations   int64        `json:"relist_operations"`
	RelistBytes        int64        `json:"metered_relist_bytes"`
	FilesPerDirectory  int64        `json:"files_per_directory"`
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

// millionths is a number counted in millionths. Up to a thousand million it is written
// and read without loss.
type millionths int64

func (m millionths) MarshalJSON() ([]byte, error) { return json.Marshal(float64(m) / 1e6) }

func (m *millionths) UnmarshalJSON(b []byte) error {
	var v float64
	err := json.Unmarshal(b, &v)
	*m = millionths(inMillionths(v))
	return err
}

type itemJSON struct {
	Meter            string      `json:"meter"`
	Quantity         json.Number `json:"quantity"`
	Unit             string      `json:"unit"`
	UnitPrice        json.Number `json:"unit_price"`
	UnitPriceDecimal string      `json:"unit_price_decimal,omitempty"`
	Cost             json.Number `json:"cost"`
	CostDecimal      string      `json:"cost_decimal,omitempty"`
	Source           string      `json:"source"`
}

func writeProjectionJSON(w io.Writer, p *cost.Projection) error {
	if p.Err != nil {
		return fmt.Errorf("no bill: %w", p.Err)
	}
	doc := projectionOf(p)
	doc.Schema = projectionSchema
	return encode(w, doc)
}

func projectionOf(p *cost.Projection) projectionJSON {
	b := p.Bill
	total, reclaimable := cost.Amount(b.Total), b.Amount(b.Reclaimable)
	doc := projectionJSON{
		Calls:              p.Usage.Calls,
		Region:             b.Region,
		Currency:           b.Currency,
		Prices:             b.Date,
		Usage:              usageOf(p.Usage),
		Items:              make([]itemJSON, len(b.Items)),
		Total:              json.Number(total),
		TotalDecimal:       total,
		ReclaimableCost:    json.Number(reclaimable),
		ReclaimableDecimal: reclaimable,
		Warnings:           b.Warnings,
	}
	for i, item := range b.Items {
		unitPrice, amount := cost.Decimal(item.UnitPrice, 16), b.Amount(item.Cost)
		doc.Items[i] = itemJSON{
			Meter:            item.Meter,
			Quantity:         json.Number(cost.Decimal(item.Quantity, 6)),
			Unit:             item.Unit,
			UnitPrice:        json.Number(unitPrice),
			UnitPriceDecimal: unitPrice,
			Cost:             json.Number(amount),
			CostDecimal:      amount,
			Source:           item.Source + ", " + item.Checked,
		}
	}
	for _, c := range p.AtColdShare {
		total := cost.Amount(c.Total)
		doc.AtColdShare = append(doc.AtColdShare, coldJSON{millionths(c.Share), json.Number(total), total})
	}
	if p.Index != nil {
		doc.Index = indexOf(p)
	}
	return doc
}

func indexOf(p *cost.Projection) *indexJSON {
	x := p.Index
	doc := &indexJSON{
		ReadBytes:          x.ReadBytes,
		AccessBytes:        x.AccessBytes,
		MetadataOperations: x.MetadataOperations,
		MetadataBytes:      x.MetadataBytes,
		WarmOperations:     x.WarmMetadata.Count,
		WarmBytes:          x.WarmMetadata.Bytes,
		OpenOperations:     x.OpenOperations,
		RelistOperations:   x.Relisting.Count,
		RelistBytes:        x.Relisting.Bytes,
		FilesPerDirectory:  x.Relisting.Files,
	}
	if i := x.Items; i != (cost.Items{}) {
		doc.Table = &tableJSON{millionths(i.LookUp), millionths(i.Reread), millionths(i.Rewrite), i.Files, i.Bytes}
	}
	if w := p.Weighed; w != nil {
		doc.AtChurn = &weighedJSON{
			Churn:     millionths(w.Churn),
			All:       projectionOf(&cost.Projection{Usage: w.All, Bill: w.AllBill, AtColdShare: w.AllAtColdShare}),
			With:      projectionOf(&cost.Projection{Usage: w.IndexUsage, Bill: w.IndexBill, AtColdShare: w.IndexAtColdShare}),
			BreakEven: millionths(w.BreakEven),
			Repaid:    w.Repaid,
		}
	}
	return doc
}

// index turns x back into a cost.Unindexed.
func (x *indexJSON) index() *cost.Unindexed {
	if x == nil {
		return nil
	}
	index := &cost.Unindexed{
		ReadBytes:          x.ReadBytes,
		AccessBytes:        x.AccessBytes,
		MetadataOperations: x.MetadataOperations,
		MetadataBytes:      x.MetadataBytes,
		WarmMetadata:       cost.Messages{Count: x.WarmOperations, Bytes: x.WarmBytes},
		OpenOperations:     x.OpenOperations,
		Relisting:          cost.Relisting{Messages: cost.Messages{Count: x.RelistOperations, Bytes: x.RelistBytes}, Files: x.FilesPerDirectory},
	}
	if t := x.Table; t != nil {
		index.Items = cost.Items{LookUp: int64(t.LookUp), Reread: int64(t.Reread), Rewrite: int64(t.Rewrite), Files: t.Files, Bytes: t.Bytes}
	}
	return index
}

// usageJSON is a flat cost.Usage: what each call uses, and what is stored.
type usageJSON struct {
	Hours              int64             `json:"hours_a_month,omitempty"`
	Warm               millionths        `json:"warm_share,omitempty"`
	Arch               cost.Arch         `json:"arch"`
	MemoryMB           int64             `json:"memory_mb"`
	DurationMS         float64           `json:"duration_ms"`
	InitMS             float64           `json:"init_ms,omitempty"`
	EphemeralMB        int64             `json:"ephemeral_storage_mb,omitempty"`
	Provisioned        int64             `json:"provisioned_concurrency,omitempty"`
	API                cost.API          `json:"api"`
	RequestBytes       int64             `json:"request_bytes"`
	Throughput         cost.Throughput   `json:"throughput"`
	ProvisionedMiBps   int64             `json:"provisioned_mibps,omitempty"`
	PeakFactor         millionths        `json:"peak_factor,omitempty"`
	ReadBytes          int64             `json:"metered_read_bytes"`
	AccessBytes        int64             `json:"metered_access_bytes"`
	MetadataOperations int64             `json:"metadata_operations"`
	MetadataBytes      int64             `json:"metered_metadata_bytes,omitempty"`
	WarmOperations     int64             `json:"warm_metadata_operations,omitempty"`
	WarmBytes          int64             `json:"metered_warm_metadata_bytes,omitempty"`
	StorageClass       cost.StorageClass `json:"storage_class"`
	StoredBytes        int64             `json:"stored_bytes"`
	ReclaimableBytes   int64             `json:"reclaimable_bytes"`
	StoredFiles        int64             `json:"stored_files,omitempty"`
	StoredDirectories  int64             `json:"stored_directories,omitempty"`
	MeteredStored      int64             `json:"metered_stored_bytes,omitempty"`
	MeteredCold        int64             `json:"metered_cold_stored_bytes,omitempty"`
	ReclaimableFiles   int64             `json:"reclaimable_files,omitempty"`
	MeteredReclaimable int64             `json:"metered_reclaimable_bytes,omitempty"`
	MeteredReclaimCold int64             `json:"metered_cold_reclaimable_bytes,omitempty"`
	Known              millionths        `json:"known_share,omitempty"`
	OpenOperations     int64             `json:"open_operations,omitempty"`
	ReadUnits          millionths        `json:"dynamodb_read_units,omitempty"`
	WriteUnits         millionths        `json:"dynamodb_write_units,omitempty"`
	TableBytes         int64             `json:"dynamodb_stored_bytes,omitempty"`
	LogBytes           int64             `json:"log_bytes,omitempty"`
	AccessLogBytes     int64             `json:"access_log_bytes,omitempty"`
	RetentionDays      int64             `json:"log_retention_days,omitempty"`
	ResponseBytes      int64             `json:"response_bytes,omitempty"`
	Metrics            int64             `json:"custom_metrics,omitempty"`
	Alarms             int64             `json:"alarms,omitempty"`
	FreeTier           bool              `json:"free_tier"`
}

func usageOf(u cost.Usage) usageJSON {
	e, x := u.EFS, u.Extras
	return usageJSON{
		Hours:              u.Hours,
		Warm:               millionths(u.Warm),
		Arch:               u.Lambda.Arch,
		MemoryMB:           u.Lambda.MemoryMB,
		DurationMS:         float64(u.Lambda.Duration) / 1e6, // exact: AWS rounds the billed duration up
		InitMS:             float64(u.Lambda.Init) / 1e6,
		EphemeralMB:        u.Lambda.EphemeralMB,
		Provisioned:        u.Lambda.Provisioned.Environments,
		API:                u.API,
		RequestBytes:       u.RequestBytes,
		Throughput:         e.Throughput,
		ProvisionedMiBps:   e.ProvisionedMiBps,
		PeakFactor:         millionths(e.PeakFactor),
		ReadBytes:          e.ReadBytes,
		AccessBytes:        e.AccessBytes,
		MetadataOperations: e.MetadataOperations,
		MetadataBytes:      e.MetadataBytes,
		WarmOperations:     e.WarmMetadata.Count,
		WarmBytes:          e.WarmMetadata.Bytes,
		StorageClass:       e.StorageClass,
		StoredBytes:        e.StoredBytes,
		ReclaimableBytes:   e.ReclaimableBytes,
		StoredFiles:        e.Stored.Files,
		StoredDirectories:  e.Stored.Directories,
		MeteredStored:      e.Stored.Bytes,
		MeteredCold:        e.Stored.ColdBytes,
		ReclaimableFiles:   e.Reclaimable.Files,
		MeteredReclaimable: e.Reclaimable.Bytes,
		MeteredReclaimCold: e.Reclaimable.ColdBytes,
		Known:              millionths(u.Index.Known),
		OpenOperations:     u.Index.OpenOperations,
		ReadUnits:          millionths(u.DynamoDB.ReadUnits),
		WriteUnits:         millionths(u.DynamoDB.WriteUnits),
		TableBytes:         u.DynamoDB.StoredBytes,
		LogBytes:           x.LogBytes,
		AccessLogBytes:     x.AccessLogBytes,
		RetentionDays:      x.RetentionDays,
		ResponseBytes:      x.ResponseBytes,
		Metrics:            x.Metrics,
		Alarms:             x.Alarms,
		FreeTier:           u.FreeTier,
	}
}

// usage turns u back into a cost.Usage.
func (u usageJSON) usage(calls int64) cost.Usage {
	return cost.OnProvisioned(cost.Usage{
		Calls: calls,
		Hours: u.Hours,
		Warm:  int64(u.Warm),
		Lambda: cost.Lambda{
			Arch:        u.Arch,
			MemoryMB:    u.MemoryMB,
			Duration:    duration(u.DurationMS),
			Init:        duration(u.InitMS),
			EphemeralMB: u.EphemeralMB,
			Provisioned: cost.ProvisionedConcurrency{Environments: u.Provisioned},
		},
		API:          u.API,
		RequestBytes: u.RequestBytes,
		EFS:          u.efs(),
		Index:        cost.Index{Known: int64(u.Known), OpenOperations: u.OpenOperations},
		DynamoDB:     cost.DynamoDB{ReadUnits: int64(u.ReadUnits), WriteUnits: int64(u.WriteUnits), StoredBytes: u.TableBytes},
		Extras: cost.Extras{
			LogBytes:       u.LogBytes,
			AccessLogBytes: u.AccessLogBytes,
			RetentionDays:  u.RetentionDays,
			ResponseBytes:  u.ResponseBytes,
			Metrics:        u.Metrics,
			Alarms:         u.Alarms,
		},
		FreeTier: u.FreeTier,
	})
}

func (u usageJSON) efs() cost.EFS {
	return cost.EFS{
		Throughput:         u.Throughput,
		ProvisionedMiBps:   u.ProvisionedMiBps,
		PeakFactor:         int64(u.PeakFactor),
		ReadBytes:          u.ReadBytes,
		AccessBytes:        u.AccessBytes,
		MetadataOperations: u.MetadataOperations,
		MetadataBytes:      u.MetadataBytes,
		WarmMetadata:       cost.Messages{Count: u.WarmOperations, Bytes: u.WarmBytes},
		StorageClass:       u.StorageClass,
		StoredBytes:        u.StoredBytes,
		ReclaimableBytes:   u.ReclaimableBytes,
		Stored:             cost.Objects{Files: u.StoredFiles, Directories: u.StoredDirectories, Bytes: u.MeteredStored, ColdBytes: u.MeteredCold},
		Reclaimable:        cost.Objects{Files: u.ReclaimableFiles, Bytes: u.MeteredReclaimable, ColdBytes: u.MeteredReclaimCold},
	}
}

// writeBill sets the fields of JSON from the bill, unless the report came with them. Text
// does without.
func (d *document) writeBill() {
	switch {
	case d.bill == nil || d.NoBill != "" || d.Projection != nil:
	case d.bill.Err != nil:
		d.NoBill = d.bill.Err.Error()
	default:
		projection := projectionOf(d.bill)
		d.Projection = &projection
	}
}

// readBill sets the bill from the fields of JSON, unless it is known.
func (d *document) readBill() (err error) {
	switch {
	case d.bill != nil:
	case d.NoBill != "":
		d.bill = &cost.Projection{Err: errors.New(d.NoBill)}
	case d.Projection != nil:
		if d.bill, err = d.Projection.projection(); err != nil {
			return fmt.Errorf("not a JSON report: %w", err)
		}
		written := projectionOf(d.bill)
		d.Projection = &written
	}
	return err
}

// projection turns doc back into a cost.Projection, with amounts in cents.
func (doc *projectionJSON) projection() (*cost.Projection, error) {
	if doc.Usage == (usageJSON{}) {
		return nil, errors.New("the projection has no usage")
	}
	bill := &cost.Bill{Region: doc.Region, Currency: doc.Currency, Date: doc.Prices, Warnings: doc.Warnings}
	var a amounts
	bill.Total, bill.Reclaimable = a.read("total", doc.Total), a.read("reclaimable_cost", doc.ReclaimableCost)
	for _, i := range doc.Items {
		source, checked := i.Source, ""
		if at := strings.LastIndex(source, ", "); at >= 0 {
			source, checked = source[:at], source[at+2:]
		}
		bill.Items = append(bill.Items, cost.Item{
			Meter: i.Meter, Unit: i.Unit, Source: source, Checked: checked,
			Quantity: a.read("quantity", i.Quantity), UnitPrice: a.read("unit_price", i.UnitPrice), Cost: a.read("cost", i.Cost),
		})
	}
	p := &cost.Projection{Usage: doc.Usage.usage(doc.Calls), Bill: bill, Index: doc.Index.index()}
	for _, c := range doc.AtColdShare {
		p.AtColdShare = append(p.AtColdShare, cost.ColdTotal{Share: int64(c.Share), Total: a.read("total", c.Total)})
	}
	if a.err != nil {
		return nil, a.err
	}
	if p.Index == nil || doc.Index.AtChurn == nil {
		return p, nil
	}
	var err error
	p.Weighed, err = doc.Index.AtChurn.weighed(p.Index)
	return p, err
}

// weighed turns w back into a cost.Weighed.
func (w *weighedJSON) weighed(x *cost.Unindexed) (*cost.Weighed, error) {
	all, err := w.All.projection()
	if err != nil {
		return nil, err
	}
	with, err := w.With.projection()
	if err != nil {
		return nil, err
	}
	return &cost.Weighed{
		Choice:     cost.Choice{All: all.Usage, OpenOperations: x.OpenOperations, Relisting: x.Relisting, Items: x.Items},
		Churn:      int64(w.Churn),
		IndexUsage: with.Usage,
		AllBill:    all.Bill,
		IndexBill:  with.Bill,

		AllAtColdShare:   all.AtColdShare,
		IndexAtColdShare: with.AtColdShare,

		BreakEven: int64(w.BreakEven),
		Repaid:    w.Repaid,
	}, nil
}

// amounts reads numbers exactly and keeps the first error.
type amounts struct{ err error }

func (a *amounts) read(name string, n json.Number) *big.Rat {
	_, exponent, hasExponent := strings.Cut(strings.ToLower(string(n)), "e")
	size, err := strconv.Atoi(exponent)
	if err != nil && hasExponent || size < -400 || size > 400 || len(n) > 1000 { // nothing costs that much, and it would take too much memory
		a.err = fmt.Errorf("%s is %.20s: no bill has such a number", name, n)
		return new(big.Rat)
	}
	r, ok := new(big.Rat).SetString(string(n))
	if !ok && a.err == nil {
		a.err = fmt.Errorf("%s is %.20q, not a number", name, string(n))
	}
	return r
}
