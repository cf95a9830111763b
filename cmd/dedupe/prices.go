package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"efsdedupe/cmd/internal/cli"
	"efsdedupe/dedupe/cost"
	"efsdedupe/dedupe/report"
)

// importPrices is the flags of dedupe cost import-prices.
type importPrices struct {
	cli.Std
	region string
	output string
}

func importPricesCommand(s cli.Std) *cobra.Command {
	c := importPrices{Std: s}
	services := cost.Offers()
	cmd := &cobra.Command{
		Use:   "import-prices [flags] OFFER.json...",
		Short: "Make a price book from the price lists that AWS publishes",
		Long: `Make a price book, for --prices, from offer files: the price lists that AWS
publishes for each service and region, at
https://pricing.us-east-1.amazonaws.com/offers/v1.0/aws/ and then
SERVICE/current/REGION/index.json. No account is needed to download them.

The services are ` + strings.Join(services[:4], ", ") + `,
` + strings.Join(services[4:], ", ") + `.

Standard error lists what was found and what is missing. A missing price stays
out of the book: a bill that needs it fails.

OFFER.json may be - for standard input.`,
		Example: `  dedupe cost import-prices -o prices.json AmazonEFS.json AWSLambda.json
  dedupe cost import-prices --region eu-central-1 AmazonEFS.json >prices.json
  dedupe cost --prices prices.json --report report.json`,
		Args: cli.Args("OFFER.json..."),
		RunE: func(cmd *cobra.Command, paths []string) error { return c.run(cmd.Context(), paths) },
	}
	f := cmd.Flags()
	f.StringVar(&c.region, "region", "", "take the prices of this `region`, if the files have several")
	f.StringVarP(&c.output, "output", "o", "", "write to this `file`, and replace it only once the price book is complete")
	return cmd
}

func (c *importPrices) run(ctx context.Context, paths []string) error {
	out, err := cli.OpenOutput(ctx, c.output, c.Out)
	if err != nil {
		return err
	}
	defer out.Discard()
	offers := make([]*cost.Offer, len(paths))
	for i, path := range paths {
		if offers[i], err = c.read(ctx, path); err != nil {
			return fmt.Errorf("can't use the offer file %q: %w", path, err)
		}
	}
	prices, err := cost.ImportPrices(offers, c.region, time.Now().UTC().Format("2006-01"))
	if err != nil {
		return fmt.Errorf("%w; see 'dedupe cost import-prices --help'", err)
	}
	book, err := prices.JSON()
	if err != nil {
		return err
	}
	if _, err := out.Write(book); err != nil {
		return out.Failed(err)
	}
	if err := out.Commit(true); err != nil {
		return out.Failed(err)
	}
	c.tell(prices)
	return nil
}

func (c *importPrices) read(ctx context.Context, path string) (*cost.Offer, error) {
	in, err := openReport(ctx, path, c.In)
	if path := (*fs.PathError)(nil); errors.As(err, &path) {
		return nil, path.Err // without the path, which the caller names
	}
	if err != nil {
		return nil, err
	}
	defer in.Close()
	return cost.ReadOffer(in)
}

// tell says what was found, and what was not.
func (c *importPrices) tell(i *cost.Import) {
	fmt.Fprintf(c.Err, "dedupe: found %s of %s: %s\n", report.Count(int64(len(i.Meters)), "price", "prices"), i.Region, strings.Join(i.Meters, ", "))
	for _, offer := range slices.Sorted(maps.Keys(i.Missing)) {
		fmt.Fprintf(c.Err, "dedupe: missing, in %s: %s\n", offer, strings.Join(i.Missing[offer], ", "))
	}
	for _, why := range i.LeftOut {
		fmt.Fprintf(c.Err, "dedupe: left out: %s\n", report.Printable(why))
	}
}
