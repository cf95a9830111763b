package cost

import (
	"slices"
	"strings"
)

// meterInfo is a meter that bills have, and where AWS's offer files give its price.
type meterInfo struct {
	name  string
	unit  string
	offer string // code of the offer, such as "AmazonEFS"

	// usages are the usage types that price it, without the prefix of the region. The
	// first that has a price counts. The kind of access may follow after a space, as in
	// "ETDataAccess-Bytes Read".
	usages []string

	// free is the usage type, of no region, of the monthly free tier; empty if the bill
	// has none.
	free string
}

// meterInfos lists all meters, in the order of bills.
func meterInfos() []meterInfo {
	const (
		lambda     = "AWSLambda"
		api        = "AmazonApiGateway"
		efs        = "AmazonEFS"
		dynamodb   = "AmazonDynamoDB"
		cloudwatch = "AmazonCloudWatch"
		transfer   = "AWSDataTransfer"
		s3         = "AmazonS3"
		states     = "AmazonStates"
	)
	return []meterInfo{
		{"lambda.duration.x86_64", "GB-second", lambda, []string{"Lambda-GB-Second"}, "Global-Lambda-GB-Second"},
		{"lambda.duration.arm64", "GB-second", lambda, []string{"Lambda-GB-Second-ARM"}, "Global-Lambda-GB-Second"},
		{"lambda.provisioned_duration.x86_64", "GB-second", lambda, []string{"Lambda-Provisioned-GB-Second"}, ""},
		{"lambda.provisioned_duration.arm64", "GB-second", lambda, []string{"Lambda-Provisioned-GB-Second-ARM"}, ""},
		{"lambda.provisioned_concurrency.x86_64", "GB-second", lambda, []string{"Lambda-Provisioned-Concurrency"}, ""},
		{"lambda.provisioned_concurrency.arm64", "GB-second", lambda, []string{"Lambda-Provisioned-Concurrency-ARM"}, ""},
		{"lambda.requests", "request", lambda, []string{"Request", "Request-ARM"}, "Global-Request"},
		{"lambda.ephemeral_storage", "GB-second", lambda, []string{"Lambda-Storage-GB-Second", "Lambda-Storage-GB-Second-ARM"}, ""},
		{"lambda.response_streaming", "GB", lambda, []string{"Lambda-Streaming-Response-Processed-Bytes", "Lambda-Streaming-Response-Processed-Bytes-ARM"}, ""},

		{"api.http", "request", api, []string{"ApiGatewayHttpRequest"}, ""},
		{"api.rest", "request", api, []string{"ApiGatewayRequest"}, ""},

		{"efs.read", "GB", efs, []string{"ETDataAccess-Bytes Read", "ETDataAccess-Read-Bytes"}, ""},
		{"efs.write", "GB", efs, []string{"ETDataAccess-Bytes Write", "ETDataAccess-Write-Bytes"}, ""},
		{"efs.metadata", "GB", efs, []string{"ETDataAccess-Bytes Read", "ETDataAccess-Read-Bytes"}, ""}, // metered as reads
		{"efs.provisioned", "MiBps-month", efs, []string{"ProvisionedTP-MiBpsHrs"}, ""},
		{"efs.access.ia", "GB", efs, []string{"IADataAccess-Bytes Read", "IADataAccess-Bytes"}, ""},
		{"efs.access.archive", "GB", efs, []string{"ArchiveDataAccess-Bytes Read", "ArchiveDataAccess-Bytes"}, ""},
		{"efs.storage.standard", "GB-month", efs, []string{"TimedStorage-ByteHrs"}, ""},
		{"efs.storage.one_zone", "GB-month", efs, []string{"TimedStorage-Z-ByteHrs"}, ""},
		{"efs.storage.ia", "GB-month", efs, []string{"IATimedStorage-ET-ByteHrs"}, ""},
		{"efs.storage.ia.not_elastic", "GB-month", efs, []string{"IATimedStorage-ByteHrs"}, ""},
		{"efs.storage.one_zone_ia", "GB-month", efs, []string{"IATimedStorage-Z-ByteHrs"}, ""},
		{"efs.storage.archive", "GB-month", efs, []string{"ArchiveTimedStorage-ByteHrs"}, ""},

		{"dynamodb.read", "read unit", dynamodb, []string{"ReadRequestUnits"}, ""},
		{"dynamodb.write", "write unit", dynamodb, []string{"WriteRequestUnits"}, ""},
		{"dynamodb.storage", "GB-month", dynamodb, []string{"TimedStorage-ByteHrs"}, ""},

		{"logs.ingestion", "GB", cloudwatch, []string{"VendedLog-Bytes", "DataProcessing-Bytes"}, "Global-DataProcessing-Bytes"}, // logs of Lambda and API Gateway are vended
		{"logs.storage", "GB-month", cloudwatch, []string{"TimedStorage-ByteHrs"}, "Global-TimedStorage-ByteHrs"},
		{"metrics.custom", "metric", cloudwatch, []string{"CW:MetricMonitorUsage"}, "Global-CW:MetricMonitorUsage"},
		{"metrics.alarms", "alarm", cloudwatch, []string{"CW:AlarmMonitorUsage"}, "Global-CW:AlarmMonitorUsage"},

		{"transfer.out", "GB", transfer, []string{"DataTransfer-Out-Bytes"}, "Global-DataTransfer-Out-Bytes"},
		{"transfer.cross_zone", "GB", transfer, []string{"DataTransfer-Regional-Bytes"}, ""},

		{"s3.get", "request", s3, []string{"Requests-Tier2"}, ""},
		{"s3.list", "request", s3, []string{"Requests-Tier1"}, ""}, // and PUT
		{"s3.storage", "GB-month", s3, []string{"TimedStorage-ByteHrs"}, ""},

		{"states.transitions", "transition", states, []string{"StateTransition"}, ""},
		{"states.express.requests", "request", states, []string{"StepFunctions-Request"}, ""},
		{"states.express.duration", "GB-second", states, []string{"StepFunctions-GB-Second"}, ""},
	}
}

// Offers lists the codes of AWS's offers that price meters, in the order of bills.
func Offers() []string {
	var codes []string
	for _, m := range meterInfos() {
		if !slices.Contains(codes, m.offer) {
			codes = append(codes, m.offer)
		}
	}
	return codes
}

func meterNamed(name string) (meterInfo, bool) {
	all := meterInfos()
	i := slices.IndexFunc(all, func(m meterInfo) bool { return m.name == name })
	if i < 0 {
		return meterInfo{}, false
	}
	return all[i], true
}

// measuredIn reports whether the meter counts what an offer file counts in this unit. A
// unit such as "1K requests" is another one.
func (m meterInfo) measuredIn(listed string) bool {
	listed = strings.TrimSuffix(strings.ToLower(listed), "s")
	switch m.unit {
	case "GB":
		return listed == "gb"
	case "GB-month", "MiBps-month":
		return strings.HasPrefix(listed, strings.ToLower(strings.TrimSuffix(m.unit, "nth")))
	case "GB-second":
		return strings.HasSuffix(listed, "gb-second") || listed == "second"
	}
	return listed != "" && !strings.ContainsAny(listed, "0123456789") && !strings.Contains(listed, "gb") && !strings.Contains(listed, "hour")
}

// withoutRegion removes the region from a usage type: APN1-Request is a Request. Some
// usage types of us-east-1 have no region, and some begin with what looks like one:
// IA-ReadRequestUnits.
func withoutRegion(usage string) string {
	prefix, rest, found := strings.Cut(usage, "-")
	letters := strings.TrimRight(prefix, "0123456789")
	capitals := strings.Trim(letters, "ABCDEFGHIJKLMNOPQRSTUVWXYZ") == ""
	if found && (prefix == "EU" || capitals && len(letters) == 3 && len(prefix) == 4) {
		return rest
	}
	return usage
}
