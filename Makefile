# `make test` and `make demo` work on a fresh clone: they make the virtual environment that they need.

PYTHON  ?= python3
VENV    ?= .venv
WORKERS ?= 2
NEWEST  := .venv-newest
FLOORS  := .venv-floors
RUN     := $(VENV)/bin/python

.PHONY: demo test test-slow test-every-layer test-newest test-floors newest environments lint format bench bench-tpu bench-h100 docs clean

demo: $(VENV)/.installed-demo
	$(RUN) -m jaxrf demo --out runs/demo

test: $(VENV)/.installed-dev
	$(RUN) -m pytest -q -n $(WORKERS) --dist worksteal -m "not slow and not every_layer"

# What `make test` leaves out.
test-slow: $(VENV)/.installed-dev
	$(RUN) -m pytest -q -n $(WORKERS) --dist worksteal -m "slow and not every_layer" tests

# Every layer of every network of the zoo against plain JAX; a line for each network at the end.
test-every-layer: $(VENV)/.installed-dev
	$(RUN) -m pytest -q -rP -m every_layer tests

# The parts that depend on the layout of jaxprs, on the newest Python here and the newest JAX that it gets.
test-newest: newest
	@if [ ! -e $(NEWEST)/.installed-test ]; then echo "test-newest: no Python newer than $(PYTHON) is here; nothing to do"; exit 0; fi; \
	$(NEWEST)/bin/python -m pytest -q -n $(WORKERS) --dist loadfile -m "not slow" tests/tangent tests/engine

newest:
	@newest="$$(PYTHON=$(PYTHON) .ci/newest-python)"; \
	if [ -n "$$newest" ]; then $(MAKE) --no-print-directory $(NEWEST)/.installed-test VENV=$(NEWEST) PYTHON="$$newest"; fi

# What reads and writes files and draws, with the lowest versions that pyproject.toml allows.
test-floors: $(FLOORS)/.installed
	$(FLOORS)/bin/python -m pytest -q -m "not slow" tests/store tests/results tests/inputs tests/report/test_figures.py \
		tests/sweeps/test_writing.py

$(FLOORS)/.installed: pyproject.toml .ci/floors
	test -x $(FLOORS)/bin/python || $(PYTHON) -m venv $(FLOORS)
	$(FLOORS)/bin/python .ci/floors plot xarray parquet dask safetensors > $(FLOORS)/constraints.txt
	$(FLOORS)/bin/python -m pip install --quiet --disable-pip-version-check --constraint $(FLOORS)/constraints.txt \
		-e '.[plot,xarray,parquet,dask,safetensors]' 'pytest>=8.2'
	touch $@

# The environments of the two runs above, which can be made while something else runs.
environments: newest $(FLOORS)/.installed

lint: $(VENV)/.installed-dev
	$(RUN) -m ruff check .
	$(RUN) -m ruff format --check .
	$(RUN) -m pyright

format: $(VENV)/.installed-dev
	$(RUN) -m ruff check --fix .
	$(RUN) -m ruff format .

bench: $(VENV)/.installed-bench
	for script in $(filter-out $(addprefix benchmarks/,accelerators.py pods.py fitting.py),$(wildcard benchmarks/[!_]*.py)); do echo "== $$script"; $(RUN) $$script || exit 1; done

# What the compilers of accelerators expect, on a machine without one; each in an environment of its own (0.4 and 2 GB).
bench-tpu:
	$(MAKE) --no-print-directory .venv-tpu/.installed-tpu VENV=.venv-tpu
	.venv-tpu/bin/python benchmarks/accelerators.py --chips v5e
	.venv-tpu/bin/python benchmarks/pods.py
	.venv-tpu/bin/python benchmarks/fitting.py --chips v5e

bench-h100:
	$(MAKE) --no-print-directory .venv-h100/.installed-cuda13 VENV=.venv-h100
	.venv-h100/bin/python benchmarks/accelerators.py --chips h100
	.venv-h100/bin/python benchmarks/fitting.py --chips h100

docs: $(VENV)/.installed-docs
	$(RUN) -m sphinx -W --keep-going -b html docs docs/_build/html
	$(RUN) docs/check_links.py docs/_build/html

clean:
	rm -rf .venv .venv-newest .venv-floors .venv-tpu .venv-h100 .pytest_cache .ruff_cache dist docs/_build runs
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# One stamp for each set of extras, so that the demo need not wait for the developers' tools.
$(VENV)/.installed-%: pyproject.toml
	test -x $(VENV)/bin/python || $(PYTHON) -m venv $(VENV)
	$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check -e '.[$*]'
	touch $@
