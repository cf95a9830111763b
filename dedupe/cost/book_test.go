package cost

import (
	"math/big"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestRegions(t *testing.T) {
	want := []string{
		"ap-northeast-1", "ap-northeast-2", "ap-south-1", "ap-southeast-1", "ap-southeast-2", "ca-central-1", "eu-central-1", "eu-north-1",
		"eu-west-1", "eu-west-2", "eu-west-3", "sa-east-1", "us-east-1", "us-east-2", "us-west-1", "us-west-2",
	}
	if diff := cmp.Diff(want, Regions()); diff != "" {
		t.Errorf("regions (-want +got):\n%s", diff)
	}
}

// TestBooks reads every embedded book, and so runs the parser's strict checks on each.
func TestBooks(t *testing.T) {
	for _, region := range Regions() {
		book := prices(t, region)
		if book.Region != region {
			t.Errorf("prices/%s.json is of region %s", region, book.Region)
		}
		if book.Currency != "USD" || book.Date != "2026-11" {
			t.Errorf("%s: %s prices of %s", region, book.Currency, book.Date)
		}
		for meter, p := range book.prices {
			if !strings.Contains(p.source, "https://") || p.checked == "" {
				t.Errorf("%s: %s: source %q, checked %q", region, meter, p.source, p.checked)
			}
		}
		read, hasReads := book.prices["efs.read"]
		metadata, hasMetadata := book.prices["efs.metadata"]
		if hasReads != hasMetadata || hasReads && read.tiers[0].price.Cmp(metadata.tiers[0].price) != 0 {
			t.Errorf("%s: metadata is not priced as reads", region)
		}
		data, err := files.ReadFile("prices/" + region + ".json")
		if err == nil {
			_, err = ParseBook(data)
		}
		if err != nil {
			t.Errorf("%s: %v", region, err)
		}
	}
}

// TestPricesAreAlike finds slips: prices are 3/4 to 2 times those of us-east-1,
// and tiers descend.
func TestPricesAreAlike(t *testing.T) {
	home := prices(t, "us-east-1")
	for _, region := range Regions() {
		for meter, p := range prices(t, region).prices {
			base, ok := home.prices[meter]
			if !ok {
				t.Errorf("%s: %s is not known in us-east-1", region, meter)
				continue
			}
			times := new(big.Rat).Quo(p.tiers[0].price, base.tiers[0].price)
			if times.Cmp(big.NewRat(3, 4)) < 0 || times.Cmp(big.NewRat(2, 1)) > 0 {
				t.Errorf("%s: %s costs %s times as much as in us-east-1", region, meter, times.FloatString(2))
			}
			for i := range p.tiers[1:] {
				if p.tiers[i+1].price.Cmp(p.tiers[i].price) >= 0 {
					t.Errorf("%s: %s: tier %d is no cheaper than the one before", region, meter, i+2)
				}
			}
		}
	}
}

// TestPriceTable holds the table in README.md to what the books lack. A bill by default is
// printed in exactly the regions that it says are complete.
func TestPriceTable(t *testing.T) {
	groups := []struct {
		name   string
		meters []string
	}{
		{"HTTP API", []string{"api.http"}},
		{"Elastic", []string{"efs.read", "efs.metadata"}},
		{"EFS Standard", []string{"efs.storage.standard"}},
		{"logs", []string{"logs.ingestion", "logs.storage"}},
		{"answers", []string{"transfer.out"}},
		{"metrics, alarms", []string{"metrics.custom", "metrics.alarms"}},
		{"DynamoDB", []string{"dynamodb.read", "dynamodb.write", "dynamodb.storage"}},
		{"S3", []string{"s3.list", "s3.get", "s3.storage"}},
	}
	table, rule := "| region | the bill by default |", "| --- | --- |"
	for _, g := range groups {
		table += " " + g.name + " |"
		rule += " --- |"
	}
	table += "\n" + rule + "\n"
	for _, region := range Regions() {
		book := prices(t, region)
		whole := true
		var cells []string
		for i, g := range groups {
			lacks := slices.DeleteFunc(slices.Clone(g.meters), func(meter string) bool { return book.prices[meter].meter != "" })
			whole = whole && (len(lacks) == 0 || i >= 6)
			switch len(lacks) {
			case 0:
				cells = append(cells, "yes")
			case len(g.meters):
				cells = append(cells, "—")
			default:
				cells = append(cells, "no `"+strings.Join(lacks, "`, `")+"`")
			}
		}
		if err := CheckBill(book, DefaultUsage()); (err == nil) != whole {
			t.Errorf("%s: the bill by default: %v", region, err)
		}
		complete := "—"
		if whole {
			complete = "yes"
		}
		table += "| " + region + " | " + complete + " | " + strings.Join(cells, " | ") + " |\n"
	}
	holdTable(t, "PriceTable", table)
}

// A region whose book lacks some prices has bills without them, as the error advises.
func TestPartialBooks(t *testing.T) {
	for _, region := range Regions() {
		u := WithoutService(DefaultUsage())
		u.API, u.EFS.Throughput, u.EFS.StorageClass = NoAPI, Bursting, NoStorage
		if err := CheckBill(prices(t, region), u); err != nil {
			t.Errorf("%s: %v", region, err)
		}
	}
}

func TestSomeRegions(t *testing.T) {
	for want, regions := range map[string][]string{
		"":                         nil,
		"a, us-east-1":             {"a", "us-east-1"},
		"a, b, c, us-east-1":       {"a", "b", "c", "us-east-1"},
		"us-east-1 and 4 others":   {"a", "b", "c", "d", "us-east-1"},
		"a, b, c, d, eu-central-1": {"a", "b", "c", "d", "eu-central-1"},
	} {
		if got := some(regions); got != want {
			t.Errorf("%v: %q, want %q", regions, got, want)
		}
	}
}

// The bill must show that nobody checked a price for the region.
func TestUncheckedSource(t *testing.T) {
	bill := mustBill(t, prices(t, "eu-north-1"), Usage{Calls: 1, Lambda: Lambda{Arch: ARM, MemoryMB: 128, Duration: 1}})
	if got := bill.Items[0].Source; !strings.Contains(got, "not checked for this one") {
		t.Errorf("source %q does not say that the price was not checked", got)
	}
}

func TestUnknownRegion(t *testing.T) {
	for _, region := range []string{"", "mars-1", "../prices/us-east-1"} {
		_, err := Prices(region)
		if err == nil || !strings.HasSuffix(err.Error(), "(known: "+strings.Join(Regions(), ", ")+")") {
			t.Errorf("%q: error %v", region, err)
		}
	}
}

// book is a price book with one meter that has the given fields.
func book(fields string) string {
	return `{"region": "r", "currency": "USD", "sources": {"s": "a page"}, "prices": [{` + fields + `}]}`
}

const goodMeter = `"meter": "m", "unit": "GB", "source": "s", "checked": "2026-11", `

func TestParseBookErrors(t *testing.T) {
	good := book(goodMeter + `"tiers": [{"up_to": "10", "price": "2"}, {"price": "1.5"}]`)
	if _, err := parseBook([]byte(good)); err != nil {
		t.Fatalf("the book that the cases vary: %v", err)
	}
	tests := []struct{ name, book, want string }{
		{"empty", ``, "EOF"},
		{"no prices", `{"region": "r", "currency": "USD"}`, "are required"},
		{"unknown field", book(goodMeter + `"price": "1"`), "unknown field"},
		{"data after", good + `{}`, "after the book"},
		{"number", book(goodMeter + `"tiers": [{"price": 0.1}]`), "cannot unmarshal"},
		{"no tiers", book(goodMeter + `"tiers": []`), "no tiers"},
		{"no price", book(goodMeter + `"tiers": [{}]`), "not a decimal"},
		{"negative", book(goodMeter + `"tiers": [{"price": "-1"}]`), "not a decimal"},
		{"fraction", book(goodMeter + `"tiers": [{"price": "1/3"}]`), "not a decimal"},
		{"exponent", book(goodMeter + `"tiers": [{"price": "1e9"}]`), "not a decimal"},
		{"long", book(goodMeter + `"tiers": [{"price": "` + strings.Repeat("9", 1e5) + `"}]`), `"9999999999999999999999999999999999999999" is not a decimal`},
		{"two points", book(goodMeter + `"tiers": [{"price": "1.2.3"}]`), "not a decimal"},
		{"descending", book(goodMeter + `"tiers": [{"up_to": "2", "price": "1"}, {"up_to": "2", "price": "1"}, {"price": "1"}]`), "do not ascend"},
		{"bounded", book(goodMeter + `"tiers": [{"up_to": "2", "price": "1"}]`), "but the last"},
		{"unbounded middle", book(goodMeter + `"tiers": [{"price": "1"}, {"price": "1"}]`), "but the last"},
		{"bad bound", book(goodMeter + `"tiers": [{"up_to": "x", "price": "1"}, {"price": "1"}]`), "up_to"},
		{"bad free", book(goodMeter + `"free": "x", "tiers": [{"price": "1"}]`), "free"},
		{"no unit", book(`"meter": "m", "tiers": [{"price": "1"}]`), "unit"},
		{"no source", book(`"meter": "m", "unit": "GB", "checked": "2026-11", "tiers": [{"price": "1"}]`), "source"},
		{"no date", book(`"meter": "m", "unit": "GB", "source": "s", "tiers": [{"price": "1"}]`), "checked"},
		{"bad date", book(`"meter": "m", "unit": "GB", "source": "s", "checked": "2026-13", "tiers": [{"price": "1"}]`), "checked"},
		{"twice", strings.TrimSuffix(good, `]}`) + `, {` + goodMeter + `"tiers": [{"price": "1"}]}]}`, "given twice"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			_, err := parseBook([]byte(test.book))
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("error %v, want one with %q", err, test.want)
			}
		})
	}
}

// FuzzParseBook checks that any book that the parser accepts is usable.
func FuzzParseBook(f *testing.F) {
	f.Add([]byte(book(goodMeter + `"free": "3", "tiers": [{"up_to": "10", "price": "2"}, {"price": "1.5"}]`)))
	for _, region := range Regions() {
		data, err := files.ReadFile("prices/" + region + ".json")
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		b, err := parseBook(data)
		if err != nil {
			return
		}
		for meter, p := range b.prices {
			if p.unit == "" || p.source == "" || p.checked == "" || p.checked > b.Date {
				t.Errorf("%s: %+v in a book of %s", meter, p, b.Date)
			}
			quantity := ratio(7, 1e18)
			charged := ratio(1)
			for _, i := range p.items(new(big.Rat), quantity, true) {
				charged.Add(charged, i.Quantity)
			}
			if charged.Sub(charged, ratio(1)).Cmp(quantity) != 0 {
				t.Errorf("%s: tiers take %s of %s", meter, charged, quantity)
			}
		}
	})
}
