# demo: runs the whole pipeline    mine DATA=my_music: the same on a folder of your own music
# test: runs the tests    test-extras: runs the slow ones and those of the notebook
# lint: runs ruff and mypy    bench: runs the benchmarks    figures: draws the pictures in docs/
# notebook: builds the tutorial. Each target sets up .venv first.

PYTHON ?= python3
ifeq ($(OS),Windows_NT)
VENV_PYTHON := .venv/Scripts/python.exe
MUSIC := "$(DATA)"
else
VENV_PYTHON := .venv/bin/python
# one word of the shell, whatever signs are in the name of the folder
MUSIC := '$(subst ','\'',$(value DATA))'
endif
INSTALLED := .venv/installed
EXTRAS := .venv/extras

.PHONY: demo mine folder test test-extras lint bench figures notebook

demo: $(INSTALLED)
	$(VENV_PYTHON) dataset/demo.py
	$(VENV_PYTHON) feature_extraction.py --dataset_path dataset/demo
	$(VENV_PYTHON) train_test.py --dataset_path dataset/demo

mine: folder $(INSTALLED)
	$(VENV_PYTHON) dataset/make_lists.py --keep -- $(MUSIC)
	$(VENV_PYTHON) dataset/check_leaks.py -- $(MUSIC)
	$(VENV_PYTHON) feature_extraction.py @recipes/compact2d.args --dataset_path=$(MUSIC)
	$(VENV_PYTHON) train_test.py @recipes/compact2d.args --dataset_path=$(MUSIC)

folder:
	$(if $(value DATA),,$(error DATA is missing: name the folder of your music, make mine DATA=my_music))@:

test: $(INSTALLED)
	$(VENV_PYTHON) -m pytest -n auto

test-extras: $(EXTRAS)
	$(VENV_PYTHON) -m pytest -n auto tests/extras tests/audio/test_ffmpeg.py

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
