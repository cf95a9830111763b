# make demo   makes the standard set, scans it in both modes, shows the bill
# make test   runs all tests, with the race detector where there is a C compiler
# make lambda build/dedupe-arm64.zip and -amd64.zip
# make invoke calls the Lambda function here, with [EVENT=...]
# The rest: fixtures [DIR=...], build, deploy, check-deploy, lint, bench, clean.

DIR   ?= build/efs
GO    ?= go
# The race detector needs cgo and so a C compiler; the product needs neither.
RACE  := $(shell command -v $$(CGO_ENABLED=1 $(GO) env CC) >/dev/null && echo -race)

EVENT ?= deploy/events/http-api-scan.json

.PHONY: demo test fixtures build build/dedupe lambda invoke deploy check-deploy lint bench clean

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

# The bootstrap of the Lambda function; -trimpath and no build id make it the same
# bytes wherever and whenever it is built from the same revision.
build/lambda/%/bootstrap: FORCE
	CGO_ENABLED=0 GOOS=linux GOARCH=$* GOAMD64=v1 GOARM64=v8.0 $(GO) build -trimpath -buildvcs=auto -tags lambda.norpc -ldflags '-s -w -buildid=' -o $@ ./cmd/lambda

build/dedupe-%.zip: build/lambda/%/bootstrap
	$(GO) run deploy/zip.go $@ $<

lambda: build/dedupe-arm64.zip build/dedupe-amd64.zip

invoke: fixtures build/lambda/$(shell $(GO) env GOARCH)/bootstrap
	build/dedupe invoke --bootstrap build/lambda/$(shell $(GO) env GOARCH)/bootstrap --root $(DIR) $(EVENT)

ARCH  ?= arm64
STACK ?= dedupe

deploy: build/dedupe-$(ARCH).zip
	cp build/dedupe-$(ARCH).zip build/dedupe.zip
	sam deploy --template-file deploy/template.yaml --stack-name $(STACK) --resolve-s3 --no-fail-on-empty-changeset --capabilities CAPABILITY_IAM \
		--tags application=dedupe --parameter-overrides Architecture=$(ARCH:amd64=x86_64) $(PARAMS)

check-deploy:
	deploy/check

# A DynamoDB on the loopback address, for the tests of the shared index; it needs npm.
build/dynalite: dedupe/index/dynamodb/testdata/package-lock.json
	rm -rf $@
	mkdir -p $@
	cp dedupe/index/dynamodb/testdata/package*.json $@
	npm ci --prefix $@ --silent --no-audit --no-fund || { rm -rf $@; exit 1; }

FORCE:

.SECONDARY: # keep the bootstraps

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
