# make demo: from nothing to masks.  make test: the suite.  make check: format, lint, types and the suite.
PYTHON ?= python3
PRESET ?= nano
VENV := .venv
BIN := $(VENV)/bin

.PHONY: demo test check smoke lint docs bundle trt-check compiler gpu-check clean

$(VENV)/installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install -q --no-compile -c constraints.txt torch==2.13.0 setuptools wheel
	$(BIN)/pip install -q --no-compile -c constraints.txt -e '.[cpu,export,dev,ray]'
	$(BIN)/pip install -q --no-compile -c constraints.txt --no-deps --no-build-isolation sam2==1.1.0
	touch $@

demo: $(VENV)/installed
	$(BIN)/samotion-export all --preset nano --out engines
	$(BIN)/samotion-run --engine-dir engines --overwrite -o out demo/demo.mp4

test: $(VENV)/installed
	$(BIN)/pytest

lint: $(VENV)/installed
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

check: lint test

# The docs site, in an environment of its own; a warning is an error. Serve it: .venv-docs/bin/mkdocs serve
docs:
	$(PYTHON) -m venv .venv-docs
	.venv-docs/bin/pip install -q --no-compile -r docs/requirements.txt
	NO_MKDOCS_2_WARNING=1 .venv-docs/bin/mkdocs build -q --strict

# What a user gets: two throw-away environments, newest and lowest of everything. PYTHON=python3.12 make smoke
smoke:
	PYTHON=$(PYTHON) .ci/smoke

# After a change of nano's weights or graphs: write runtime/samotion/nano, the engines that come with samotion, anew.
bundle: $(VENV)/installed
	$(BIN)/python -m samotion_export.bundle.write

# Without a GPU: compile every graph with TensorRT for RTX, and hold it to benchmarks/trt_budgets.json.
# Skipped where that cannot be installed. PRESET=fast make trt-check: random weights of the published shapes.
trt-check: $(VENV)/installed compiler
	$(BIN)/python -m samotion_bench.trt_check --preset $(PRESET)

# TensorRT for RTX: 95 MB from the public index, of which some tests make use too.
compiler: $(VENV)/installed
	@test -e $(VENV)/compiler || $(BIN)/pip install -q -c constraints.txt tensorrt-rtx && touch $(VENV)/compiler \
	|| echo "TensorRT for RTX cannot be installed here: what needs it is skipped"

# On a machine with an NVIDIA GPU: short steps, most telling first; each writes its table to
# benchmarks/results at once. Without a GPU it runs what it can, and says what each step would need.
# onnxruntime-gpu replaces onnxruntime in the environment, for the CUDA provider; make clean undoes that.
# Where packages cannot be installed, what is there is used.
gpu-check: $(VENV)/installed
	@if command -v nvidia-smi > /dev/null; then \
	  $(BIN)/pip install -q -e '.[trt]'; \
	  if $(BIN)/pip download -q --no-deps -d $(VENV)/gpu-wheel onnxruntime-gpu; then \
	    $(BIN)/pip uninstall -q -y onnxruntime; \
	    $(BIN)/pip install -q -e '.[gpu]' || $(BIN)/pip install -q -c constraints.txt onnxruntime; \
	  fi; \
	fi; true
	$(BIN)/python -m samotion_bench.gpu_plan.run

clean:
	rm -rf $(VENV) .venv-docs site
