# Kluis. `make` lists the targets. GNU make 3.81 or newer, and Go: nothing else has to be installed.

# A machine without a home folder (a container, a CI user): Go and the linter keep their caches here then.
ifeq ($(and $(strip $(HOME)),$(wildcard $(HOME)/.)),)
export HOME := $(CURDIR)/.cache/home
endif

# No stamping by Go itself, which fails where git refuses a checkout that somebody else owns; VERSION does it.
# Set before whatever the environment or `go env -w` says, so that they have the last word.
export GOFLAGS := -buildvcs=false $(shell HOME='$(HOME)' go env GOFLAGS 2>/dev/null)

VERSION = $(shell test -e .git && git describe --tags --always --dirty 2>/dev/null || echo dev)
FILE    =
BENCH   = .
PKG     = ./...
TESTS   =
FOR     = 10m

LINT_VERSION := $(shell sed -n 's|.*github.com/golangci/golangci-lint/v2 \(v[^ ]*\).*|\1|p' tools/go.mod)
# A linter built with an older Go refuses newer code, so the Go version is part of its name.
LINT := .cache/bin/golangci-lint-$(LINT_VERSION)-$(shell HOME='$(HOME)' go env GOVERSION 2>/dev/null)

.PHONY: help run build demo test race lint client chaos bench clean needs-go

help: ## print this list
	@echo 'Kluis: make <target>'
	@echo
	@sed -n 's/^\([a-z]*\):[^#]*## \(.*\)/  \1#\2/p' Makefile | awk -F'#' '{ printf "%-9s %s\n", $$1, $$2 }'

run: build ## build, then serve on http://127.0.0.1:8080 with everything kept under ./data
	./bin/kluis serve

build: needs-go ## build bin/kluis (a first build takes a minute or two)
	@test -e bin/kluis || echo 'building bin/kluis for the first time: what it is made of is fetched and compiled, which takes a minute or two' >&2
	go build -ldflags "-X 'main.version=$(VERSION)'" -o bin/kluis ./cmd/kluis

demo: build ## play the built-in sample, or FILE=actions.ndjson, through a server that `make run` started
	./bin/kluis demo $(if $(FILE),'$(FILE)')

# -count=1: a result out of Go's cache knows nothing of the database that the tests run against.
# -short: races and walks take a third of their rounds, generated tests a fifth; TESTS=-short=false takes all, as `make race` does.
# -vet=off: `make lint` vets everything, tests included.
# -p 1: one package after the other, three of its tests at once. Two packages at once, each with servers of its own, take as long on two cores, and their
# tests of restarts and time-outs meet twice the load. go list compiles all packages before, as many at once as there are cores.
test: needs-go ## run all tests; PKG=./eventstore/... TESTS='-run Append -v' for some
	@echo 'testing $(PKG): all of it takes some minutes on two cores, the first time a few more to compile, and to fetch a Postgres where the machine has none; each package says when it is done, and those that take longer that they are at it' >&2
	@while sleep 50 >/dev/null 2>&1; do ps -e -o etime= -o args= 2>/dev/null | sed -n 's|^ *\([0-9:]*\) /[^ ]*/\([a-z]*\)\.test .*|testing \2 for \1|p' >&2; done & beside=$$!; \
	go list -export -test -deps $(PKG) >/dev/null; go test -p 1 -parallel 3 -short -count=1 -vet=off -timeout 30m $(TESTS) $(PKG); status=$$?; kill $$beside; exit $$status

race: needs-go ## run all tests under the race detector (needs a C compiler, takes several times as long)
	@echo 'testing $(PKG) under the race detector: all of it takes a quarter of an hour and more' >&2
	go test -race -count=1 -timeout 45m $(TESTS) $(PKG)

lint: needs-go $(LINT) ## check format, vet, .golangci.yml, that no SQL is put together from strings, and that the API breaks no client
	@echo 'checking format, vet, lint and SQL: a minute or two when nothing is in the caches' >&2
	@cd tools && go test ./... && go build -o ../.cache/bin/sqlcheck ./sqlcheck
	@failed=0; \
	GOLANGCI_LINT_CACHE='$(CURDIR)/.cache/golangci-lint' $(LINT) run --allow-parallel-runners ./... || failed=1; \
	(cd tools && GOLANGCI_LINT_CACHE='$(CURDIR)/.cache/golangci-lint' ../$(LINT) run --allow-parallel-runners ./...) || failed=1; \
	go vet -vettool='$(CURDIR)/.cache/bin/sqlcheck' ./... || failed=1; \
	tools/breaking.sh || failed=1; \
	exit $$failed

$(LINT):
	@echo 'building golangci-lint $(LINT_VERSION), once: a minute or two'
	@mkdir -p .cache/bin
	cd tools && go build -o '../$(LINT)' github.com/golangci/golangci-lint/v2/cmd/golangci-lint

client: needs-go ## make clients/typescript anew, of the schema of this program (needs npm)
	go test -count=1 -run 'TestSchemaOfClients' ./http -write
	cd clients/typescript && npm ci && npm run generate && npm run check

chaos: needs-go ## two processes in trouble for FOR=10m: killed, stopped, cut off, read-only, with a wrong clock
	KLUIS_CHAOS='$(FOR)' go test -count=1 -timeout 0 -run 'TestChaos$$|TestAYearAhead$$' -v ./cmd/kluis

# One package after the other: two at once on the same cores would measure each other.
bench: needs-go ## run all benchmarks, each beside its own baseline; BENCH=Append for some
	@packages=$$(find . \( -name '.?*' -o -name data -o -name testdata \) -prune -o -name '*_test.go' \
		-exec grep -l '^func Benchmark' {} + | sed 's|/[^/]*$$||' | sort -u); \
	test -n "$$packages" || { echo 'no benchmarks found'; exit 1; }; \
	echo 'measuring one package after the other: all of it takes some minutes' >&2; \
	set -x; KLUIS_TEST_FSYNC=on go test -run '^$$' -bench '$(BENCH)' -p 1 -timeout 60m $(TESTS) $$packages

clean: ## remove what was built and the caches in .cache, never ./data
	@test ! -d .cache || chmod -R u+w .cache
	rm -rf bin .cache

needs-go:
	@command -v go >/dev/null || { echo 'Kluis is built with Go 1.26 or newer: https://go.dev/dl' >&2; exit 1; }
