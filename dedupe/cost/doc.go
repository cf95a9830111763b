// Package cost says what a month of calls costs on AWS: a Lambda function
// behind API Gateway that reads files from Amazon EFS, and perhaps asks an index of
// digests in DynamoDB before it does. It is arithmetic only.
// It knows prices, usage and bills; it reads no files, no clock and no network.
//
// These types make a bill:
//
//   - [Book], the price book of one region, from [Prices]: prices/REGION.json,
//     where each figure carries its source and the month in which it was
//     checked. A price that was not found out is not in the book, and a bill
//     that needs it is refused.
//   - [Usage], one month of calls: what a call runs, reads and sends.
//     [MeteredRead], [MeteredMetadata], [MeteredAccess] and [BilledDuration]
//     turn what a program does into what AWS counts.
//   - [Choice], calls with an index and without: both usages, and the churn of files
//     at which they cost the same, from [Book.Weigh].
//   - [Projection], what a scan costs by the month: [Measured] makes a usage of
//     what a [Scan] took, [ByHand] of figures that somebody gives.
//   - [Bill], from [Book.Bill]: one item for each tier of each meter used, their
//     total, and warnings about what the total does not show.
//
// # Units
//
// Bytes are bytes; MB, GB and MiB, GiB are powers of two, as AWS bills them:
// GB = GiB = 2^30 bytes and MB = 2^20. A month is 30 days, see [Month]. MiBps
// is MiB a second.
//
// # Cents
//
// A request costs a fifth of a millionth of a dollar, so a rounding too small
// to see in one call is visible in the month: half of a hundredth of a cent on
// each of 50 million calls is $2,500. Hence prices are read from decimal strings
// into [math/big.Rat], quantities are computed for the whole month as fractions
// of integers, and nothing is rounded, and nothing overflows, until [Cents] or
// [Decimal] prints a number.
package cost
