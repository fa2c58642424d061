# `make demo` and `make test` work from a bare clone: they make the environment first.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

.PHONY: demo test soak lint bench protos lock clean

demo: $(READY)
	$(BIN)/python -m examples.demo

test: lint
	$(BIN)/python -m pytest -n auto --dist worksteal

# The long forms of tests: nodes killed at 200 random moments.
soak: $(READY)
	$(BIN)/python -m pytest -m soak

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: $(READY)
	$(BIN)/python -m benchmarks

# Stubs are committed; tests/protos tests that they are fresh.
protos: $(READY)
	$(BIN)/python -m tests.protos.generate .

$(READY): pyproject.toml constraints.txt
	if command -v uv >/dev/null 2>&1; then \
	  uv venv --quiet --allow-existing --python $(PYTHON) $(VENV) && \
	  uv pip install --quiet --python $(BIN)/python --constraint constraints.txt --editable '.[examples,dev]'; \
	else \
	  $(PYTHON) -m venv $(VENV) && \
	  $(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[examples,dev]'; \
	fi
	touch $@

# Pin what is installed now; run it after `pip install --upgrade` of something.
lock:
	$(BIN)/python -m pip freeze --exclude-editable > constraints.txt

clean:
	rm -rf $(VENV) build examples/*/data examples/*/state
