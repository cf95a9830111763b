module efsdedupe/cmd/experiment/predictor

go 1.26.0

require (
	efsdedupe v0.0.0
	github.com/aws/aws-lambda-go v1.55.1
	github.com/ebitengine/purego v0.11.3
	github.com/zeebo/blake3 v0.2.4
)

require (
	github.com/bmatcuk/doublestar/v4 v4.10.4 // indirect
	github.com/cespare/xxhash/v2 v2.3.0 // indirect
	github.com/klauspost/cpuid/v2 v2.4.2 // indirect
	golang.org/x/sync v0.24.0 // indirect
	golang.org/x/sys v0.49.0 // indirect
)

replace efsdedupe => ../../..

replace github.com/klauspost/cpuid/v2 => ../../../dedupe/internal/cpuid
