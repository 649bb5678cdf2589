# make demo: the pipeline end to end. make test: its tests; make test-extras: those of the tutorial
# and other extras. make figures: the README's pictures, of a demo run. make notebook: the tutorial.
# All set up .venv first.

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

bench: $(INSTALLED)
	-$(VENV_PYTHON) -m pip install nnAudio -c constraints.txt
	-$(VENV_PYTHON) -m pip install essentia -c constraints.txt
	$(VENV_PYTHON) benchmarks/run.py

figures: demo
	$(VENV_PYTHON) docs/figures.py

notebook: $(EXTRAS)
	$(VENV_PYTHON) tutorial/build.py

$(INSTALLED): requirements.txt requirements-dev.txt constraints.txt
	$(PYTHON) -m venv .venv
	$(VENV_PYTHON) -m pip install -r requirements-dev.txt -c constraints.txt
	$(VENV_PYTHON) -c "open('$(INSTALLED)', 'w').close()"

$(EXTRAS): $(INSTALLED) requirements-extras.txt
	$(VENV_PYTHON) -m pip install -r requirements-extras.txt -c constraints.txt
	$(VENV_PYTHON) -c "open('$(EXTRAS)', 'w').close()"
