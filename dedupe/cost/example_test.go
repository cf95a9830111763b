package cost_test

import (
	"fmt"
	"log"
	"time"

	"efsdedupe/dedupe/cost"
)

// A month of 50 million calls, each of which reads 100 files of 1 MiB.
func Example() {
	book, err := cost.Prices("us-east-1")
	if err != nil {
		log.Fatal(err)
	}
	bill, err := book.Bill(cost.Usage{
		Calls:  50_000_000,
		Lambda: cost.Lambda{Arch: cost.ARM, MemoryMB: 1769, Duration: time.Second},
		API:    cost.HTTP,
		EFS: cost.EFS{
			Throughput:         cost.Elastic,
			ReadBytes:          100 * cost.MeteredRead(1<<20),
			MetadataOperations: 300,
		},
	})
	if err != nil {
		log.Fatal(err)
	}
	for _, i := range bill.Items {
		fmt.Printf("%s: %s %s × %s = %s\n", i.Meter,
			cost.Decimal(i.Quantity, 3), i.Unit, cost.Decimal(i.UnitPrice, 12), cost.Cents(i.Cost))
	}
	fmt.Println("total:", cost.Cents(bill.Total), bill.Currency)
	// Output:
	// lambda.duration.arm64: 86376953.125 GB-second × 0.0000133334 = 1151.70
	// lambda.requests: 50000000 request × 0.0000002 = 10.00
	// api.http: 50000000 request × 0.000001 = 50.00
	// efs.read: 4882812.5 GB × 0.03 = 146484.38
	// efs.metadata: 57220.459 GB × 0.03 = 1716.61
	// total: 149412.69 USD
}
