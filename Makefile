# Every target builds .venv and installs what it needs: Python 3.11+ and make are enough.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
WORKERS ?= 2

.PHONY: demo test check lint clean

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

check: lint test

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

# Prepared corpora and trained models stay.
clean:
	rm -rf $(VENV) build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
