.DEFAULT_GOAL := help
SHELL := /bin/bash
VENV := .venv
PYTHON := $(VENV)/bin/python
PIP_INSTALL := $(PYTHON) -m pip install --quiet --disable-pip-version-check
PYTHON3 ?= python3

help:  ## Show the targets
	@grep -E '^[a-z_-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*##/:/' | column -t -s ':'

$(VENV)/installed: pyproject.toml constraints.txt requirements.lock
	$(PYTHON3) -m venv $(VENV)
	$(PIP_INSTALL) --require-hashes --no-deps --requirement requirements.lock
	$(PIP_INSTALL) --constraint constraints.txt --no-build-isolation --editable '.[dev]' # adds torch, of any index
	@touch $@

install: $(VENV)/installed  ## Make .venv with the package and what its tests need

demo: install  ## Train small towers on the drawn demo, two to four minutes on two cores
	$(VENV)/bin/mg-vtc train demo --overwrite

test: install  ## Run the tests except the slow ones, offline, in a few minutes on two cores
	$(PYTHON) -m pytest --numprocesses auto --dist loadfile -m "not slow"

test-slow: install  ## Run the others: browsers, several processes, README and guides
	$(PYTHON) -m pytest --numprocesses auto --dist loadfile -m slow

check: install  ## Lint, check format, types and prose
	$(VENV)/bin/ruff check
	$(VENV)/bin/ruff format --check
	$(VENV)/bin/mypy
	$(PYTHON) -m pytest tests/test_prose.py

format: install  ## Format the code and mend what the linter can
	$(VENV)/bin/ruff check --fix
	$(VENV)/bin/ruff format

conformance: install  ## Run transformers' own common tests over our classes (fetches them from the package index)
	$(PIP_INSTALL) --constraint constraints.txt --no-build-isolation --editable '.[conformance]'
	$(PYTHON) conformance/fetch.py
	$(PYTHON) -m pytest -c conformance/pytest.ini conformance

compat: install  ## Exchange checkpoints with the oldest versions that pyproject.toml allows (installs them in .compat)
	$(PYTHON) compat/build.py
	$(PYTHON) -m pytest -c compat/pytest.ini compat

node-packages:  ## Fetch transformers.js, and the Hub's tables of tasks and libraries, for the tests that need them (npm)
	npm install --prefix tests/node --no-audit --no-fund --no-package-lock --ignore-scripts --loglevel=error

bench: install  ## Measure speed and memory, as ratios in one run; alone on the machine, under 20 minutes
	@failed=0; for benchmark in import_time train_step memory loader inference_speed classes streaming; do \
		$(PYTHON) benchmarks/$$benchmark.py || failed=1; done; exit $$failed

chaos: install  ## Feed, damage, kill, and train for two hours, and count what is lost or unnoticed; in about twelve hours
	$(PYTHON) benchmarks/chaos.py

audit: install  ## Compare the installed packages with known vulnerabilities, and list their licences
	$(PYTHON) .ci/audit.py

lock: install  ## Write requirements.lock anew, after a change of the dependencies or of constraints.txt (package index)
	$(PYTHON) .ci/lock.py

docs: install  ## Build the guides and the API reference in build/docs; a broken link or reference fails
	NO_MKDOCS_2_WARNING=1 $(VENV)/bin/mkdocs build --strict --quiet

clean:  ## Remove what the other targets made, except the runs
	rm -rf $(VENV) build tests/node/node_modules .conformance .compat .mypy_cache .ruff_cache .pytest_cache .hypothesis

.PHONY: help install demo test test-slow check format conformance compat node-packages bench chaos audit lock docs clean
