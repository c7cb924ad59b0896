# `make` shows what there is. Everything runs out of .venv, which the first target makes from
# requirements.lock; Python 3.11, 3.12 or 3.13 and a network to PyPI are all it needs.

SHELL := /bin/sh
.DEFAULT_GOAL := help
.SUFFIXES:

# The Python of an existing .venv, else the first that will do. 3.12 and 3.11 come first: a Redis
# wheel exists for them. `make PYTHON=/path/to/python3` chooses another one.
CANDIDATES := .venv/bin/python python3.12 python3.11 python3.13 python3 python
FITS := import sys, venv, ensurepip; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))
ifeq ($(origin PYTHON), undefined)
PYTHON := $(shell for p in $(CANDIDATES); do \
	if $$p -c '$(FITS)' >/dev/null 2>&1; then command -v $$p; break; fi; done)
endif

BIN := .venv/bin
FIXTURES ?= tests/data/ldk
PYTEST_ARGS ?=
# Two at a time, each file with one of them: most tests wait for processes of their own.
BY_FILE := -n 2 --dist loadfile
SEED ?= 1
CHANNELS ?= 300
DEPTH ?= 4
OUTAGE ?= 600
EXAMPLES ?= 20000

.PHONY: help
help: ## Show the targets
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## /{printf "  make %-9s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: venv
venv:
	@test -n "$(PYTHON)" || { \
	  echo "no Python 3.11, 3.12 or 3.13 with venv found (on Debian and Ubuntu: python3-venv);" \
	       "give one with: make PYTHON=/path/to/python3" >&2; exit 1; }
	@"$(PYTHON)" deploy/venv.py .

.PHONY: demo
demo: venv ## Tell the story: every kind of close, a worker killed half-way, all resolved
	@$(BIN)/contractcourt demo

.PHONY: test
test: venv ## Run the whole test suite (PYTEST_ARGS='-k name' for a part of it)
	@$(BIN)/pytest $(BY_FILE) $(PYTEST_ARGS)

.PHONY: check
check: venv ## Format, lint, types, import rules, pages that follow from the code
	$(BIN)/ruff format --check
	$(BIN)/ruff check
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m docs.generate --check

.PHONY: docs
docs: venv ## Write the pages of docs/ that follow from the code
	@$(BIN)/python -m docs.generate

.PHONY: e2e
e2e: venv ## The tests that start a whole court as its users do, one by one, with their names
	$(BIN)/pytest -m e2e -v $(BY_FILE) $(PYTEST_ARGS)

.PHONY: hosts
hosts: venv ## Parts of a court on hosts of their own, whose cables are cut (namespaces, as root)
	@sh tests/hosts/run.sh $(BIN)/pytest -m hosts tests/hosts $(PYTEST_ARGS)

.PHONY: faults
faults: venv ## Channels that close in a storm of faults must end as without (SEED=1 CHANNELS=300)
	@$(BIN)/python -m tests.faults.campaign --seed $(SEED) --channels $(CHANNELS)

.PHONY: storm
storm: venv ## Redis forgets while CHANNELS=300 close in one block; each ends as in calm weather
	@$(BIN)/python -m tests.faults.mass_close --channels $(CHANNELS) --seed $(SEED)

.PHONY: outages
outages: venv ## Redis and Postgres down, and silent, for OUTAGE seconds each (OUTAGE=600: 25 minutes)
	OUTAGE_SECONDS=$(OUTAGE) $(BIN)/pytest -m e2e -n 2 tests/faults/test_outages.py $(PYTEST_ARGS)

.PHONY: fuzz
fuzz: venv ## Spoiled input for every reader of what comes from outside (EXAMPLES=20000 each)
	FUZZ_EXAMPLES=$(EXAMPLES) $(BIN)/pytest tests/security/test_fuzz.py --timeout 3600 $(PYTEST_ARGS)

.PHONY: model
model: venv ## Every order of DEPTH events through the law (DEPTH=4: two minutes)
	MODEL_DEPTH=$(DEPTH) $(BIN)/pytest -q --timeout 7200 tests/model/test_every_order.py $(PYTEST_ARGS)

.PHONY: browser
browser: venv ## Walk through the desk in headless Chromium; pictures in .browser/
	@sh tests/browser/install.sh $(BIN)/python
	$(BIN)/pytest -m browser tests/browser -v $(PYTEST_ARGS)

.PHONY: pgbouncer
pgbouncer: venv ## The tests that speak to Postgres, and a whole `up`, behind PgBouncer
	@sh tests/pooler/run.sh $(BIN)/python

.PHONY: replay
replay: venv ## Replay recorded closings of real channels (FIXTURES=folder)
	@$(BIN)/contractcourt replay $(FIXTURES)

.PHONY: bench
bench: venv ## Measure, as ratios within one run
	@$(BIN)/python -m bench

.PHONY: manifests
manifests: venv ## Hold deploy/kubernetes against the schemas of Kubernetes
	@$(BIN)/python deploy/validate.py

.PHONY: alerts
alerts: ## Have Prometheus read the alert rules (as root it installs Debian's package itself)
	@command -v promtool >/dev/null || \
	  { apt-get update -qq && apt-get install -y -qq --no-install-recommends prometheus; } >/dev/null
	promtool check rules deploy/monitoring/alerts.yaml

.PHONY: lock
lock: venv ## Pin every dependency anew in requirements.lock and deploy/fleet.lock
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check uv
	@$(BIN)/python deploy/lock.py

.PHONY: clean
clean: ## Remove .venv, caches and the data of `contractcourt up`
	rm -rf .venv .venv.lock .tools .contractcourt .pytest_cache .mypy_cache .ruff_cache .hypothesis \
	  .browser tests/browser/node_modules \
	  .import_linter_cache build dist
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
