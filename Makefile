# 'make' lists the targets: each has a line that begins with two hashes.
DIR   ?= build/efs
GO    ?= go
# RACE=-race turns on the race detector, which needs a C compiler and more than twice the time.
RACE  ?=

CODE  := cmd dedupe deploy fixtures
EVENT ?= deploy/events/http-api-scan.json

.PHONY: crowd demo test test-api test-aws test-box test-large test-nfs test-page fixtures build build/dedupe build/bootstrap build/experiment build/experiment-bootstrap build/experiment-predictor lambda invoke deploy check-deploy lint bench bench-peers bench-job experiment golden clean install dist test-dist build/share help FORCE

help: ## list the targets
	@echo 'make TARGET [VARIABLE=...]:'
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/\1\t\2/p' $(MAKEFILE_LIST) | sort | awk -F '\t' '{printf "  %-13s %s\n", $$1, $$2}'

build: build/dedupe build/bootstrap build/experiment build/experiment-bootstrap build/experiment-predictor ## build all programs for this machine

# See cmd/internal/cli/start.go.
ENTRY := $(if $(filter linux/amd64 linux/arm64,$(shell $(GO) env GOOS)/$(shell $(GO) env GOARCH)),-E start_dedupe)

# Phony, because go build itself knows what is up to date.
build/dedupe build/experiment:
	CGO_ENABLED=0 $(GO) build -trimpath -buildvcs=auto -ldflags "-s -w $(ENTRY)" -o $@ ./cmd/$(@F)

fixtures: build/dedupe ## create the standard set; DIR=build/efs
	build/dedupe fixtures $(DIR)

demo: fixtures ## create the standard set, scan it in both modes, compare bills
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
BUILD_LAMBDA = CGO_ENABLED=0 GOAMD64=v1 GOARM64=v8.0 $(GO) build -trimpath -buildvcs=auto -tags lambda.norpc -ldflags '-s -w -buildid=' -o $(CURDIR)/$@

build/lambda/%/bootstrap: FORCE
	GOOS=linux GOARCH=$* $(BUILD_LAMBDA) ./cmd/lambda

# The same for this machine.
build/bootstrap:
	$(BUILD_LAMBDA) ./cmd/lambda

# The function that the experiment measures, for this machine and for Lambda.
build/experiment-bootstrap:
	$(BUILD_LAMBDA) ./cmd/experiment/bootstrap

# The same for predictions: a module of its own, with a dependency that nothing else has.
PREDICTOR := cmd/experiment/predictor

build/experiment-predictor:
	cd $(PREDICTOR) && $(BUILD_LAMBDA) .

build/experiment-lambda/%/bootstrap: FORCE
	GOOS=linux GOARCH=$* $(BUILD_LAMBDA) ./cmd/experiment/bootstrap

build/experiment-%.zip: build/experiment-lambda/%/bootstrap
	$(GO) run deploy/zip.go $@ $<

build/dedupe-%.zip: build/lambda/%/bootstrap
	$(GO) run deploy/zip.go $@ $<

lambda: build/dedupe-arm64.zip build/dedupe-amd64.zip ## build the zips of the Lambda function

invoke: fixtures build/bootstrap build/experiment ## call the Lambda function on this machine; EVENT=FILE
	build/experiment invoke --root $(DIR) $(EVENT)

ARCH  ?= arm64
STACK ?= dedupe

deploy: build/dedupe-$(ARCH).zip ## deploy the stack with sam; STACK, ARCH, PARAMS
	cp build/dedupe-$(ARCH).zip build/dedupe.zip
	sam deploy --template-file deploy/template.yaml --stack-name $(STACK) --resolve-s3 --no-fail-on-empty-changeset --capabilities CAPABILITY_IAM \
		--tags application=dedupe --parameter-overrides Architecture=$(ARCH:amd64=x86_64) $(PARAMS)

check-deploy: ## check the template; needs python3 and npm
	deploy/check

# A DynamoDB on the loopback address, for the tests of the shared index; it needs npm.
build/dynalite: dedupe/index/dynamodb/testdata/package-lock.json
	rm -rf $@
	mkdir -p $@
	cp dedupe/index/dynamodb/testdata/package*.json $@
	npm ci --prefix $@ --silent --no-audit --no-fund || { rm -rf $@; exit 1; }

# What the tests of the API need: generators of clients and Schemathesis, from npm, PyPI
# and the Go proxy, all in the versions of the files in API.
API := dedupe/service/testdata/api

build/api: $(wildcard $(API)/*.json $(API)/requirements.txt $(API)/go.*)
	rm -rf $@
	mkdir -p $@
	cp $(API)/package*.json $@
	npm ci --prefix $@ --silent --no-audit --no-fund || { rm -rf $@; exit 1; }
	cd $(API) && CGO_ENABLED=0 $(GO) build -o $(CURDIR)/$@/oapi-codegen github.com/oapi-codegen/oapi-codegen/v2/cmd/oapi-codegen || { rm -rf $(CURDIR)/$@; exit 1; }
	python3 -m venv $@/venv && $@/venv/bin/pip install --quiet --disable-pip-version-check -r $(API)/requirements.txt || { rm -rf $@; exit 1; }

# What checks that everybody can use the page of a report, and the library that draws its
# map, to compare with; it needs npm.
build/axe: $(wildcard cmd/dedupe/testdata/axe/package*.json)
	rm -rf $@
	mkdir -p $@
	cp $^ $@
	npm ci --prefix $@ --silent --no-audit --no-fund || { rm -rf $@; exit 1; }

test-page: build/axe ## test the HTML report; needs npm and chromium-headless-shell
	$(GO) test -tags page -count 1 -v -run '^TestPage' ./cmd/dedupe

# AWS on the loopback address: S3, Step Functions and Lambda.
build/ministack: fixtures/aws/requirements.txt
	@python3 -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo 'the emulator of AWS needs python3 3.11 or later; this is:'; python3 --version; exit 1; }
	rm -rf $@
	python3 -m venv $@ && $@/bin/pip install --quiet --disable-pip-version-check -r $< || { rm -rf $@; exit 1; }

test-aws: build/ministack ## test jobs on an emulator of AWS; needs python3, minutes
	$(GO) test -tags aws -count 1 -timeout 40m -v -run '^TestEmulator|^TestStateMachine' ./fixtures/aws ./dedupe/job/s3 ./deploy ./cmd/experiment

test-api: build/api ## test the API with other clients; needs npm, python3, minutes
	$(GO) test -tags api -count 1 -v -run '^TestClients|^TestSchemathesis' ./cmd/dedupe

# The programs of a release. -trimpath and no build id make each the same bytes wherever
# and whenever it is built from the same revision.
RELEASE := linux-amd64 linux-arm64 darwin-amd64 darwin-arm64

build/release/%/dedupe: FORCE
	GOOS=$(word 1,$(subst -, ,$*)) GOARCH=$(word 2,$(subst -, ,$*)) CGO_ENABLED=0 GOAMD64=v1 GOARM64=v8.0 \
		$(GO) build -trimpath -buildvcs=auto -ldflags '-s -w -buildid= $(if $(filter linux-%,$*),-E start_dedupe)' -o $@ ./cmd/dedupe

# What is installed beside the program: manual pages, and completions for shells. They come
# from a program for this machine, whichever machine the installed one is for.
build/share:
	rm -rf $@
	GOOS= GOARCH= CGO_ENABLED=0 $(GO) build -trimpath -buildvcs=false -o build/here/dedupe ./cmd/dedupe
	build/here/dedupe man $@/man/man1
	mkdir -p $@/bash-completion/completions $@/zsh/site-functions $@/fish/vendor_completions.d
	build/here/dedupe completion bash >$@/bash-completion/completions/dedupe
	build/here/dedupe completion zsh >$@/zsh/site-functions/_dedupe
	build/here/dedupe completion fish >$@/fish/vendor_completions.d/dedupe.fish

# A module of its own, with dependencies that nothing else has.
DIST := deploy/dist

dist: $(RELEASE:%=build/release/%/dedupe) build/share ## build the packages of a release: tar.gz, deb, an image
	cd $(DIST) && CGO_ENABLED=0 $(GO) run -trimpath . $(CURDIR)
	@ls -l build/dist

# A Debian with nothing but what it needs, and man.
build/debian.tar:
	@mkdir -p build
	rm -rf build/debian
	debootstrap --variant=minbase --include=man-db $(DEBIAN) build/debian >build/debian.log || { tail build/debian.log; exit 1; }
	tar -C build/debian -cf $@.new . && mv $@.new $@
	rm -rf build/debian

DEBIAN ?= bookworm

test-dist: dist build/debian.tar ## test the packages of a release; needs root, debootstrap
	cd $(DIST) && CGO_ENABLED=0 $(GO) test -count 1 -v .

FORCE:

.SECONDARY: # keep the bootstraps

test: ## run the tests, except slower suites; RACE=-race, ARGS
	@mkdir -p build
	@echo '$(strip go test $(RACE) $(ARGS)) ./... >build/test.log'
	@{ CGO_ENABLED=$(if $(RACE),1,0) $(GO) test -v -timeout 30m $(RACE) $(ARGS) ./... 2>&1; echo $$? >build/test.status; } | tee build/test.log | grep -aE '^(ok|FAIL|panic:) ' || true
	@awk -f .ci/summary.awk build/test.log >build/summary
	@test $$(cat build/test.status) = 0 || { echo; cat build/summary; test -s build/summary || cat build/test.log; exit 1; }
	@cd $(PREDICTOR) && CGO_ENABLED=0 $(GO) test $(ARGS) ./...
	@if [ -s build/summary ]; then echo; echo 'Skipped, and why:'; cat build/summary; fi
	@echo; echo 'Slower tests: make test-api test-aws test-box test-dist test-large test-nfs test-page'

test-box: ## test the function in Lambda-sized boxes; needs root, minutes
	CGO_ENABLED=0 $(GO) test -tags box -count 1 -timeout 30m -v -run '^TestBox' $(ARGS) ./cmd/lambda

test-large: ## test large jobs, reports and trees; needs root, minutes, 4 GB
	$(GO) test -tags large -count 1 -p 1 -timeout 20m -v -run '^TestLarge' ./dedupe/job ./cmd/dedupe

test-nfs: ## test with real NFS clients and servers, in VMs; needs qemu
	@mkdir -p build
	$(GO) test -tags nfs -count 1 -timeout 40m -v ./fixtures/nfs

# The build tags of tests that have a target of their own.
SUITES := api,aws,bench,box,large,nfs,page

lint: ## check format, vet, staticcheck, go.mod, links, comments
	@test -z "$$(gofmt -l $(CODE))" || { gofmt -l $(CODE); echo 'run gofmt -w on these'; exit 1; }
	$(GO) vet -tags $(SUITES) ./...
	GOOS=darwin $(GO) vet -tags api,aws,page ./... # the other suites are for Linux
	$(GO) tool staticcheck -tags $(SUITES) ./...
	$(GO) mod tidy -diff
	cd $(PREDICTOR) && $(GO) vet ./... && $$($(GO) -C $(CURDIR) tool -n staticcheck) ./... && $(GO) mod tidy -diff
	cd $(DIST) && $(GO) vet . && $$($(GO) -C $(CURDIR) tool -n staticcheck) . && $(GO) mod tidy -e -diff 2>/dev/null # a test of nfpm has a module that is gone
	$(GO) test ./cmd/internal/docs

bench: build/dedupe ## run the benchmarks
	$(GO) test -run '^$$' -bench . -benchmem ./...

# $(call into,FILE,NAME) replaces the table NAME in FILE with build/NAME.md.
into = sed -i -e "/^<!-- $(2) -->/,/^<!-- end -->/{//!d}" -e "/^<!-- $(2) -->/r build/$(2).md" $(1)

# Both modes at all memory sizes; all workloads, modes and languages at one; helpers; many
# instances.
experiment: build build/ministack ## compare modes and languages as on Lambda; needs root
	build/experiment run --format json --output build/modes.json
	build/experiment run --contenders --workload scan,fib,fetch --modes goroutines,processes,processes-per-task --memory 1769 --format json --output build/languages.json
	build/experiment run --workload fib,scan,fetch --modes goroutines,helpers,helpers-stepfunctions --helpers 10 --memory 1769 --format json --output build/helpers.json
	build/experiment run --instances 100 --tasks 100 --format json --output build/instances.json
	build/experiment run --report build/modes.json --format markdown --output build/modes.md
	build/experiment run --report build/languages.json --format markdown --output build/languages.md
	$(call into,cmd/experiment/README.md,modes)
	build/experiment run --report build/helpers.json --format markdown --output build/helpers.md
	build/experiment run --report build/instances.json --format markdown --output build/instances.md
	$(call into,cmd/experiment/README.md,languages)
	$(call into,cmd/experiment/README.md,helpers)
	$(call into,cmd/experiment/README.md,instances)

golden: ## predict images with another runtime; needs cargo, minutes
	$(GO) test -count 1 -timeout 30m -v -run TestGolden ./cmd/experiment/internal/predict -update

crowd: build/experiment ## run a job in 1 to 16 boxes on an EFS-like mount; needs root
	build/experiment crowd --markdown build/crowd.md $(ARGS)
	$(call into,dedupe/job/README.md,crowd)

# The table, and all samples; the trees stay, until make clean.
bench-peers: build/dedupe build/experiment ## compare dedupe with other finders; TREES, RUNS, SEED
	build/experiment peers --markdown build/peers.md --json build/peers.json \
		$(if $(TREES),--trees $(TREES)) $(if $(RUNS),--runs $(RUNS)) $(if $(SEED),--seed $(SEED)) $(ARGS)
	$(call into,cmd/experiment/internal/peers/README.md,peers)

# The tree is in memory, and goes when the measurement ends.
JOB_DIR   ?= /dev/shm
JOB_FILES ?= 1000000

bench-job: ## compare a job of a million files with a scan; JOB_FILES, JOB_DIR
	@mkdir -p build
	TMPDIR=$(JOB_DIR) JOB_FILES=$(JOB_FILES) JOB_TABLE=$(CURDIR)/build/job.md $(GO) test -tags bench -count 1 -timeout 2h -v -run '^TestJobBench$$' ./cmd/dedupe
	$(call into,dedupe/job/README.md,job)

PREFIX ?= /usr/local

install: build/dedupe build/share ## install dedupe; PREFIX=/usr/local, DESTDIR
	mkdir -p $(DESTDIR)$(PREFIX)/bin
	install -m 755 build/dedupe $(DESTDIR)$(PREFIX)/bin/dedupe
	cp -R build/share $(DESTDIR)$(PREFIX)

clean: ## remove everything that was built
	rm -rf build
