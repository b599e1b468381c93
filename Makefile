# The entry points of this repository; `make help` lists them. They need GNU
# make, any POSIX sh and Go.

GO   ?= go
GATE  = $(GO) run ./internal/test/gate

# The server that real nodes run: make test SERVER=/path/to/valkey-server.
ifdef SERVER
export REDLOCK_TEST_SERVER := $(abspath $(SERVER))
endif

.DEFAULT_GOAL := test
.NOTPARALLEL:
.PHONY: help test gate gate-full servers redlock image check quick demo search chaos sim mutants bench setup clean

help: ## print this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-9s %s\n", $$1, $$2 }' Makefile

test: ## does it work here: all packages with the race detector, simulation, a short chaos round
	@sh scripts/setup.sh test
	@$(GATE) test

gate: ## everything that make test does not run: static checks, other systems and modules, a full chaos round
	@sh scripts/setup.sh gate
	@$(GATE) gate

gate-full: servers ## all packages on every server that make servers fetches, 8 minutes for each
	@$(GATE) full

servers: ## fetch other servers of Debian into bin/servers, without installing them: Valkey, Redis 8, Redict
	@sh scripts/servers.sh

# The version and the commit that redlock --version prints, where git cannot say.
VERSION      =
COMMIT       =

redlock: ## a static program for this system, at ./redlock; VERSION=v1.2.3 COMMIT=… for a release
	@CGO_ENABLED=0 $(GO) build -trimpath -ldflags '-s -w -X main.release=$(VERSION) -X main.commit=$(COMMIT)' -o redlock ./cmd/redlock

IMAGE        = venta-hq/redlock

image: ## the program in an image, IMAGE=venta-hq/redlock; needs Docker and VERSION, COMMIT for a release
	@docker build --tag '$(IMAGE)' --build-arg VERSION='$(VERSION)' --build-arg COMMIT='$(COMMIT)' .

check: ## the static checks of make gate
	@$(GATE) -only 'gofmt|staticcheck|tidy|vet' gate

quick: ## all tests on embedded nodes only, without the race detector
	@REDLOCK_TEST_BACKENDS=embedded $(GO) test ./...

demo: ## five embedded nodes, workers and faults, in under 15 seconds
	@$(GO) run ./cmd/redlock demo

search: ## the exhaustive search of the token agreement in full, up to an hour
	@$(GO) test ./internal/quorumlock -run Search -search.full -v -timeout 60m

DURATION     = 30m

chaos: ## faults on real nodes at random seeds, for DURATION=30m, and a table of them
	@REDLOCK_CHAOS_DURATION=$(DURATION) $(GO) test -count=1 ./chaos_test -run Scenarios -v -timeout 0

SEEDS        = 10000

sim: ## faults in virtual time, every seed another world; SEEDS=100000 for more
	@$(GO) test ./internal/test/sim -run TestSeeds_KeepEveryPromise -count=1 -timeout 0 -v -sim.seeds $(SEEDS)

mutants: ## deliberate faults, each of which a named test must notice; 22 minutes on two cores
	@$(GO) run ./internal/test/mutation

# Flags of the program in benchmarks, such as --only solo --duration 1s --rounds 9.
BENCH_FLAGS  =

bench: ## against other lock libraries, into docs/performance.md; half an hour. BASE=rev: against that git revision; 6 minutes
	@if [ -n "$$BASE" ]; then \
		$(GO) -C benchmarks run . --base="$$BASE" $(BENCH_FLAGS); \
	else \
		set -e; $(GO) -C benchmarks run . --write ../docs $(BENCH_FLAGS); \
		$(GO) test ./internal/keepalive -run none -bench Hold -benchtime 1x -timeout 20m; \
	fi

setup: ## install what make test and make gate can use, as root on Debian or Ubuntu
	@sh scripts/setup.sh gate

clean: ## remove what builds and tests left behind
	@$(GO) clean ./...
	@rm -rf bin dist completions
	@rm -f redlock redlock.exe *.test *.out *.prof dump.rdb
