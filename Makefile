# `make run` and `make test` are all that a newcomer needs; `make help` lists the rest.
PYTHON ?= python3
SEED ?= $(shell date +%s)
BIN := .venv/bin
SCHEMA := $(sort $(wildcard src/tallystick/sql/schema/*.sql))
NPM_FOLDER := tests/supabase
DIFFERENTIAL := tests/differential
HAS_NODE = node -e 'process.exit(parseInt(process.versions.node) < 20 ? 1 : 0)' 2>/dev/null && command -v npm >/dev/null
AS_ROOT_ON_DEBIAN = [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null
APT_INSTALL = apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends
.DEFAULT_GOAL := help

help: ## this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 12

.venv: $(BIN)/installed

# the locked environment: every package by its hash, then this project itself
$(BIN)/installed: requirements.lock pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit("Tallystick needs Python 3.11 or newer; set PYTHON=... to one." if sys.version_info < (3, 11) else 0)'
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	touch $@

run: .venv ## read this machine's transcripts and print the daily report
	@$(BIN)/tally first-run

# what pytest makes of the tests' files is kept, or each of the processes makes it anew
test: .venv test-packages ## run every test
	PYTHONDONTWRITEBYTECODE= $(BIN)/python -m pytest --numprocesses 4 --dist loadscope --no-loadscope-reorder

torture: .venv test-packages ## a day of faults (SEED=N repeats one); the importer and the server killed 50 times each
	$(BIN)/python -m pytest -m torture --torture-rounds 50 --day-hours 24 --day-seed $(SEED) --timeout 3600

bench: .venv bench-packages ## measure every budget against its peer or floor
	$(BIN)/python -m bench.run

check: .venv ## format, lint, types, import layers, case of the SQL
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports --config pyproject.toml
	$(BIN)/python -m tests.check_sql src/tallystick/sql

format: .venv ## put the code into its form
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

# beside the embedded 18, the tests run on Debian's Postgres 15, behind its PgBouncer, and on Postgres 17 from npm
test-packages: tests/pglite/node_modules/installed $(NPM_FOLDER)/node_modules/installed \
  $(DIFFERENTIAL)/node_modules/installed $(DIFFERENTIAL)/python_modules/installed
	@missing=; \
	[ -x /usr/lib/postgresql/15/bin/postgres ] || missing="postgresql-15"; \
	[ -x /usr/sbin/pgbouncer ] || missing="$$missing pgbouncer"; \
	if [ -z "$$missing" ]; then :; \
	elif $(AS_ROOT_ON_DEBIAN); then $(APT_INSTALL) $$missing >/dev/null; \
	else \
	  echo "The tests need more. Install it first: sudo apt-get install $$missing" >&2; exit 1; \
	fi

# Postgres 17, Supabase's own command line and API, and the tools that ours is compared with: each package by its hash
tests/%/node_modules/installed: tests/%/package-lock.json
	@$(HAS_NODE) || { $(AS_ROOT_ON_DEBIAN) && $(APT_INSTALL) nodejs npm >/dev/null; } || true
	@$(HAS_NODE) || { echo "The tests need Node.js 20 or newer. Install it first: https://nodejs.org/en/download" >&2; exit 1; }
	cd $(@D)/.. && npm ci --ignore-scripts --no-audit --no-fund --loglevel=error
	touch $@

$(DIFFERENTIAL)/python_modules/installed: $(DIFFERENTIAL)/requirements.txt $(BIN)/installed
	rm -rf $(@D)
	$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes --no-deps --target $(@D) -r $<
	touch $@

# the load generator of the HTTP API's figures
bench-packages:
	@if command -v wrk >/dev/null; then :; \
	elif $(AS_ROOT_ON_DEBIAN); then $(APT_INSTALL) wrk >/dev/null; \
	else echo "The benchmark needs wrk. Install it first: sudo apt-get install wrk" >&2; exit 1; fi

lock: ## compile requirements.lock anew
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header \
	  --extra dev pyproject.toml -o requirements.lock

# until the first release the initial migration is the schema itself; after it, changes get migrations of their own
schema: ## write sql/migrations/0001_initial.sql from sql/schema
	cat $(SCHEMA) > src/tallystick/sql/migrations/0001_initial.sql

prices: .venv ## write the price list's migration from genai-prices and our own file
	$(BIN)/python -m tallystick.prices > src/tallystick/sql/migrations/0002_price_list.sql

types: .venv $(NPM_FOLDER)/node_modules/installed ## write database_types.py from the schema, as Supabase generates it
	$(BIN)/python -m tests.supabase.write_types src/tallystick/database_types.py

docs: .venv ## write docs/cli.md from the commands, and docs/api.md from the HTTP API
	$(BIN)/python -m tallystick.cli.docs > docs/cli.md
	$(BIN)/python -m tallystick.api.docs > docs/api.md

clean: ## remove the environment and what the tools left
	rm -rf .venv .pytest_cache .mypy_cache .ruff_cache .hypothesis dist build $(NPM_FOLDER)/node_modules $(DIFFERENTIAL)/node_modules \
	  $(DIFFERENTIAL)/python_modules

.PHONY: help .venv run test torture bench bench-packages check format test-packages lock schema prices types docs clean
