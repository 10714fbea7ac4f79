# Two commands do everything on a fresh Linux machine with Python 3.11, pip, make and a C compiler:
#   make demo    a first run: certified objects and scenes in out/demo
#   make test    the tests

PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin

.PHONY: demo test test-slow lint types check bench clean

$(VENV)/installed: requirements.lock pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --constraint requirements.lock --editable .
	touch $@

$(VENV)/installed-test: $(VENV)/installed
	$(BIN)/pip install --quiet --constraint requirements.lock --editable ".[test,dev]"
	touch $@

demo: $(VENV)/installed
	$(BIN)/scenegen run configs/demo.yaml --out out/demo

test: $(VENV)/installed-test
	$(BIN)/python -m pytest -n auto --dist loadfile

test-slow: $(VENV)/installed-test
	$(BIN)/python -m pytest -m slow --timeout 3600

lint: $(VENV)/installed-test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/installed-test
	$(BIN)/pyright

check: lint types test

# Every figure in the README comes from one of these.
bench: $(VENV)/installed-test
	$(BIN)/python benchmarks/throughput.py
	$(BIN)/python benchmarks/hulls.py
	$(BIN)/python benchmarks/surface.py
	$(BIN)/python benchmarks/determinism.py

clean:
	rm -rf $(VENV) out
