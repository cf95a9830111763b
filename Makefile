# make demo   makes the standard set, scans it in both modes, shows the bill
# make test   runs all tests, with the race detector where there is a C compiler
# The rest: fixtures [DIR=...], build, lint, bench, clean.

DIR   ?= build/efs
GO    ?= go
# The race detector needs cgo and so a C compiler; the product needs neither.
RACE  := $(shell command -v $$(CGO_ENABLED=1 $(GO) env CC) >/dev/null && echo -race)

.PHONY: demo test fixtures build build/dedupe lint bench clean

demo:

build: build/dedupe

# Phony, because go build itself knows what is up to date.
build/dedupe:
	CGO_ENABLED=0 $(GO) build -trimpath -buildvcs=auto -ldflags "-s -w" -o $@ ./cmd/dedupe

fixtures: build/dedupe
	build/dedupe fixtures $(DIR)

demo: fixtures
	@echo; echo '== goroutines'
	build/dedupe scan --workers 100 $(DIR)
	@echo; echo '== processes'
	build/dedupe scan --workers 100 --mode processes $(DIR)
	@echo; echo '== the two compared'
	build/dedupe scan --workers 100 --format json --output build/goroutines.json $(DIR)
	build/dedupe scan --workers 100 --format json --output build/processes.json --mode processes $(DIR)
	build/dedupe cost --report build/goroutines.json --report build/processes.json

test:
	CGO_ENABLED=$(if $(RACE),1,0) $(GO) test $(RACE) $(ARGS) ./...

lint:
	@test -z "$$(gofmt -l .)" || { gofmt -l .; echo 'run gofmt -w on these'; exit 1; }
	$(GO) vet ./...
	GOOS=darwin $(GO) vet ./...
	$(GO) tool staticcheck ./...
	$(GO) mod tidy -diff

bench: build/dedupe
	$(GO) test -run '^$$' -bench . -benchmem ./...

clean:
	rm -rf build
