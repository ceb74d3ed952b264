# Everything a newcomer types. A machine with make and Python 3.11 or newer (with venv) is enough.
PYTHON ?= python3
BIN := .venv/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check

.DEFAULT_GOAL := help
.PHONY: help demo test check format lint types clean

help: ## show this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  make %-8s %s\n", $$1, $$2}' Makefile

demo: .venv/.installed ## the whole job on a small corpus that it makes itself: UAR and a report
	$(BIN)/emostack demo

test: .venv/.installed-dev ## the tests of a few minutes (no network, no accelerator)
	$(BIN)/python -m pytest -m "not slow and not network and not gpu"

check: lint types test ## what has to pass before a commit: format, lint, spelling, types, tests

format: .venv/.installed-dev ## put the code into its form, mend what ruff can mend
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

lint: .venv/.installed-dev ## format, lint and spelling, changing nothing
	$(BIN)/ruff format --check
	$(BIN)/ruff check
	$(BIN)/codespell

types: .venv/.installed-dev ## mypy, strict
	$(BIN)/mypy

clean: ## remove the environment, build outputs and caches (never runs/)
	rm -rf .venv build dist .mypy_cache .pytest_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# A stamp says that an installation came to its end; a changed pyproject.toml makes it old.
# Creating the environment again leaves what it holds and mends one that was cut short.
.venv/.created:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
	  echo "$(PYTHON) is missing or older than Python 3.11; say where a newer one is: make PYTHON=/path/to/python3" >&2; \
	  exit 1; }
	$(PYTHON) -m venv .venv
	@touch $@

.venv/.installed: pyproject.toml | .venv/.created
	$(PIP) install --editable .
	@touch $@

.venv/.installed-dev: pyproject.toml | .venv/.created
	$(PIP) install --editable ".[dev,readers]"
	@touch .venv/.installed $@
