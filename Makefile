# make lab opens the course, make test checks it. Both set up .venv first, once.
# On Windows, or without make: see the README.

PYTHON ?= python3
PY = .venv/bin/python

# Model libraries write progress bars and advice; neither belongs on a page.
TRANSFORMERS_VERBOSITY ?= error
HF_HUB_DISABLE_PROGRESS_BARS ?= 1
export TRANSFORMERS_VERBOSITY HF_HUB_DISABLE_PROGRESS_BARS

# When another job uses the cores, several threads are many times slower than one.
ONE_THREAD = OMP_NUM_THREADS="$${OMP_NUM_THREADS:-1}"

.PHONY: help install lab test run notebooks data address

help:
	@echo "make lab                       open the course in JupyterLab (sets it up the first time)"
	@echo "make test                      run the unit tests, then check every notebook"
	@echo "make run [N=07]                run every notebook, or one, and show seconds and memory"
	@echo "make notebooks [N=07]          rebuild the notebooks that have changed, or one"
	@echo "make data                      make the bundled data again"
	@echo "make address REPO=owner/name   set the repository's address in badges and set-up cells"

install:
	@$(PYTHON) tools/install.py

# JupyterLab refuses root unless told otherwise; in a container root is the usual user.
lab: install
	@allow=; if [ "$$(id -u)" = 0 ]; then allow=--allow-root; fi; \
	$(PY) -m jupyterlab --ServerApp.root_dir="$(CURDIR)" \
	    --LabApp.default_url=/lab/tree/notebooks/00_start_here.ipynb $$allow $(ARGS)

test: install
	@$(ONE_THREAD) $(PY) -m pytest tests
	@$(ONE_THREAD) $(PY) -m pytest notebooks

run: install
	@$(ONE_THREAD) $(PY) tools/run_notebooks.py $(N)

notebooks: install
	@$(ONE_THREAD) $(PY) tools/build_notebooks.py $(N)

data: install
	@$(PY) tools/make_data.py

address: install
	@test -n "$(REPO)" || { echo "Say which repository: make address REPO=owner/name"; exit 2; }
	@$(PY) tools/build_notebooks.py --address "$(REPO)"
