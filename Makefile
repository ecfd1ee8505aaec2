# `make demo` and `make test` set up what they need: a virtual environment in .venv, with PYTHON (3.11 to 3.13).
PYTHON ?= python3
BIN := .venv/bin

.PHONY: setup demo test lint types notebooks clean

setup: .venv/installed

.venv/installed: pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(None if (3, 11) <= sys.version_info[:2] <= (3, 13) else "Python 3.11 to 3.13 is needed: make PYTHON=python3.12 ...")'
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet -e '.[test,notebooks]'
	touch $@

demo: setup
	$(BIN)/python -m experiments.reward_collapse

test: setup
	$(BIN)/python -m pytest -n 2

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: setup
	$(BIN)/mypy

notebooks: setup
	$(BIN)/python -m colab.execute

clean:
	rm -rf .venv build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache
