# make app   sets up what is missing and opens the dashboard
# make test  sets up what is missing and runs lint, types and the tests, on PostgreSQL too where
#            it is installed (as root on Debian it is installed)
# make test-all  the same, and further variants of what is shown once: every format of every network,
#            whole servers and workers killed on PostgreSQL too
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin

# a run starts Python a few hundred times: what it has compiled once it may keep
export PYTHONDONTWRITEBYTECODE :=

# one more than there are cores: many tests wait for servers and leases
WORKERS := $(shell $(PYTHON) -c 'import os; print(min(4, 1 + (os.cpu_count() or 1)))')
PYTEST = PATH="$(abspath $(BIN)):$$PATH" .ci/with-postgres $(BIN)/python -m pytest -n $(WORKERS) \
	--dist loadfile --no-loadscope-reorder

.PHONY: app test test-all lint clean
.DELETE_ON_ERROR:

app: $(VENV)/.app
	$(BIN)/streamlit run app.py

test: $(VENV)/.dev $(VENV)/.browser lint
	$(PYTEST)

test-all: $(VENV)/.dev $(VENV)/.browser lint
	$(PYTEST) -m "slow or not slow"

lint: $(VENV)/.dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	DENO_DIR=$(VENV)/deno DENO_NO_UPDATE_CHECK=1 \
		$(BIN)/deno fmt --check --line-width 100 pages/*/component/*.js
	$(BIN)/mypy app.py qcore store pages benchmarks

$(VENV)/bin/python:
	$(PYTHON) -c 'import sys; sys.exit("bitdial needs Python 3.11 or later") if sys.version_info < (3, 11) else None'
	$(PYTHON) -m venv $(VENV)

$(VENV)/.app: requirements.txt $(VENV)/bin/python
	$(BIN)/python -m pip install --quiet -r requirements.txt
	touch $@

$(VENV)/.dev: $(wildcard requirements*.txt) $(VENV)/bin/python
	$(BIN)/python -m pip install --quiet -r requirements-dev.txt
	touch $@ $(VENV)/.app

# the browser tests take the Chromium on PATH, or Debian's, or Playwright's own
$(VENV)/.browser: $(VENV)/.dev
	command -v chromium || command -v google-chrome \
	  || { command -v apt-get && apt-get update -qq \
	       && apt-get install -y -qq --no-install-recommends chromium; } \
	  || $(BIN)/python -m playwright install --with-deps chromium
	touch $@

clean:
	rm -rf $(VENV)
