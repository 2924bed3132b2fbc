# Two commands matter: `make demo` and `make test`. Each sets up all it needs, once.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
BENCH := .venv-bench
BENCH_READY := $(BENCH)/.ready
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

# The second lock is the first one and what measuring needs: the same versions, so that both environments say the same.
lock: $(READY)   ## resolve the dependencies anew
	$(BIN)/uv pip compile pyproject.toml --extra dev --universal --python-version 3.11 \
	  --generate-hashes --no-header --no-annotate --quiet --upgrade -o requirements.lock
	$(BIN)/uv pip compile pyproject.toml --extra bench --universal --python-version 3.11 \
	  --constraint requirements.lock \
	  --generate-hashes --no-header --no-annotate --quiet --upgrade -o requirements-bench.lock

$(BENCH_READY): requirements-bench.lock $(READY)
	$(PYTHON) -m venv $(BENCH)
	$(BIN)/uv pip install --python $(BENCH)/bin/python --require-hashes -r requirements-bench.lock
	$(BIN)/uv pip install --python $(BENCH)/bin/python --no-deps -e .
	@touch $@

# On two cores with nothing else to do, in minutes: the comments behind. Sounds of your own: make bench SOUNDS=folder.
# Each script renews its own rows of benchmarks/RESULTS.md, and can be run alone.
SOUNDS ?=
bench: $(BENCH_READY)  ## the claims of speed, each as a ratio (hours)
	$(BENCH)/bin/python benchmarks/features.py $(SOUNDS) --record     # 15
	$(BENCH)/bin/python benchmarks/epoch.py --record                  # 12
	$(BENCH)/bin/python benchmarks/tutorials.py --record              # 5
	$(BENCH)/bin/python benchmarks/predict.py $(SOUNDS) --record      # 5
	$(BENCH)/bin/python benchmarks/startup.py --record                # 5
	$(BENCH)/bin/python benchmarks/memory.py --record                 # 5
	$(BENCH)/bin/python benchmarks/onnx_runtime.py --record           # 5
	$(BENCH)/bin/python benchmarks/service.py --record                # 5
	$(BENCH)/bin/python benchmarks/budget.py --large 5m --record      # 20

clean:           ## remove the environments and the caches of the tools
	rm -rf $(VENV) $(BENCH) .mypy_cache .ruff_cache .pytest_cache
