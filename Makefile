# The only door: `make help` lists every target by what it needs.
SHELL := /bin/bash
export PATH := $(CURDIR)/node_modules/.bin:$(PATH)
JEST := node --experimental-vm-modules --disable-warning=ExperimentalWarning node_modules/jest/bin/jest.js

.DEFAULT_GOAL := help
.PHONY: help deps build lint test-unit

help: ## Show this map
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

deps: node_modules/.installed ## Install npm packages (pinned Node included)

node_modules/.installed: package.json package-lock.json
	npm ci && touch $@

build: deps ## Compile src/ to dist/
	npm run --silent build

lint: deps ## ESLint, Prettier, types
	npm run --silent lint

test-unit: deps ## Unit tests: no dependencies, seconds
	$(JEST) --selectProjects unit $(ARGS)
