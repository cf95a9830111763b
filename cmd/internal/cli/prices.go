package cli

import (
	"context"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/pflag"

	"efsdedupe/dedupe/cost"
)

// Prices is the flags that choose a price book: --region and --prices.
type Prices struct {
	Region string
	File   string // with a book of the user's; empty for the book of Region

	given *pflag.Flag // --region
}

// Flags adds the flags to a command that makes a bill.
func (p *Prices) Flags(f *pflag.FlagSet) {
	f.StringVar(&p.Region, "region", cost.DefaultRegion, "take the prices of this `region`: "+strings.Join(cost.Regions(), ", "))
	p.given = f.Lookup("region")
	f.StringVar(&p.File, "prices", "", "take prices from this `file`, a price book: see 'dedupe cost import-prices --help'")
}

// Book returns the price book, and makes its region the Region. It stops reading when ctx
// ends.
func (p *Prices) Book(ctx context.Context) (*cost.Book, error) {
	if p.File == "" {
		return cost.Prices(p.Region)
	}
	book, err := ReadPrices(ctx, p.File)
	if err != nil {
		return nil, err
	}
	if p.given.Changed && p.Region != book.Region {
		return nil, fmt.Errorf("--prices %q is for %s, and --region is %s: leave out one of them", p.File, book.Region, p.Region)
	}
	p.Region = book.Region
	return book, nil
}

// ReadPrices reads a price book of the user's, until ctx ends.
func ReadPrices(ctx context.Context, path string) (*cost.Book, error) {
	data, err := Await(ctx, func() ([]byte, error) { return readBook(path) })
	if err != nil {
		return nil, fmt.Errorf("can't read the price book: %w", err)
	}
	book, err := cost.ParseBook(data)
	if err != nil {
		return nil, fmt.Errorf("can't use the price book %q: %w; 'dedupe cost import-prices' writes one", path, err)
	}
	return book, nil
}

// mostPrices is more than any price book has, in bytes.
const mostPrices = 16 << 20

func readBook(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, mostPrices+1))
	if len(data) > mostPrices {
		return nil, fmt.Errorf("%s has more than %d bytes, which no price book has", path, mostPrices)
	}
	return data, err
}
