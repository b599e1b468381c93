# The entry points of this repository; `make help` lists them. GNU make, any
# POSIX sh, Go, and for `make test` whatever scripts/setup.sh can install.

GO          ?= go
STATICCHECK  = $(GO) tool -modfile=tools/go.mod staticcheck
PLATFORMS    = linux darwin windows

# Modules of their own, so that what they need stays out of the library's go.mod.
BESIDE       = contrib/gocron contrib/scs benchmarks docs/tests

# -count=1: results of a run without redis-server must not be taken from the
# cache for one with it; go test does not see that a program was installed.
# -p 1: packages that start servers and stop them take each other's time.
TEST_FLAGS   = -count=1 -p 1 -timeout 12m

# Most tests wait for a time-out or a TTL most of the time, so more of them than
# there are processors can run beside each other.
PARALLEL     = -parallel 4

# Empty where the race detector cannot be built (no C compiler).
RACE         = $$($(GO) list -race runtime >/dev/null 2>&1 && echo -race)

# stage "heading" command… runs the command under a heading, says how long it
# took and keeps its exit status. Defined anew in the shell of each recipe line.
stage = stage() { \
	printf '\n== %s\n' "$$1"; shift; begun=$$(date +%s); \
	if "$$@"; then verdict=ok; status=0; else status=$$?; verdict=FAILED; fi; \
	printf '   %s, %s s\n' "$$verdict" "$$(($$(date +%s) - begun))"; \
	return $$status; }; stage

.DEFAULT_GOAL := test
.NOTPARALLEL:
.PHONY: help test check quick race demo search chaos sim mutants bench setup clean

help: ## print this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-8s %s\n", $$1, $$2 }' Makefile

test: setup check ## the gate: setup, check, then all tests with the race detector
	@$(stage) "simulation, without the race detector, which makes its schedules random" $(GO) test $(TEST_FLAGS) ./internal/test/sim
	@$(stage) "faults on real nodes, without the race detector, under which clients miss time-outs" $(GO) test $(TEST_FLAGS) ./chaos_test
	@$(stage) "all other tests, race detector, every backend there is" $(MAKE) -s race-tests
	@$(MAKE) -s backends

check: ## gofmt, staticcheck, go mod tidy, go vet for linux, darwin and windows
	@$(stage) "gofmt" $(MAKE) -s gofmt
	@$(stage) "staticcheck" $(STATICCHECK) ./...
	@$(stage) "go mod tidy: the library" $(GO) mod tidy -diff
	@$(stage) "go mod tidy: the tools" $(GO) -C tools mod tidy -diff
	@$(stage) "go mod tidy, go vet: the modules beside the library" $(MAKE) -s beside-check
	@set -e; for os in $(PLATFORMS); do \
		$(stage) "build for $$os, tests included" env GOOS=$$os $(MAKE) -s build; done

quick: ## all tests on embedded nodes only, without the race detector
	@$(stage) "all tests, embedded nodes only" env REDLOCK_TEST_BACKENDS=embedded $(GO) test ./...

race: ## all tests with the race detector, on every backend there is
	@$(stage) "all tests but the faults on real nodes, race detector, every backend there is" $(MAKE) -s race-tests
	@$(MAKE) -s backends

demo: ## five embedded nodes, workers and faults, in under 15 seconds
	@$(GO) run ./cmd/redlock demo

search: ## the exhaustive search of the token agreement in full, up to an hour
	@$(stage) "exhaustive search" $(GO) test ./mutex -run Search -search.full -v -timeout 60m

DURATION     = 30m

chaos: ## faults on real nodes at random seeds, for DURATION=30m, and a table of them
	@$(stage) "chaos for $(DURATION)" env REDLOCK_CHAOS_DURATION=$(DURATION) $(GO) test -count=1 ./chaos_test -run Scenarios -v -timeout 0

SEEDS        = 10000

sim: ## faults in virtual time, every seed another world; SEEDS=100000 for more
	@$(stage) "simulation of $(SEEDS) seeds" $(GO) test ./internal/test/sim -run TestSeeds -count=1 -timeout 0 -v -sim.seeds $(SEEDS)

mutants: ## deliberate faults, each of which a named test must notice; a quarter of an hour
	@$(GO) run ./internal/test/mutation

# Flags of the program in benchmarks, such as --only solo --duration 1s --rounds 9.
BENCH_FLAGS  =

bench: ## against other lock libraries, into docs/performance.md; half an hour. BASE=rev: against that git revision; 6 minutes
	@if [ -n "$$BASE" ]; then \
		$(GO) -C benchmarks run . --base="$$BASE" $(BENCH_FLAGS); \
	else \
		set -e; $(GO) -C benchmarks run . --write ../docs $(BENCH_FLAGS); \
		$(stage) "holding many leases" $(GO) test ./lease -run none -bench Hold -benchtime 1x -timeout 20m; \
	fi

setup: ## install what the tests can use where it is missing and can be installed: redis-server and more
	@$(stage) "setup" sh scripts/setup.sh

clean: ## remove what builds and tests left behind
	@$(GO) clean ./...
	@rm -rf bin dist
	@rm -f redlock redlock.exe *.test *.out *.prof dump.rdb

# Parts of the above.
.PHONY: gofmt build race-tests beside-check backends

gofmt:
	@files=$$("$$($(GO) env GOROOT)/bin/gofmt" -l .) || exit; \
	[ -z "$$files" ] || { echo "run gofmt -w on:"; echo "$$files"; exit 1; }

# It type-checks the tests as well, which go build leaves out.
build:
	@$(GO) vet ./...

# The list compiles everything on all processors, which -p 1 would do on one.
race-tests:
	@race=$(RACE); \
	[ -n "$$race" ] || echo "WITHOUT the race detector: it needs a C compiler"; \
	for m in . $(BESIDE); do $(GO) -C $$m list $$race -export -test -deps ./... >/dev/null || exit; done; \
	$(GO) test $$race $(TEST_FLAGS) $(PARALLEL) $$($(GO) list ./... | grep -v /chaos_test$$) && \
	for m in $(BESIDE); do $(GO) -C $$m test $$race $(TEST_FLAGS) ./... || exit; done

beside-check:
	@for m in $(BESIDE); do $(GO) -C $$m mod tidy -diff && $(GO) -C $$m vet ./... || exit; done

backends:
	@server=$$(redis-server --version 2>/dev/null | sed -n 's/ server v=\([^ ]*\).*/ \1/p'); \
	nodes="embedded nodes only, redis-server not found"; \
	if [ -n "$$server" ]; then nodes="embedded nodes and real $$server processes"; fi; \
	if [ -n "$$REDLOCK_TEST_BACKENDS" ]; then nodes="$$REDLOCK_TEST_BACKENDS nodes, as REDLOCK_TEST_BACKENDS says$${server:+, with $$server}"; fi; \
	race="with the race detector"; \
	if [ -z "$(RACE)" ]; then race="WITHOUT the race detector"; fi; \
	printf '\nPassed on: %s; %s.\n' "$$nodes" "$$race"
