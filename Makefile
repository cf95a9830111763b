# make demo   makes the standard set, scans it in both modes, shows the bill
# make test   runs all tests, with the race detector where there is a C compiler
# make lambda build/dedupe-arm64.zip and -amd64.zip
# make invoke calls the Lambda function here, with [EVENT=...]
# make bench-peers  compares dedupe with the other finders that are installed, with [TREES=1,3,7] [RUNS=10] [SEED=1]
# make experiment  compares the modes and languages as on Lambda, for cmd/experiment/README.md; as root
# The rest: fixtures [DIR=...], build, deploy, check-deploy, lint, bench, clean.

DIR   ?= build/efs
GO    ?= go
# The race detector needs cgo and so a C compiler; the product needs neither.
RACE  := $(shell command -v $$(CGO_ENABLED=1 $(GO) env CC) >/dev/null && echo -race)

CODE  := cmd dedupe deploy fixtures
EVENT ?= deploy/events/http-api-scan.json

.PHONY: demo test fixtures build build/dedupe build/bootstrap build/experiment build/experiment-bootstrap lambda invoke deploy check-deploy lint bench bench-peers experiment clean FORCE

demo:

build: build/dedupe build/bootstrap build/experiment build/experiment-bootstrap

# Phony, because go build itself knows what is up to date.
build/dedupe build/experiment:
	CGO_ENABLED=0 $(GO) build -trimpath -buildvcs=auto -ldflags "-s -w" -o $@ ./cmd/$(@F)

fixtures: build/dedupe
	build/dedupe fixtures $(DIR)

demo: fixtures
	@echo; echo '== goroutines'
	build/dedupe scan --workers 100 --bill $(DIR)
	@echo; echo '== processes'
	build/dedupe scan --workers 100 --bill --mode processes $(DIR)
	@echo; echo '== the two compared'
	build/dedupe scan --workers 100 --format json --output build/goroutines.json $(DIR)
	build/dedupe scan --workers 100 --format json --output build/processes.json --mode processes $(DIR)
	build/dedupe cost --report build/goroutines.json --report build/processes.json

# The bootstrap of a Lambda function; -trimpath and no build id make it the same
# bytes wherever and whenever it is built from the same revision.
BUILD_LAMBDA = CGO_ENABLED=0 GOAMD64=v1 GOARM64=v8.0 $(GO) build -trimpath -buildvcs=auto -tags lambda.norpc -ldflags '-s -w -buildid=' -o $@

build/lambda/%/bootstrap: FORCE
	GOOS=linux GOARCH=$* $(BUILD_LAMBDA) ./cmd/lambda

# The same for this machine.
build/bootstrap:
	$(BUILD_LAMBDA) ./cmd/lambda

# The function that the experiment measures, for this machine and for Lambda.
build/experiment-bootstrap:
	$(BUILD_LAMBDA) ./cmd/experiment/bootstrap

build/experiment-lambda/%/bootstrap: FORCE
	GOOS=linux GOARCH=$* $(BUILD_LAMBDA) ./cmd/experiment/bootstrap

build/experiment-%.zip: build/experiment-lambda/%/bootstrap
	$(GO) run deploy/zip.go $@ $<

build/dedupe-%.zip: build/lambda/%/bootstrap
	$(GO) run deploy/zip.go $@ $<

lambda: build/dedupe-arm64.zip build/dedupe-amd64.zip

invoke: fixtures build/bootstrap build/experiment
	build/experiment invoke --root $(DIR) $(EVENT)

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
	@test -z "$$(gofmt -l $(CODE))" || { gofmt -l $(CODE); echo 'run gofmt -w on these'; exit 1; }
	$(GO) vet ./...
	GOOS=darwin $(GO) vet ./...
	$(GO) tool staticcheck ./...
	$(GO) mod tidy -diff

bench: build/dedupe
	$(GO) test -run '^$$' -bench . -benchmem ./...

# $(call into,FILE,NAME) replaces the table NAME in FILE with build/NAME.md.
into = sed -i -e "/^<!-- $(2) -->/,/^<!-- end -->/{//!d}" -e "/^<!-- $(2) -->/r build/$(2).md" $(1)

# Both modes at all memory sizes, and then all workloads, modes and languages at one.
experiment: build
	build/experiment run --format json --output build/modes.json
	build/experiment run --contenders --workload scan,fib,fetch --modes goroutines,processes,processes-per-task --memory 1769 --format json --output build/languages.json
	build/experiment run --report build/modes.json --format markdown --output build/modes.md
	build/experiment run --report build/languages.json --format markdown --output build/languages.md
	$(call into,cmd/experiment/README.md,modes)
	$(call into,cmd/experiment/README.md,languages)

# The table, and all samples; the trees stay, until make clean.
bench-peers: build/dedupe build/experiment
	build/experiment peers --markdown build/peers.md --json build/peers.json \
		$(if $(TREES),--trees $(TREES)) $(if $(RUNS),--runs $(RUNS)) $(if $(SEED),--seed $(SEED)) $(ARGS)
	$(call into,cmd/experiment/internal/peers/README.md,peers)

clean:
	rm -rf build
