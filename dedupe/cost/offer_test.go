package cost

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// readOffers reads offer files in testdata. They have the format of AWS, and prices of
// AWS for some of its products.
func readOffers(t testing.TB, names ...string) []*Offer {
	t.Helper()
	var offers []*Offer
	for _, name := range names {
		f, err := os.Open(filepath.Join("testdata", "offers", name+".json"))
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		o, err := ReadOffer(f)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		offers = append(offers, o)
	}
	return offers
}

// imported makes the book of a region.
func imported(t testing.TB, offers []*Offer, region string) (*Import, *Book) {
	t.Helper()
	i, err := ImportPrices(offers, region, "2020-01")
	if err != nil {
		t.Fatal(err)
	}
	data, err := i.JSON()
	if err != nil {
		t.Fatal(err)
	}
	b, err := ParseBook(data)
	if err != nil {
		t.Fatal(err)
	}
	return i, b
}

// The offer files of tests have the prices of us-east-1, among many of other things. They
// must give the embedded book.
func TestImportedBook(t *testing.T) {
	i, got := imported(t, readOffers(t, Offers()...), "us-east-1")
	want := prices(t, "us-east-1")
	if got.Region != "us-east-1" || got.Currency != "USD" || got.Date != "2026-09" {
		t.Errorf("book of %s in %s of %s", got.Region, got.Currency, got.Date)
	}
	for _, meter := range i.Meters {
		if _, ok := want.prices[meter]; !ok {
			continue
		}
		if got, want := facts(got.prices[meter]), facts(want.prices[meter]); got != want {
			t.Errorf("%s:\n got %s\nwant %s", meter, got, want)
		}
	}
	if len(i.Missing) > 0 || len(i.LeftOut) > 0 || len(i.Meters) != len(meterInfos()) {
		t.Errorf("%d of %d meters; missing %v; left out %q", len(i.Meters), len(meterInfos()), i.Missing, i.LeftOut)
	}
	if source := got.prices["efs.read"].source; !strings.Contains(source, "AmazonEFS 20260911124425, https://") {
		t.Errorf("source %q", source)
	}
}

// Services whose files have regions that no other has.
func TestImportedFacts(t *testing.T) {
	for _, test := range []struct{ region, meter, want string }{
		{"us-east-1", "transfer.out", "transfer.out per GB, free 100, the next 10240 at 0.09, the next 40960 at 0.085, the next 102400 at 0.07 0.05"},
		{"us-east-1", "s3.list", "s3.list per request 0.000005"},
		{"us-east-1", "states.express.duration", "states.express.duration per GB-second, the next 3600000 at 0.00001667, the next 14400000 at 0.00000833 0.00000456"},
		{"us-east-1", "logs.ingestion", "logs.ingestion per GB, free 5, the next 10240 at 0.5, the next 20480 at 0.25, the next 20480 at 0.1 0.05"},
		{"eu-west-1", "logs.ingestion", "logs.ingestion per GB, free 5 0.57"}, // its file has no price of vended logs
		{"eu-central-1", "s3.storage", "s3.storage per GB-month, the next 51200 at 0.0245 0.0235"},
		{"ap-east-1", "states.transitions", "states.transitions per transition 0.0000275"},
	} {
		_, book := imported(t, readOffers(t, Offers()...), test.region)
		if got := facts(book.prices[test.meter]); got != test.want {
			t.Errorf("%s: got %s, want %s", test.region, got, test.want)
		}
	}
}

// facts describes a price without its source.
func facts(p price) string {
	s := p.meter + " per " + p.unit
	if p.free != nil {
		s += ", free " + exact(p.free)
	}
	for _, t := range p.tiers {
		if t.size != nil {
			s += fmt.Sprintf(", the next %s at", exact(t.size))
		}
		s += " " + exact(t.price)
	}
	return s
}

// What the files lack stays missing.
func TestImportPart(t *testing.T) {
	i, book := imported(t, readOffers(t, "AmazonEFS", "AmazonApiGateway-eu-west-1"), "eu-west-1")
	want := []string{"api.http", "api.rest", "efs.read", "efs.write", "efs.metadata", "efs.access.ia", "efs.storage.standard", "efs.storage.ia.not_elastic"}
	if diff := cmp.Diff(want, i.Meters); diff != "" {
		t.Errorf("meters (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"efs.provisioned", "efs.access.archive", "efs.storage.one_zone", "efs.storage.ia", "efs.storage.one_zone_ia", "efs.storage.archive"}, i.Missing["AmazonEFS"]); diff != "" {
		t.Errorf("missing of EFS (-want +got):\n%s", diff)
	}
	if !slices.Contains(i.Missing["AWSLambda"], "lambda.requests") {
		t.Errorf("missing: %v", i.Missing)
	}
	if got, want := facts(book.prices["api.http"]), "api.http per request, the next 300000000 at 0.00000111 0.000001"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	_, err := book.Bill(Usage{Calls: 1, EFS: EFS{Throughput: Provisioned, ProvisionedMiBps: 1}})
	if err == nil || !strings.Contains(err.Error(), `no price for "efs.provisioned" in eu-west-1`) {
		t.Errorf("error %v", err)
	}
}

func TestImportRegions(t *testing.T) {
	efs := readOffers(t, "AmazonEFS")
	for _, test := range []struct {
		offers       []*Offer
		region, want string
	}{
		{efs, "", "several regions, choose one: ap-northeast-1, eu-west-1, us-east-1"},
		{efs, "mars-1", "no prices of mars-1, only of ap-northeast-1, eu-west-1, us-east-1"},
		{nil, "", "no price of a bill"},
		{[]*Offer{{Code: "AmazonPolly", quotes: efs[0].quotes}}, "", "no price of a bill"},
	} {
		_, err := ImportPrices(test.offers, test.region, "2026-11")
		if err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%q: error %v, want one with %q", test.region, err, test.want)
		}
	}
	i, err := ImportPrices(readOffers(t, "AmazonApiGateway-eu-west-1"), "", "2026-11")
	if err != nil || i.Region != "eu-west-1" {
		t.Errorf("the only region: %+v, error %v", i, err)
	}
}

// offerFile is an offer file of EFS in the region r, with products and terms.
func offerFile(products, terms string) string {
	return `{"formatVersion": "v1.0", "offerCode": "AmazonEFS", "publicationDate": "2026-09-11T12:44:25Z",
		"products": {` + products + `}, "terms": {"OnDemand": {` + terms + `}}}`
}

func efsProduct(sku, usage string) string {
	return fmt.Sprintf(`%q: {"sku": %q, "attributes": {"regionCode": "r", "usagetype": %q}}`, sku, sku, usage)
}

// accessed is a product for one kind of access.
func accessed(usage, access string) string {
	return fmt.Sprintf(`"A": {"attributes": {"regionCode": "r", "usagetype": "EU-%s", "accessType": %q}}`, usage, access)
}

// sold is the terms of a SKU: from a date, with prices per GB-Mo.
func sold(sku, from string, dimensions ...string) string {
	for n, d := range dimensions {
		dimensions[n] = fmt.Sprintf(`"%s.T.%d": {%s}`, sku, n, d)
	}
	return fmt.Sprintf(`%q: {"%s.T": {"effectiveDate": %q, "priceDimensions": {%s}}}`, sku, sku, from, strings.Join(dimensions, ", "))
}

func costs(begin, end, unit, usd string) string {
	return fmt.Sprintf(`"beginRange": %q, "endRange": %q, "unit": %q, "pricePerUnit": {"USD": %q}`, begin, end, unit, usd)
}

const storage = "USE1-TimedStorage-ByteHrs"

func TestImportedPrice(t *testing.T) {
	flat := costs("0", "Inf", "GB-Mo", "0.3")
	for _, test := range []struct{ name, file, want, leftOut string }{
		{"one", offerFile(efsProduct("A", storage), sold("A", "2026-09-01", flat)), "efs.storage.standard per GB-month 0.3", ""},
		{"no prefix", offerFile(efsProduct("A", "TimedStorage-ByteHrs"), sold("A", "", flat)), "efs.storage.standard per GB-month 0.3", ""},
		{"terms before products", `{"terms": {"OnDemand": {` + sold("A", "", flat) + `}}, "products": {` + efsProduct("A", storage) + `}, "formatVersion": "v1.0", "offerCode": "AmazonEFS"}`, "efs.storage.standard per GB-month 0.3", ""},
		{"tiers in any order", offerFile(efsProduct("A", storage), sold("A", "", costs("100", "Inf", "GB-Mo", "0.100"), costs("0", "10", "GB-Mo", "3E-1"), costs("10", "100", "GB-Mo", "0.2"))),
			"efs.storage.standard per GB-month, the next 10 at 0.3, the next 90 at 0.2 0.1", ""},
		{"free at first", offerFile(efsProduct("A", storage), sold("A", "", costs("5", "10", "GB-Mo", "0.3"), costs("0", "5", "GB-Mo", "0.0000000000"), costs("10", "Inf", "GB-Mo", "0.2"))),
			"efs.storage.standard per GB-month, the next 5 at 0.3 0.2", ""},
		{"same price twice", offerFile(efsProduct("A", storage)+","+efsProduct("B", "TimedStorage-ByteHrs"), sold("A", "", flat)+","+sold("B", "", costs("0", "Inf", "GB-Mo", "0.30"))), "efs.storage.standard per GB-month 0.3", ""},
		{"two prices", offerFile(efsProduct("A", storage)+","+efsProduct("B", "TimedStorage-ByteHrs"), sold("A", "", flat)+","+sold("B", "", costs("0", "Inf", "GB-Mo", "0.31"))), "", "efs.storage.standard: AmazonEFS has two prices of it"},
		{"free", offerFile(efsProduct("A", storage), sold("A", "", costs("0", "Inf", "GB-Mo", "0"))), "", "efs.storage.standard: AmazonEFS says that it costs nothing"},
		{"an end", offerFile(efsProduct("A", storage), sold("A", "", costs("0", "10", "GB-Mo", "1"))), "", "efs.storage.standard: AmazonEFS has no price above 10 GB-Mo"},
		{"another unit", offerFile(efsProduct("A", storage), sold("A", "", costs("0", "Inf", "TB-Mo", "300"))), "", `efs.storage.standard: AmazonEFS prices it per "TB-Mo", not per GB-month`},
		{"access unknown", offerFile(efsProduct("A", "USE1-ETDataAccess-Bytes"), sold("A", "", costs("0", "Inf", "GB", "0.03"))), "", ""},
		{"access read", offerFile(accessed("IADataAccess-Bytes", "Read"), sold("A", "", costs("0", "Inf", "GB", "0.01"))), "efs.access.ia per GB 0.01", ""},
		{"access read, otherwise", offerFile(accessed("IADataAccess-Bytes", "reads"), sold("A", "", costs("0", "Inf", "GB", "0.01"))), "efs.access.ia per GB 0.01", ""},
		{"access written", offerFile(accessed("IADataAccess-Bytes", "Write"), sold("A", "", costs("0", "Inf", "GB", "0.01"))), "", ""},
		{"access of both kinds", offerFile(accessed("IADataAccess-Bytes", ""), sold("A", "", costs("0", "Inf", "GB", "0.01"))), "efs.access.ia per GB 0.01", ""},
		{"elastic writes", offerFile(accessed("ETDataAccess-Bytes", "Write"), sold("A", "", costs("0", "Inf", "GB", "0.06"))), "efs.write per GB 0.06", ""},
		{"elastic reads in their own usage type", offerFile(accessed("ETDataAccess-Read-Bytes", ""), sold("A", "", costs("0", "Inf", "GB", "0.03"))), "efs.read per GB 0.03efs.metadata per GB 0.03", ""},
		{"a local zone", offerFile(`"A": {"attributes": {"regionCode": "r", "locationType": "AWS Local Zone", "usagetype": "ATL1-TimedStorage-ByteHrs"}}`, sold("A", "", flat)), "", ""},
		{"no terms", offerFile(efsProduct("A", storage), ""), "", ""},
		{"no USD", offerFile(efsProduct("A", storage), sold("A", "", `"beginRange": "0", "endRange": "Inf", "unit": "GB-Mo", "pricePerUnit": {"CNY": "2"}`)), "", ""},
		{"later", offerFile(efsProduct("A", storage), sold("A", "2026-10-01T00:00:00Z", flat)), "", ""},
		{"a new price", offerFile(efsProduct("A", storage), strings.TrimSuffix(sold("A", "2020-01-01T00:00:00Z", costs("0", "Inf", "GB-Mo", "9")), "}")+
			`, "N": {"effectiveDate": "2026-09-01T00:00:00Z", "priceDimensions": {"N.1": {`+flat+`}}}}`), "efs.storage.standard per GB-month 0.3", ""},
		{"two terms of a price", offerFile(efsProduct("A", storage), strings.TrimSuffix(sold("A", "2026-09-01T00:00:00Z", costs("0", "Inf", "GB-Mo", "9")), "}")+
			`, "N": {"effectiveDate": "2026-09-01T00:00:00Z", "priceDimensions": {"N.1": {`+flat+`}}}}`), "", "efs.storage.standard: AmazonEFS has two prices of it"},
		{"USD and CNY", offerFile(efsProduct("A", storage), sold("A", "", `"beginRange": "0", "endRange": "Inf", "unit": "GB-Mo", "pricePerUnit": {"CNY": "2", "USD": "0.3"}`)), "efs.storage.standard per GB-month 0.3", ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			o, err := ReadOffer(strings.NewReader(test.file))
			if err != nil {
				t.Fatal(err)
			}
			other := &Offer{Code: "AmazonApiGateway", quotes: []quote{{region: "r", usage: "ApiGatewayRequest", unit: "Requests", currency: "USD", tiers: []tierJSON{{Price: "1"}}}}}
			i, book := imported(t, []*Offer{other, o}, "r")
			got := ""
			for _, meter := range i.Meters[1:] {
				got += facts(book.prices[meter])
			}
			if got != test.want || strings.Join(i.LeftOut, "; ") != test.leftOut {
				t.Errorf("got %q, want %q; left out %q, want %q", got, test.want, i.LeftOut, test.leftOut)
			}
		})
	}
}

// Offers without prices in USD make a book in their currency.
func TestImportedCurrency(t *testing.T) {
	o, err := ReadOffer(strings.NewReader(offerFile(efsProduct("A", storage), sold("A", "", `"beginRange": "0", "endRange": "Inf", "unit": "GB-Mo", "pricePerUnit": {"CNY": "2.073"}`))))
	if err != nil {
		t.Fatal(err)
	}
	_, book := imported(t, []*Offer{o}, "r")
	if got := facts(book.prices["efs.storage.standard"]); book.Currency != "CNY" || got != "efs.storage.standard per GB-month 2.073" {
		t.Errorf("%s: %s", book.Currency, got)
	}
}

// If no price is left, the error says why.
func TestNoneImported(t *testing.T) {
	o, err := ReadOffer(strings.NewReader(offerFile(efsProduct("A", storage), sold("A", "", costs("0", "Inf", "TB-Mo", "300")))))
	if err != nil {
		t.Fatal(err)
	}
	_, err = ImportPrices([]*Offer{o}, "r", "2026-11")
	if want := `the files have no price of a bill in r: efs.storage.standard: AmazonEFS prices it per "TB-Mo", not per GB-month`; err == nil || err.Error() != want {
		t.Errorf("error %v, want %s", err, want)
	}
}

func TestReadOfferErrors(t *testing.T) {
	good := offerFile(efsProduct("A", storage), sold("A", "", costs("0", "Inf", "GB-Mo", "0.3")))
	priced := func(dimensions ...string) string {
		return offerFile(efsProduct("A", storage), sold("A", "", dimensions...))
	}
	for _, test := range []struct{ name, file, want string }{
		{"empty", "", "EOF"},
		{"text", "SKU,OfferTermCode", "invalid character"},
		{"array", "[]", "it is not a JSON object"},
		{"truncated", good[:len(good)-30], "it ends too early"},
		{"more", good + "{}", "more after the offer"},
		{"twice", strings.Replace(good, `"offerCode"`, `"formatVersion": "v1.0", "offerCode"`, 1), "duplicate"},
		{"an index", `{"formatVersion": "v1.0", "offers": {"AmazonEFS": {"offerCode": "AmazonEFS"}}}`, "it is not an offer file"},
		{"another version", strings.Replace(good, "v1.0", "v2.0", 1), `its formatVersion is "v2.0"`},
		{"products that are none", strings.Replace(good, `"products": {`, `"products": [], "p": {`, 1), "/products is not an object"},
		{"a product that is none", strings.Replace(good, `"attributes": {`, `"attributes": "", "a": {`, 1), "cannot unmarshal"},
		{"a gap", priced(costs("0", "10", "GB-Mo", "3"), costs("11", "Inf", "GB-Mo", "2")), "SKU A, TimedStorage-ByteHrs: a range begins at 11"},
		{"an overlap", priced(costs("0", "10", "GB-Mo", "3"), costs("9", "Inf", "GB-Mo", "2")), "a range begins at 9"},
		{"two without end", priced(costs("0", "Inf", "GB-Mo", "3"), costs("9", "Inf", "GB-Mo", "2")), "a range begins at 9"},
		{"a late start", priced(costs("1", "Inf", "GB-Mo", "3")), "a range begins at 1"},
		{"an empty range", priced(costs("0", "0", "GB-Mo", "3")), "the range from 0 ends at 0"},
		{"two units", priced(costs("0", "1", "GB-Mo", "3"), costs("1", "Inf", "TB-Mo", "3")), "units"},
		{"no unit", priced(costs("0", "Inf", "", "3")), "units"},
		{"negative", priced(costs("0", "Inf", "GB-Mo", "-3")), `pricePerUnit: "-3"`},
		{"a fraction", priced(costs("0", "Inf", "GB-Mo", "1/3")), `pricePerUnit: "1/3"`},
		{"a large exponent", priced(costs("0", "Inf", "GB-Mo", "1e999999999")), "pricePerUnit"},
		{"no number", priced(costs("zero", "Inf", "GB-Mo", "3")), `beginRange: "zero"`},
		{"no end", priced(costs("0", "", "GB-Mo", "3")), `endRange: ""`},
	} {
		t.Run(test.name, func(t *testing.T) {
			_, err := ReadOffer(strings.NewReader(test.file))
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("error %v, want one with %q", err, test.want)
			}
		})
	}
	if _, err := ReadOffer(io.MultiReader(strings.NewReader(good[:100]), broken{})); err == nil || !strings.Contains(err.Error(), "broken") {
		t.Errorf("error of a broken file: %v", err)
	}
}

type broken struct{}

func (broken) Read([]byte) (int, error) { return 0, fmt.Errorf("broken") }

func TestWithoutRegion(t *testing.T) {
	for usage, want := range map[string]string{
		"Request": "Request", "EU-Request": "Request", "EUC1-Request": "Request", "USE1-Request-ARM": "Request-ARM",
		"IA-ReadRequestUnits": "IA-ReadRequestUnits", "APN1-IA-ReadRequestUnits": "IA-ReadRequestUnits",
		"USE1-USE2-AWS-Out-Bytes": "USE2-AWS-Out-Bytes", "CW:Requests": "CW:Requests", "USE1-CW:Requests": "CW:Requests", "Global-Request": "Global-Request", "S3G-Bytes": "S3G-Bytes",
		"EU": "EU", "": "",
	} {
		if got := withoutRegion(usage); got != want {
			t.Errorf("%s: %q, want %q", usage, got, want)
		}
	}
}

// FuzzReadOffer checks that what is read makes a book without a price of zero, which can
// be read.
func FuzzReadOffer(f *testing.F) {
	f.Add([]byte(offerFile(efsProduct("A", storage), sold("A", "2026-09-01", costs("5", "Inf", "GB-Mo", "3e-1"), costs("0", "5", "GB-Mo", "0")))))
	f.Fuzz(func(t *testing.T, data []byte) {
		o, err := ReadOffer(bytes.NewReader(data))
		if err != nil {
			if err.Error() == "" {
				t.Error("an error without a text")
			}
			return
		}
		regions := make(map[string]bool)
		for _, l := range o.quotes {
			if l.region != "" && l.pricesOf(o.Code) {
				regions[l.region] = true
			}
		}
		for region := range regions {
			if _, err := ImportPrices([]*Offer{o}, region, "2026-11"); err != nil {
				continue
			}
			_, book := imported(t, []*Offer{o}, region)
			for meter, p := range book.prices {
				if p.tiers[0].price.Sign() <= 0 {
					t.Errorf("%s costs %s", meter, facts(p))
				}
			}
		}
	})
}
