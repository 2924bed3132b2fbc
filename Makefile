# Two commands matter: `make demo` and `make test`. Each sets up all it needs, once.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
UV := uv==0.13.8

# Where this is set, every process compiles all of torch and transformers again: 14 s to import instead of 6.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: demo test slow lint format lock bench clean help

help:            ## what can be made
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## */\t/' | expand -t 12

# The stamp is written last: a set-up that was cut off starts again, a finished one is never repeated.
$(READY): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "Earmark needs Python 3.11 or newer: make PYTHON=/path/to/python3.12 …"; exit 2; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check $(UV)
	$(BIN)/uv pip install --python $(BIN)/python --require-hashes -r requirements.lock
	$(BIN)/uv pip install --python $(BIN)/python --no-deps -e .
	@touch $@

demo: $(READY)   ## train, evaluate, report and predict on ten synthetic sounds
	$(BIN)/earmark demo

# A process a core and a thread a process: small tensors gain nothing from more, and wait for each other.
test: $(READY)   ## the default tests
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto --dist loadfile

slow: $(READY)   ## the slow tests too
	$(BIN)/python -m pytest -m "slow or not slow"

lint: $(READY)   ## format, lint and types, as CI checks them
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

format: $(READY) ## put the code in order
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

lock: $(READY)   ## resolve the dependencies anew
	$(BIN)/uv pip compile pyproject.toml --extra dev --universal --python-version 3.11 \
	  --generate-hashes --no-header --no-annotate --quiet --upgrade -o requirements.lock

bench: $(READY)  ## the claims of speed, each as a ratio
	$(BIN)/python benchmarks/features.py
	$(BIN)/python benchmarks/startup.py
	$(BIN)/python benchmarks/onnx_runtime.py

clean:           ## remove the environment and the caches of the tools
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache
