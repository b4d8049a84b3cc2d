# Every target builds .venv and installs what it needs: Python 3.11+ and make are enough.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
WORKERS ?= 2

LIGHT := .venv-light

.PHONY: demo test light check lint docs clean

demo: $(VENV)/.train
	$(BIN)/python recipes/digits.py
	@echo; echo "asr transcribe --model exp/digits/bundle --word-timestamps data_prep/digits/example.wav"
	@$(BIN)/asr transcribe --model exp/digits/bundle --word-timestamps data_prep/digits/example.wav

test: $(VENV)/.dev
	# One thread a process: more would only wait for one another.
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(WORKERS)

lint: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# What recognises runs without PyTorch: the tests that need none, where there is none.
light: $(LIGHT)/.light
	OMP_NUM_THREADS=1 $(LIGHT)/bin/python -m pytest -n $(WORKERS)

check: lint test light

# The site, and the examples of the docstrings; a warning, such as a link to a page that is not there, is an error.
docs: $(VENV)/.docs
	$(BIN)/python -m sphinx -q -W --keep-going -b html docs build/docs
	$(BIN)/python -m sphinx -q -W --keep-going -b doctest docs build/doctest
	@echo build/docs/index.html

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.train: pyproject.toml constraints.txt | $(BIN)/python
	$(BIN)/python -m pip install --quiet --constraint constraints.txt torch
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[train]'
	touch $@

$(VENV)/.dev: $(VENV)/.train tools/mend_torchaudio.py
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	$(BIN)/python tools/mend_torchaudio.py
	touch $@

$(VENV)/.docs: $(VENV)/.dev
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[docs]'
	touch $@

$(LIGHT)/.light: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(LIGHT)
	$(LIGHT)/bin/python -m pip install --quiet --constraint constraints.txt --editable '.[data,media,test]'
	touch $@

# Prepared corpora and trained models stay.
clean:
	rm -rf $(VENV) $(LIGHT) build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
