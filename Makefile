# `make demo` and `make test` set up what they need: a virtual environment with PYTHON (3.11 to 3.13), in .venv, or, where
# another PYTHON is named, in one of its own: `make test PYTHON=python3.12` in .venv-python3.12.
PYTHON ?= python3
VENV := .venv$(if $(filter-out python3,$(PYTHON)),-$(notdir $(PYTHON)))
BIN := $(VENV)/bin

.PHONY: setup demo test test-slow small accelerator-small ahead-setup ahead lint types notebooks docs clean

setup: $(VENV)/installed

$(VENV)/installed: pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(None if (3, 11) <= sys.version_info[:2] <= (3, 13) else "Python 3.11 to 3.13 is needed: make PYTHON=python3.12 ...")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet -e '.[test,notebooks]'
	touch $@

demo: setup
	$(BIN)/python -m experiments.reward_collapse

# The tests that fit ten minutes on two cores; `make test-slow` runs the others.
test: setup
	$(BIN)/python -m pytest -n 2 -m 'not slow'

test-slow: setup
	$(BIN)/python -m pytest -n 2 -m slow

# Every experiment in its small setting, and drawn again from what it saved.
small: setup
	$(BIN)/python -m experiments.all --small --jobs 2 --no-progress --results results/small
	$(BIN)/python -m experiments.all --small --jobs 2 --plot-only --results results/small

# All stages of the command for accelerators, in sizes that tell nothing but that it runs.
accelerator-small: setup
	$(BIN)/python -m experiments.benchmark.accelerator --small --minutes 20 --out results/accelerator-small

# The compilers for GPUs and TPUs, 2 GB, in an environment of their own: JAX would look for the devices.
ahead-setup: $(VENV)-ahead/installed

$(VENV)-ahead/installed: pyproject.toml
	$(PYTHON) -m venv $(VENV)-ahead
	$(VENV)-ahead/bin/python -m pip install --quiet --upgrade pip
	$(VENV)-ahead/bin/python -m pip install --quiet -e '.[test,notebooks,ahead]'
	touch $@

ahead: ahead-setup
	JAX_PLATFORMS=cpu $(VENV)-ahead/bin/python -m pytest -n 2 tests/test_ahead.py

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: setup
	$(BIN)/mypy

notebooks: setup
	$(BIN)/python -m colab.execute

# The pages of docs/ and the reference, in docs/_build; a warning is an error.
docs: setup
	$(BIN)/python -m pip install --quiet -e '.[docs]'
	$(BIN)/sphinx-build -W --keep-going --quiet -b html docs docs/_build

clean:
	rm -rf .venv .venv-* docs/_build build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache
