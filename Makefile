# The only door: `make help` lists every target by what it needs.
SHELL := /bin/bash
export PATH := $(CURDIR)/node_modules/.bin:$(HOME)/.cache/weir-cluster/bin:$(PATH)
JEST := node --experimental-vm-modules --disable-warning=ExperimentalWarning node_modules/jest/bin/jest.js
# Compiled output is older than any source: build again.
SOURCES := $(shell find src -type f)
# make e2e ONLY=<name> runs the end-to-end files whose name contains it.
ONLY ?=
ROW ?= store

.DEFAULT_GOAL := help
.PHONY: help deps system-deps build emit demo run check version test test-unit test-process test-limiter test-redis test-cluster test-node e2e \
	cluster-up cluster-down image dev-up dev-down bench bench-page mutants fuzz lint format clean

help: ## Show this map
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## /{printf "  make %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

deps: node_modules/.installed ## Install npm packages, the pinned Node included (needs npm)

# npm's warnings are about the Node that runs npm; Weir runs on the Node that it installs.
node_modules/.installed: package.json package-lock.json
	npm ci --no-audit --no-fund --loglevel=error
	@touch $@ node_modules/.runtime

# What users run needs none of what only tests need.
node_modules/.runtime: package.json package-lock.json
	npm ci --omit=dev --no-audit --no-fund --loglevel=error
	@touch $@

system-deps: deps ## Install what tests need from outside npm: Redis (Debian), the Kubernetes programs (Go)
	@scripts/system-deps.sh

build: dist/.built ## Compile src/ to dist/

dist/.built: node_modules/.installed $(SOURCES) tsconfig.json tsconfig.build.json
	@npm run --silent build && touch $@

emit: deps ## Write what is generated from the code: deploy/crds, docs/reference
	@npm run --silent emit

demo: node_modules/.runtime ## Weir on this machine in a minute: no cluster, no Redis (WEIR_DEMO_DIR=dir for your own manifests)
	@node src/cli/main.ts demo

run: node_modules/.runtime ## The demo's servers, staying up, with curl lines to try
	@node src/cli/main.ts demo --stay

check: deps ## What a contributor runs: lint, types, unit and process tests; needs npm only, under two minutes
	@scripts/check.sh

version: deps ## Print the version, or set it everywhere: make version V=1.2.3
	@node scripts/release-version.ts $(V)

test: system-deps build ## Everything: lint, unit, processes, Redis, API server, end to end
	@scripts/test.sh

test-unit: deps ## Unit tests: need nothing, take seconds
	$(JEST) $(ARGS) --selectProjects unit

test-process: deps ## Tests that begin processes of their own or count what V8 runs; they need nothing else
	$(JEST) $(ARGS) --selectProjects process

test-redis: deps ## Tests against real Redis servers (needs redis-server)
	$(JEST) $(ARGS) --selectProjects redis

test-cluster: deps ## Tests against a real API server (needs Go, or a cluster: tools/node-cluster/README.md)
	$(JEST) --selectProjects cluster --runInBand $(ARGS)

test-node: deps ## Tests with pods on a real node (root, Linux, Go; or a cluster: tools/node-cluster/README.md)
	@node tools/node-cluster/cli.ts build-images
	$(JEST) --selectProjects node --runInBand --forceExit $(ARGS)

cluster-up: deps ## A Kubernetes that runs pods on this machine, or yours (WEIR_TEST_KUBECONFIG); writes .run/cluster.env
	@node tools/node-cluster/cli.ts up --node

cluster-down: ## End that cluster; nothing of it is left on the machine
	@node tools/node-cluster/cli.ts down --node

image: deps ## Build the image of Weir and those of the tests, and load them into the cluster of cluster-up
	@node tools/node-cluster/cli.ts image

test-limiter: deps ## The limiter's tests with the control plane's sources deleted (in a copy)
	@scripts/test-limiter.sh

e2e: build ## End to end with real processes; ONLY=<name> runs one (needs Redis and Go)
	$(JEST) --selectProjects e2e --runInBand $(ONLY) $(ARGS)

dev-up: build ## etcd, kube-apiserver, Redis, operator, two limiters, an upstream on loopback; writes .run/env
	@node test/rig/dev/cli.ts up

dev-down: ## End exactly what dev-up started
	@node test/rig/dev/cli.ts down

bench: build ## Benchmarks: ROW=store|apply|push|memory|scale|previous SECONDS=n; JSON to bench/results
	@node bench/run.ts --row $(ROW) $(if $(SECONDS),--seconds $(SECONDS))

bench-page: deps ## Write docs/benchmarks.md from bench/published
	@node bench/page.ts

mutants: deps ## Seed faults into a copy; each must turn a named test red (ONLY=<name> runs one)
	@node scripts/mutants.ts $(ONLY)

fuzz: deps ## Try new inputs on every parser of what callers send: SECONDS=n for each (TARGET=<name> tries one)
	@node test/fuzz/cli.ts $(if $(SECONDS),--seconds $(SECONDS)) $(if $(TARGET),--target $(TARGET))

lint: deps ## ESLint, Prettier, types
	npm run --silent lint

format: deps ## Put every file into its form
	npm run --silent format

clean: ## Remove what was built (caches outside the project stay)
	rm -rf dist .run coverage
