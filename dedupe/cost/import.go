package cost

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Import is a price book made from offers.
type Import struct {
	Region  string
	Meters  []string            // that have a price, in the order of bills
	Missing map[string][]string // meters without one, by the offer that would have it
	LeftOut []string            // why prices that the offers have are missing

	book bookJSON
}

// ImportPrices makes the price book of a region from offers. An empty region is the only
// one that the offers have. Prices are in USD, if the offers have any. What they lack stays
// out of the book: nothing gets a price of zero. Now is the month, as "2026-11", for offers that do not tell when they were
// published.
func ImportPrices(offers []*Offer, region, now string) (*Import, error) {
	region, err := chooseRegion(offers, region)
	if err != nil {
		return nil, err
	}
	i := &Import{Region: region, Missing: make(map[string][]string), book: bookJSON{Region: region, Currency: currencyIn(region, offers), Sources: make(map[string]string)}}
	for _, m := range meterInfos() {
		i.add(m, offers, now)
	}
	if len(i.Meters) == 0 {
		return nil, fmt.Errorf("the files have no price of a bill in %s: %s", region, strings.Join(i.LeftOut, "; "))
	}
	return i, nil
}

// chooseRegion returns the region, if the offers have it, or the only one they have.
func chooseRegion(offers []*Offer, region string) (string, error) {
	found := make(map[string]bool)
	for _, o := range offers {
		for _, q := range o.quotes {
			if q.region != "" && q.pricesOf(o.Code) {
				found[q.region] = true
			}
		}
	}
	regions := slices.Sorted(maps.Keys(found))
	switch {
	case len(regions) == 0:
		return "", errors.New("the files have no price of a bill")
	case region == "" && len(regions) > 1:
		return "", fmt.Errorf("the files have prices of several regions, choose one: %s", strings.Join(regions, ", "))
	case region == "":
		return regions[0], nil
	case !found[region]:
		return "", fmt.Errorf("the files have no prices of %s, only of %s", region, strings.Join(regions, ", "))
	}
	return region, nil
}

// currencyIn returns the currency of a region's prices: USD, if there is one in it.
func currencyIn(region string, offers []*Offer) string {
	var first string
	for _, o := range offers {
		for _, q := range o.quotes {
			if q.region == region && q.pricesOf(o.Code) {
				if q.currency == "USD" {
					return q.currency
				}
				first = cmp.Or(first, q.currency)
			}
		}
	}
	return first
}

// pricesOf reports whether a quote of an offer is the price of a meter.
func (q quote) pricesOf(offer string) bool {
	return slices.ContainsFunc(meterInfos(), func(m meterInfo) bool { return m.offer == offer && slices.Contains(m.usages, q.usage) })
}

// add adds the price of a meter, or notes that it has none.
func (i *Import) add(m meterInfo, offers []*Offer, now string) {
	for _, usage := range m.usages {
		if found := i.usable(m, usage, offers); len(found) > 0 {
			first := found[0]
			for _, other := range found[1:] {
				if !slices.Equal(first.tiers, other.tiers) {
					i.leaveOut(m, "%s has two prices of it", m.offer)
					i.miss(m)
					return
				}
			}
			i.Meters = append(i.Meters, m.name)
			i.book.Sources[first.offer.source()] = first.offer.describe()
			i.book.Prices = append(i.book.Prices, priceJSON{Meter: m.name, Unit: m.unit, Source: first.offer.source(),
				Checked: cmp.Or(first.offer.Date, now), Free: freeTier(m, offers), Tiers: first.tiers})
			return
		}
	}
	i.miss(m)
}

// offered is a quote and whose it is.
type offered struct {
	quote
	offer *Offer
}

// usable returns the quotes of a usage type that are prices of a meter.
func (i *Import) usable(m meterInfo, usage string, offers []*Offer) []offered {
	var found []offered
	for _, o := range offers {
		for _, q := range o.quotes {
			if o.Code != m.offer || q.region != i.Region || q.usage != usage || q.currency != i.book.Currency {
				continue
			}
			switch {
			case len(q.tiers) == 0:
				i.leaveOut(m, "%s says that it costs nothing", o.Code)
			case !m.measuredIn(q.unit):
				i.leaveOut(m, "%s prices it per %q, not per %s", o.Code, q.unit, m.unit)
			case q.tiers[len(q.tiers)-1].UpTo != "":
				i.leaveOut(m, "%s has no price above %s %s", o.Code, q.tiers[len(q.tiers)-1].UpTo, q.unit)
			default:
				found = append(found, offered{q, o})
			}
		}
	}
	return found
}

func (i *Import) miss(m meterInfo) { i.Missing[m.offer] = append(i.Missing[m.offer], m.name) }

func (i *Import) leaveOut(m meterInfo, format string, args ...any) {
	i.LeftOut = append(i.LeftOut, m.name+": "+fmt.Sprintf(format, args...))
}

// freeTier returns the units of a meter that are free in a month, or "".
func freeTier(m meterInfo, offers []*Offer) string {
	for _, o := range offers {
		for _, q := range o.quotes {
			if o.Code == m.offer && m.free != "" && q.usage == m.free && q.free.Sign() > 0 {
				return exact(q.free)
			}
		}
	}
	return ""
}

// source is the key of an offer among the sources of a book.
func (o *Offer) source() string { return strings.TrimSpace(o.Code + " " + o.Version) }

func (o *Offer) describe() string {
	return fmt.Sprintf("AWS price list, offer %s, https://pricing.us-east-1.amazonaws.com/offers/v1.0/aws/%s", o.source(), o.Code)
}

// JSON returns the book as a file that [ParseBook] reads.
func (i *Import) JSON() ([]byte, error) {
	data, err := json.MarshalIndent(i.book, "", "  ")
	if err != nil {
		return nil, err
	}
	if _, err := ParseBook(data); err != nil {
		return nil, err
	}
	return append(data, '\n'), nil
}
