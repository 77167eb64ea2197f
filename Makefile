# make lab opens the course, make test checks it. Both set up .venv first, once; with CPU=1 with
# PyTorch's CPU build, about 1.5 GB instead of 6.
# On Windows, or without make: see the README.

PYTHON ?= python3
PY = .venv/bin/python
COLAB_PYTHON ?= python3.13

# Model libraries write progress bars and advice; neither belongs on a page.
TRANSFORMERS_VERBOSITY ?= error
HF_HUB_DISABLE_PROGRESS_BARS ?= 1
export TRANSFORMERS_VERBOSITY HF_HUB_DISABLE_PROGRESS_BARS

# When another job uses the cores, several threads are many times slower than one. Kernels inherit
# it; where make does not start them, a page's set-up cell does the same.
ONE_THREAD = OMP_NUM_THREADS="$${OMP_NUM_THREADS:-1}"

# Tests and notebooks side by side, a worker for each core: WORKERS=2 for less memory (1.5 GB each).
# A file stays with one worker, because a notebook's cells share a kernel, and the files start in
# the order in which pytest collects them, the notebooks first.
WORKERS ?= $(shell getconf _NPROCESSORS_ONLN 2>/dev/null || echo 2)
PYTEST = -m pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder

# Export and compilation of every strategy and every layer of the gallery wait for SLOW=1.
SAMPLE = $(if $(SLOW),,-m "not slow")

# One page, N=07: its cells, the tests of its exercises, the tests about its source and notebook.
ONE_PAGE = $(if $(N),notebooks/$(N)_*.ipynb tests/exercises tests/pages tests/test_notebooks.py -k "$(N)_ or [$(N).")

.PHONY: help install lab test check colab newest run bench notebooks html site data doctor address classroom teacher teach-test

help:
	@echo "make lab [CPU=1]               open the course in JupyterLab (sets it up the first time, with CPU=1 without CUDA)"
	@echo "make test [N=07] [SLOW=1]      run every notebook and the tests, side by side, or one page's"
	@echo "make check                     in seconds: pages, links, spelling, sources; runs no notebook"
	@echo "make colab                     make test at Colab's versions, in .venv-colab (Python 3.13)"
	@echo "make newest                    make test at the newest releases, in .venv-newest"
	@echo "make run [N=07]                run every notebook, or one, and show seconds and memory"
	@echo "make bench [ROWS=concat]       compare speed with public libraries; all rows make a table"
	@echo "make notebooks [N=07]          rebuild the notebooks that have changed, or one"
	@echo "make html [N=07]               the pages for a browser, in build/html/, folded code folded"
	@echo "make site                      the course as a site, in build/site/html; Sphinx in .venv-site"
	@echo "make data                      make the bundled data again"
	@echo "make doctor                    say whether all is here that the course needs, and what to do if not"
	@echo "make address REPO=owner/name   set the repository's address in badges and set-up cells"
	@echo "make classroom [N=07]          pages without solutions for a class, and nbgrader in .venv-teach"
	@echo "make classroom N=exam1         an exam over the whole course, drawn by a seed, and its answers"
	@echo "make teacher                   a sheet for each page, and plans for a class, in teacher/"
	@echo "make teach-test                grade blank, right and wrong submissions of every page with nbgrader"

install:
	@$(PYTHON) tools/install.py $(if $(CPU),--cpu)

# JupyterLab refuses root unless told otherwise; in a container root is the usual user.
lab: install
	@allow=; if [ "$$(id -u)" = 0 ]; then allow=--allow-root; fi; \
	$(ONE_THREAD) $(PY) -m jupyterlab --ServerApp.root_dir="$(CURDIR)" \
	    --LabApp.default_url=/lab/tree/notebooks/00_start_here.ipynb $$allow $(ARGS)

test: install
	@$(ONE_THREAD) $(PY) $(PYTEST) $(SAMPLE) $(ONE_PAGE) $(ARGS)

check: install
	@$(PY) tools/check_notebooks.py --course

# ARGS=--nbval-lax runs the notebooks without comparing what they print.
colab:
	@$(COLAB_PYTHON) -c 'import sys; sys.exit(sys.version_info[:2] != (3, 13))' 2>/dev/null || { \
	    echo 'Colab has Python 3.13, and "$(COLAB_PYTHON)" does not start one.'; \
	    echo 'Name one:  make colab COLAB_PYTHON=/path/to/python3.13'; exit 2; }
	@$(COLAB_PYTHON) tools/install.py --venv .venv-colab --constraints constraints-colab.txt --extras test,offline
	@$(ONE_THREAD) .venv-colab/bin/python $(PYTEST) $(SAMPLE) $(ONE_PAGE) $(ARGS)

# Some releases need a newer Python than the course does: make newest PYTHON=python3.13
newest:
	@$(PYTHON) tools/install.py --venv .venv-newest --newest
	@$(ONE_THREAD) .venv-newest/bin/python $(PYTEST) $(SAMPLE) $(ONE_PAGE) $(ARGS)

run: install
	@$(ONE_THREAD) $(PY) tools/run_notebooks.py $(N)

# ROWS="concat digits" prints these; without ROWS data/results/bench.md is written. The extra
# "bench" brings what is compared with.
bench: install
	@$(ONE_THREAD) $(PY) tools/bench.py $(ROWS)

notebooks: install
	@$(ONE_THREAD) $(PY) tools/build_notebooks.py $(N)

html: install
	@$(PY) -m nbconvert --to html --template course --log-level WARN --output-dir build/html \
	    --TemplateExporter.extra_template_basedirs=tools/templates notebooks/$(N)*.ipynb

site: install
	@$(PY) tools/install_beside.py site
	@$(ONE_THREAD) .venv-site/bin/python tools/build_site.py

data: install
	@$(PY) tools/make_data.py
	@$(PY) tools/make_moods.py

# Without install: it must say what is wrong with one that does not work.
doctor:
	@if $(PY) -c '' 2>/dev/null; then $(PY) -m course_utils.doctor; else $(PYTHON) -m course_utils.doctor; fi

address: install
	@test -n "$(REPO)" || { echo "Say which repository: make address REPO=owner/name"; exit 2; }
	@$(PY) tools/build_notebooks.py --address "$(REPO)"

# A class: notebooks/TEACHING.md
classroom: install
	@$(PY) tools/install_beside.py teach
	@$(PY) tools/build_notebooks.py --edition classroom $(N)

teacher: install
	@$(PY) tools/teacher.py

teach-test: install
	@$(PY) tools/install_beside.py teach
	@$(ONE_THREAD) .venv-teach/bin/python -m pytest tests/test_classroom.py tests/test_exam.py
