# All set-up happens here: `make demo` and `make test` each make their own .venv first, once.
#
#   make demo PYTHON=python3.12          another interpreter (3.10 and newer)
#   make demo TORCH=torch==2.14.1        another torch; TORCH_INDEX=... another place to get it from,
#                                        such as https://download.pytorch.org/whl/cpu for the small CPU build

PYTHON ?= python3
VENV ?= .venv
TORCH ?= torch==2.13.0
TORCH_INDEX ?=
# Only the tests' foreign model server needs it; kept out of the environment, where a torchvision
# that does not fit torch would be worse than none.
TORCHVISION ?= torchvision==0.28.0
# The oldest transformers that pyproject.toml allows, with what of its needs is older too; beside the
# environment for a test of the minimum.
OLDEST := transformers==4.57.1 huggingface_hub==0.36.2 tokenizers==0.22.2

# llama.cpp's server, which runs GGUF judges, in an environment of its own.
LLAMA_CPP := xllamacpp==2026.10.11549 gguf==0.19.0

# Processes that `make test` runs at once.
WORKERS ?= 2

BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check
READY := $(VENV)/.ready
TEST_READY := $(VENV)/.test-ready

.DEFAULT_GOAL := help
.PHONY: help demo test lint types setup miniature benchmarks clean

help:  ## this list
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /  make \1\t/' | expand -t 22

demo: $(READY)  ## generate, critique and refine held-out requests with the miniature; writes out/demo/report.html
	@$(BIN)/rationalrewards demo

test: $(TEST_READY)  ## lint, type check and run every test
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@OMP_NUM_THREADS=1 $(BIN)/pytest -n $(WORKERS) --dist loadgroup -rs
	@$(BIN)/pytest tests/browser -rs

setup: $(READY)  ## only make the environment

lint: $(READY)  ## lint and format in place
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

types: $(READY)  ## type check the core
	@$(BIN)/mypy

miniature: $(READY)  ## train the shipped miniature again from nothing (about seven hours on two cores)
	@$(BIN)/python -m training.lab.miniature.generator --ship rationalrewards_core/miniature/weights/generator
	@$(BIN)/python -m training.lab.miniature.scorer --ship rationalrewards_core/miniature/weights/scorer

benchmarks: $(READY)  ## every benchmark, side by side; prints Markdown
	@$(BIN)/python -m benchmarks

clean:  ## remove the environment and everything generated
	rm -rf $(VENV) out runs .pytest_cache .ruff_cache .mypy_cache .hypothesis *.egg-info

$(READY): pyproject.toml constraints.txt Makefile
	@echo "Setting up $(VENV) (once; a minute or two)"
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(PIP) --upgrade pip 2>/dev/null || true
	@$(PIP) $(TORCH) $(if $(TORCH_INDEX),--index-url $(TORCH_INDEX))
	@$(PIP) --constraint constraints.txt --editable '.[dev]'
	@touch $@

$(TEST_READY): $(READY)
	@$(PIP) --no-deps --target $(VENV)/torchvision $(TORCHVISION) $(if $(TORCH_INDEX),--index-url $(TORCH_INDEX))
	@$(PIP) --no-deps --upgrade --target $(VENV)/minimum $(OLDEST)
	@test -x $(VENV)/llama/bin/python || $(BIN)/python -m venv $(VENV)/llama
	@$(VENV)/llama/bin/python -m pip install --quiet --disable-pip-version-check $(LLAMA_CPP) || echo "no llama.cpp: GGUF judges are not tested"
	@touch $@
