# demo: runs the whole pipeline    test: runs the tests    test-extras: runs the tests of the notebook
# lint: runs ruff and mypy    bench: runs the benchmarks    figures: draws the pictures in docs/
# notebook: builds the tutorial. Each target sets up .venv first.

PYTHON ?= python3
ifeq ($(OS),Windows_NT)
VENV_PYTHON := .venv/Scripts/python.exe
else
VENV_PYTHON := .venv/bin/python
endif
INSTALLED := .venv/installed
EXTRAS := .venv/extras

.PHONY: demo test test-extras lint bench figures notebook

demo: $(INSTALLED)
	$(VENV_PYTHON) dataset/demo.py
	$(VENV_PYTHON) feature_extraction.py --dataset_path dataset/demo
	$(VENV_PYTHON) train_test.py --dataset_path dataset/demo

test: $(INSTALLED)
	$(VENV_PYTHON) -m pytest -n auto

test-extras: $(EXTRAS)
	$(VENV_PYTHON) -m pytest tests/extras

lint: $(INSTALLED)
	$(VENV_PYTHON) -m ruff check .
	$(VENV_PYTHON) -m ruff format --check .
	$(VENV_PYTHON) -m mypy

bench: $(INSTALLED)
	-$(VENV_PYTHON) -m pip install nnAudio -c constraints.txt
	-$(VENV_PYTHON) -m pip install essentia -c constraints.txt
	$(VENV_PYTHON) benchmarks/run.py

figures: demo
	$(VENV_PYTHON) docs/figures.py

notebook: $(EXTRAS)
	$(VENV_PYTHON) tutorial/build.py
	@echo "Open it with: $(dir $(VENV_PYTHON))jupyter lab tutorial/tutorial.ipynb"

$(INSTALLED): requirements.txt requirements-dev.txt constraints.txt
	$(PYTHON) -m venv .venv
	$(VENV_PYTHON) -m pip install -r requirements-dev.txt -c constraints.txt
	$(VENV_PYTHON) -c "open('$(INSTALLED)', 'w').close()"

$(EXTRAS): $(INSTALLED) requirements-extras.txt
	$(VENV_PYTHON) -m pip install -r requirements-extras.txt -c constraints.txt
	$(VENV_PYTHON) -c "open('$(EXTRAS)', 'w').close()"
