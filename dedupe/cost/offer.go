package cost

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/big"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// Offer is what one of AWS's offer files says about the meters of bills: the prices on
// demand of one service, in one region or all.
type Offer struct {
	Code    string // such as "AmazonEFS"
	Version string // such as "20260911124425"
	Date    string // month in which it was published, as "2026-09"

	quotes []quote
}

// quote is what a product of an offer costs. Its usage type may be one of another
// service's meters.
type quote struct {
	region string
	usage  string // see meterInfo
	unit   string

	currency string // such as "USD"
	tiers    []tierJSON
	free     *big.Rat // units that cost nothing, before those of tiers; 0 if none
}

// ReadOffer reads an offer file in the format of the Price List Bulk API, version 1. It
// keeps only what may price a meter, because some files have gigabytes.
func ReadOffer(r io.Reader) (*Offer, error) {
	o := offerReader{in: jsontext.NewDecoder(r), wanted: wantedUsages()}
	if err := o.read(); err != nil {
		return nil, explainJSON(err)
	}
	return o.finish()
}

// wantedUsages are the usage types that price meters.
func wantedUsages() map[string]bool {
	wanted := make(map[string]bool)
	for _, m := range meterInfos() {
		wanted[m.free] = true
		for _, usage := range m.usages {
			wanted[usage] = true
		}
	}
	delete(wanted, "")
	return wanted
}

// offerReader reads an offer file from start to end.
type offerReader struct {
	in     *jsontext.Decoder
	wanted map[string]bool

	format, published string
	offer             Offer
	products          map[string]quote           // by SKU; nil until the file has listed them
	terms             map[string]map[string]term // by SKU, of products, or of all until there are products
}

// product is an entry of products in an offer file.
type product struct {
	Attributes struct {
		Region    string `json:"regionCode"`
		From      string `json:"fromRegionCode"` // instead, for data transfer
		Place     string `json:"locationType"`
		FromPlace string `json:"fromLocationType"` // likewise
		Usage     string `json:"usagetype"`
		Access    string `json:"accessType"` // of EFS, "Read" or "Write"
		Operation string `json:"operation"`
	} `json:"attributes"`
}

// term is a way to buy a product.
type term struct {
	Effective  string               `json:"effectiveDate"`
	Dimensions map[string]dimension `json:"priceDimensions"`
}

// dimension is the price of a range of a month's units.
type dimension struct {
	Begin string            `json:"beginRange"`
	End   string            `json:"endRange"` // "Inf" for no end
	Unit  string            `json:"unit"`
	Price map[string]string `json:"pricePerUnit"` // by currency
}

func (r *offerReader) read() error {
	if r.in.PeekKind() != '{' {
		if _, err := r.in.ReadToken(); err != nil {
			return err
		}
		return errors.New("it is not an offer file: it is not a JSON object")
	}
	err := r.members(func(name string) error {
		switch name {
		case "formatVersion":
			return json.UnmarshalDecode(r.in, &r.format)
		case "offerCode":
			return json.UnmarshalDecode(r.in, &r.offer.Code)
		case "version":
			return json.UnmarshalDecode(r.in, &r.offer.Version)
		case "publicationDate":
			return json.UnmarshalDecode(r.in, &r.published)
		case "products":
			r.products = make(map[string]quote)
			return r.members(r.product)
		case "terms":
			r.terms = make(map[string]map[string]term)
			return r.members(r.termsOf)
		}
		return r.in.SkipValue()
	})
	if err != nil {
		return err
	}
	if _, err := r.in.ReadToken(); err != io.EOF {
		return errors.New("there is more after the offer")
	}
	return nil
}

// members calls visit with each name of the object that comes next. It reads the value.
func (r *offerReader) members(visit func(name string) error) error {
	if kind := r.in.PeekKind(); kind > 0 && kind != '{' {
		return fmt.Errorf("%s is not an object", r.in.StackPointer())
	}
	if _, err := r.in.ReadToken(); err != nil {
		return err
	}
	for r.in.PeekKind() != '}' {
		name, err := r.in.ReadToken()
		if err != nil {
			return err
		}
		if err := visit(name.String()); err != nil {
			return err
		}
	}
	_, err := r.in.ReadToken()
	return err
}

// product keeps a product if it is wanted.
func (r *offerReader) product(sku string) error {
	var p product
	if err := json.UnmarshalDecode(r.in, &p); err != nil {
		return err
	}
	a := p.Attributes
	if place := cmp.Or(a.Place, a.FromPlace); strings.HasSuffix(place, "Zone") || strings.HasSuffix(place, "Outposts") {
		return nil // a part of the region with prices of its own
	}
	usage := withoutRegion(a.Usage)
	access := cmp.Or(a.Access, a.Operation)
	for _, kind := range []string{"Read", "Write"} { // however it is spelled
		if strings.HasPrefix(strings.ToLower(access), strings.ToLower(kind)) {
			access = kind
		}
	}
	switch {
	case r.wanted[usage+" "+access]:
		usage += " " + access
	case r.wanted[usage+" Read"] && access != "":
		return nil // it is the price of a write
	}
	if r.wanted[usage] {
		r.products[sku] = quote{region: cmp.Or(a.Region, a.From), usage: usage}
	}
	return nil
}

// termsOf keeps the terms on demand of products.
func (r *offerReader) termsOf(kind string) error {
	if kind != "OnDemand" {
		return r.in.SkipValue()
	}
	return r.members(func(sku string) error {
		if _, ok := r.products[sku]; !ok && r.products != nil {
			return r.in.SkipValue()
		}
		var terms map[string]term
		err := json.UnmarshalDecode(r.in, &terms)
		r.terms[sku] = terms
		return err
	})
}

// finish puts together what was read.
func (r *offerReader) finish() (*Offer, error) {
	switch {
	case r.offer.Code == "" || r.products == nil || r.terms == nil:
		return nil, errors.New("it is not an offer file, which has an offerCode, products and terms: take the index.json of a service and region, not a list of these")
	case !strings.HasPrefix(r.format, "v1.") && r.format != "v1":
		return nil, fmt.Errorf("its formatVersion is %q, want v1.0", r.format)
	}
	r.offer.Date = month(r.published, r.offer.Version)
	for _, sku := range slices.Sorted(maps.Keys(r.products)) {
		for _, t := range inForce(r.terms[sku], r.published) {
			q := r.products[sku]
			if err := q.price(t); err != nil {
				return nil, fmt.Errorf("SKU %s, %s: %w", sku, q.usage, err)
			}
			if q.unit != "" {
				r.offer.quotes = append(r.offer.quotes, q)
			}
		}
	}
	return &r.offer, nil
}

// month returns the month of a publication, from its date or its version; "" if neither
// tells.
func month(date, version string) string {
	if t, err := time.Parse(time.RFC3339, date); err == nil {
		return t.Format("2006-01")
	}
	if t, err := time.Parse("20060102", version[:min(len(version), 8)]); err == nil {
		return t.Format("2006-01")
	}
	return ""
}

// inForce returns the terms that are in force at a date: the latest one, or several that
// begin together.
func inForce(terms map[string]term, at string) []term {
	var latest []term
	for _, sku := range slices.Sorted(maps.Keys(terms)) {
		t := terms[sku]
		switch {
		case at != "" && t.Effective > at:
		case len(latest) > 0 && t.Effective < latest[0].Effective:
		case len(latest) > 0 && t.Effective == latest[0].Effective:
			latest = append(latest, t)
		default:
			latest = []term{t}
		}
	}
	return latest
}

// currency is the one that all ranges have a price in: USD, or else the first; "" if none.
func (t term) currency() string {
	priced := make(map[string]int)
	for _, d := range t.Dimensions {
		for name := range d.Price {
			priced[name]++
		}
	}
	maps.DeleteFunc(priced, func(_ string, ranges int) bool { return ranges < len(t.Dimensions) })
	switch names := slices.Sorted(maps.Keys(priced)); {
	case slices.Contains(names, "USD"):
		return "USD"
	case len(names) > 0:
		return names[0]
	}
	return ""
}

// price sets the tiers of a quote, unless the term has no price.
func (q *quote) price(t term) error {
	if q.currency = t.currency(); q.currency == "" {
		return nil
	}
	var ranges []priceRange
	for _, d := range t.Dimensions {
		if q.unit = cmp.Or(q.unit, d.Unit); q.unit != d.Unit || d.Unit == "" {
			return fmt.Errorf("the units of its ranges are %q and %q", q.unit, d.Unit)
		}
		r, err := parseRange(d.Begin, d.End, d.Price[q.currency])
		if err != nil {
			return err
		}
		ranges = append(ranges, r)
	}
	slices.SortFunc(ranges, func(a, b priceRange) int { return a.from.Cmp(b.from) })
	return q.setTiers(ranges)
}

// priceRange is a range of a month's units with one price per unit.
type priceRange struct {
	from, to *big.Rat // to is nil for no end
	price    *big.Rat
}

func parseRange(begin, end, price string) (r priceRange, err error) {
	if r.from, err = parseListed(begin); err != nil {
		return r, fmt.Errorf("beginRange: %w", err)
	}
	if end != "Inf" {
		if r.to, err = parseListed(end); err != nil {
			return r, fmt.Errorf("endRange: %w", err)
		}
	}
	if r.price, err = parseListed(price); err != nil {
		return r, fmt.Errorf("pricePerUnit: %w", err)
	}
	return r, nil
}

// listed matches a number in an offer file. Its exponent is bounded, as exact numbers with
// a large one take much memory. It is compiled when it is needed: few runs do.
var listed = sync.OnceValue(func() *regexp.Regexp {
	return regexp.MustCompile(`^[0-9]{1,30}(\.[0-9]{1,30})?([eE][-+]?[0-9]{1,2})?$`)
})

func parseListed(s string) (*big.Rat, error) {
	if listed().MatchString(s) {
		if r, ok := new(big.Rat).SetString(s); ok {
			return r, nil
		}
	}
	return nil, fmt.Errorf("%.40q is not a number that price lists have", s)
}

// setTiers sets tiers and the free tier, which is what costs nothing at the start. It
// returns an error unless each range begins where the one before it ends.
func (q *quote) setTiers(ranges []priceRange) error {
	q.free = new(big.Rat)
	end := new(big.Rat)
	for _, r := range ranges {
		switch {
		case end == nil || r.from.Cmp(end) != 0:
			return fmt.Errorf("a range begins at %s, where none ends: the tiers have a gap or overlap", exact(r.from))
		case r.to != nil && r.to.Cmp(r.from) <= 0:
			return fmt.Errorf("the range from %s ends at %s", exact(r.from), exact(r.to))
		}
		if end = r.to; r.price.Sign() == 0 && len(q.tiers) == 0 {
			if r.to == nil {
				break // it is free, and stays it: nothing is known of a price
			}
			q.free = r.to
			continue
		}
		t := tierJSON{Price: exact(r.price)}
		if r.to != nil {
			t.UpTo = exact(new(big.Rat).Sub(r.to, q.free))
		}
		q.tiers = append(q.tiers, t)
	}
	return nil
}

// exact formats a number that has a finite decimal.
func exact(r *big.Rat) string {
	digits, _ := r.FloatPrec()
	return r.FloatString(digits)
}
