package cost

import (
	"bytes"
	"embed"
	"errors"
	"fmt"
	"io"
	"math/big"
	"slices"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

//go:embed prices/*.json
var files embed.FS

// Book is the price book of one region.
type Book struct {
	Region   string // such as "us-east-1"
	Currency string // ISO 4217, such as "USD"
	Date     string // month of the newest figure, as "2026-11"

	prices map[string]price
}

// price is what one meter costs.
type price struct {
	meter   string
	unit    string
	source  string
	checked string   // month, as "2026-11"
	free    *big.Rat // monthly units in the free tier; nil if none
	tiers   []tier
}

// tier is a range of a month's quantity with one unit price.
type tier struct {
	size  *big.Rat // units; nil means no end
	price *big.Rat // per unit
}

// Regions lists the regions that have a price book, sorted.
func Regions() []string {
	entries, err := files.ReadDir("prices")
	if err != nil {
		panic(err) // the directory is part of the program
	}
	regions := make([]string, len(entries))
	for i, e := range entries {
		regions[i] = strings.TrimSuffix(e.Name(), ".json")
	}
	slices.Sort(regions)
	return regions
}

// Prices returns the price book of a region. For an unknown region its error lists the
// known ones.
func Prices(region string) (*Book, error) {
	regions := Regions()
	if !slices.Contains(regions, region) {
		return nil, fmt.Errorf("no prices for region %q (known: %s)", region, strings.Join(regions, ", "))
	}
	data, err := files.ReadFile("prices/" + region + ".json")
	if err != nil {
		return nil, err
	}
	b, err := parseBook(data)
	if err != nil {
		return nil, fmt.Errorf("price book of %s: %w", region, err)
	}
	return b, nil
}

// PriceError lists the prices that a usage needs and a region's book lacks.
type PriceError struct {
	Region string
	Meters []string // such as "api.http"
}

func (e *PriceError) Error() string {
	lines := make([]string, len(e.Meters))
	for i, meter := range e.Meters {
		lines[i] = fmt.Sprintf("no price for %q in %s (known in: %s)", meter, e.Region, some(regionsWith(meter)))
	}
	return strings.Join(lines, "\n")
}

// some names a few regions, and of many only the one that has all prices.
func some(regions []string) string {
	const few, complete = 4, "us-east-1"
	if len(regions) > few && slices.Contains(regions, complete) {
		return fmt.Sprintf("%s and %d others", complete, len(regions)-1)
	}
	return strings.Join(regions, ", ")
}

// regionsWith lists the regions whose books have a price for a meter.
func regionsWith(meter string) []string {
	return slices.DeleteFunc(Regions(), func(region string) bool {
		book, err := Prices(region)
		return err != nil || book.prices[meter].meter == ""
	})
}

// ParseBook reads a price book that the user gives, in the format of those that [Prices]
// returns. It is as strict as for those, and allows only meters and units that bills have:
// a price for a million requests must not pass for that of one.
func ParseBook(data []byte) (*Book, error) {
	b, err := parseBook(data)
	if err != nil {
		return nil, err
	}
	if len(b.Currency) != 3 || strings.Trim(b.Currency, "ABCDEFGHIJKLMNOPQRSTUVWXYZ") != "" {
		return nil, fmt.Errorf("currency is %q, want three capital letters such as USD", b.Currency)
	}
	for _, p := range b.prices {
		known, ok := meterNamed(p.meter)
		if !ok {
			return nil, fmt.Errorf("meter %q: no bill has it", p.meter)
		}
		if p.unit != known.unit {
			return nil, fmt.Errorf("meter %q: the unit is %q, want %q", p.meter, p.unit, known.unit)
		}
	}
	return b, nil
}

// bookJSON is a price book file. Numbers are decimal strings, so that none passes through
// a float.
type bookJSON struct {
	Region   string            `json:"region"`
	Currency string            `json:"currency"`
	Sources  map[string]string `json:"sources"`
	Prices   []priceJSON       `json:"prices"`
}

type priceJSON struct {
	Meter   string     `json:"meter"`
	Unit    string     `json:"unit"`
	Source  string     `json:"source"`         // a key of Sources
	Checked string     `json:"checked"`        // month, as "2026-11"
	Free    string     `json:"free,omitempty"` // monthly units in the free tier; absent if none
	Tiers   []tierJSON `json:"tiers"`
}

type tierJSON struct {
	UpTo  string `json:"up_to,omitempty"` // units since the start of the month; absent in the last tier
	Price string `json:"price"`           // per unit
}

// parseBook reads a price book file. It rejects anything that could hide an editing
// mistake: unknown or repeated fields, a repeated meter, a figure without a source or a
// date.
func parseBook(data []byte) (*Book, error) {
	var f bookJSON
	d := jsontext.NewDecoder(bytes.NewReader(data))
	if err := json.UnmarshalDecode(d, &f, json.RejectUnknownMembers(true)); err != nil {
		return nil, explainJSON(err)
	}
	if _, err := d.ReadToken(); err != io.EOF {
		return nil, errors.New("data after the book")
	}
	if f.Region == "" || f.Currency == "" || len(f.Prices) == 0 {
		return nil, errors.New("region, currency and prices are required")
	}
	b := &Book{Region: f.Region, Currency: f.Currency, prices: make(map[string]price)}
	for _, e := range f.Prices {
		p, err := e.parse(f.Sources)
		if err != nil {
			return nil, fmt.Errorf("meter %q: %w", e.Meter, err)
		}
		if _, ok := b.prices[p.meter]; ok {
			return nil, fmt.Errorf("meter %q: given twice", p.meter)
		}
		b.prices[p.meter] = p
		b.Date = max(b.Date, p.checked)
	}
	return b, nil
}

// explainJSON says in plain words why something is not the JSON that it should be.
func explainJSON(err error) error {
	var wrong *json.SemanticError
	switch {
	case errors.Is(err, json.ErrUnknownName) && errors.As(err, &wrong):
		return fmt.Errorf("unknown field %s", wrong.JSONPointer)
	case errors.As(err, &wrong) && wrong.GoType != nil:
		return fmt.Errorf("%s: cannot unmarshal a JSON %v as a %v", wrong.JSONPointer, wrong.JSONKind, wrong.GoType.Kind())
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return fmt.Errorf("it ends too early: %w", io.ErrUnexpectedEOF)
	}
	var read interface{ Unwrap() error }
	if strings.HasPrefix(err.Error(), "jsontext: read error") && errors.As(err, &read) {
		return read.Unwrap()
	}
	return errors.New(strings.TrimPrefix(err.Error(), "jsontext: "))
}

func (e priceJSON) parse(sources map[string]string) (price, error) {
	p := price{meter: e.Meter, unit: e.Unit, source: sources[e.Source], checked: e.Checked}
	if p.meter == "" || p.unit == "" {
		return price{}, errors.New("meter and unit are required")
	}
	if p.source == "" {
		return price{}, fmt.Errorf("source %q is not among the sources", e.Source)
	}
	_, err := time.Parse("2006-01", e.Checked)
	if err != nil {
		return price{}, fmt.Errorf("checked: %w", err)
	}
	if e.Free != "" {
		if p.free, err = parseDecimal(e.Free); err != nil {
			return price{}, fmt.Errorf("free: %w", err)
		}
	}
	if p.tiers, err = parseTiers(e.Tiers); err != nil {
		return price{}, err
	}
	return p, nil
}

// parseTiers turns bounds into sizes. Bounds ascend, and only the last tier has none.
func parseTiers(list []tierJSON) ([]tier, error) {
	if len(list) == 0 {
		return nil, errors.New("no tiers")
	}
	var tiers []tier
	from := new(big.Rat)
	for i, e := range list {
		unitPrice, err := parseDecimal(e.Price)
		if err != nil {
			return nil, fmt.Errorf("price: %w", err)
		}
		if last := i == len(list)-1; last != (e.UpTo == "") {
			return nil, errors.New("every tier but the last has an up_to")
		}
		t := tier{price: unitPrice}
		if e.UpTo != "" {
			upTo, err := parseDecimal(e.UpTo)
			if err != nil {
				return nil, fmt.Errorf("up_to: %w", err)
			}
			if upTo.Cmp(from) <= 0 {
				return nil, fmt.Errorf("up_to %s: tiers do not ascend", e.UpTo)
			}
			t.size = new(big.Rat).Sub(upTo, from)
			from = upTo
		}
		tiers = append(tiers, t)
	}
	return tiers, nil
}

// parseDecimal reads digits with at most one point among them. [big.Rat.SetString]
// accepts more: signs, fractions, exponents, hexadecimal.
func parseDecimal(s string) (*big.Rat, error) {
	const most = 200 // characters; a price in a price list has 12
	whole, fraction, point := strings.Cut(s, ".")
	if len(s) <= most && isDigits(whole) && (!point || isDigits(fraction)) {
		if r, ok := new(big.Rat).SetString(s); ok {
			return r, nil
		}
	}
	return nil, fmt.Errorf("%.40q is not a decimal number", s)
}

func isDigits(s string) bool {
	return s != "" && strings.Trim(s, "0123456789") == ""
}
