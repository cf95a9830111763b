// Package cost says what a month of calls costs on AWS: a Lambda function behind API
// Gateway reads files from Amazon EFS, and may first ask an index of digests in DynamoDB.
// The package is arithmetic only: it knows prices, usage and bills, and reads no files,
// no clock and no network.
//
// These types make a bill:
//
//   - [Book], the price book of one region, from [Prices]: prices/REGION.json,
//     where each figure has its source and the month in which it was checked.
//     A book leaves out unknown prices; a bill that needs one is an error.
//     [ParseBook] reads a book of the user's, which [ImportPrices] makes from
//     an [Offer], one of the price lists that AWS publishes.
//   - [Usage], one month of calls: what a call runs, reads and sends.
//     [MeteredRead], [MeteredMessage], [MeteredFile], [MeteredAccess] and
//     [BilledDuration] turn what a program does into what AWS counts.
//   - [Messages], the NFS requests besides READ and WRITE, counted or modeled
//     from a [Tree].
//   - [Choice], calls with and without an index: both usages, and, from
//     [Book.Weigh], the churn of files at which they cost the same.
//   - [Projection], the monthly cost of a scan: [Measured] makes a usage from
//     what a [Scan] took, [ByHand] from given figures.
//   - [Bill], from [Book.Bill]: one item for each tier of each meter used, their
//     total, and warnings about what the total does not show.
//   - [Job], calls to be answered, and [Advice], from [Book.Advise]: each [Way]
//     to do it is an [Option], which turns one usage into another, and its bill.
//   - [Fanout], one scan that many functions share, priced by [Book.Fanout]. [Rates]
//     say what the file system gives them, and a [Crowd] what more of them cost.
//
// # Units
//
// Bytes are bytes. MB, GB and MiB, GiB are powers of two, as AWS bills them: GB = GiB =
// 2^30 bytes and MB = 2^20. A month is 30 days unless [Usage] says otherwise. MiBps is MiB per second.
//
// # Cents
//
// A request costs a fifth of a millionth of a dollar, so a rounding error too small to
// see in one call shows in a month: half of a hundredth of a cent on each of 50 million
// calls is $2,500. So prices go from decimal strings into [math/big.Rat], and quantities
// for the whole month are fractions of integers. Nothing is rounded, and nothing
// overflows, until [Cents] or [Decimal] formats a number.
package cost
