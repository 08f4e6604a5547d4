# make app   sets up what is missing and opens the dashboard
# make test  sets up what is missing and runs lint, types and every test, on PostgreSQL too where
#            it is installed (as root on Debian it is installed)
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin

.PHONY: app test lint clean
.DELETE_ON_ERROR:

app: $(VENV)/.app
	$(BIN)/streamlit run app.py

test: $(VENV)/.dev $(VENV)/.browser lint
	PATH="$(abspath $(BIN)):$$PATH" .ci/with-postgres $(BIN)/python -m pytest -n logical --maxprocesses 4 --dist loadfile

lint: $(VENV)/.dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy app.py qcore store pages

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
