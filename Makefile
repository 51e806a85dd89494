# Every target sets up what it needs. Python 3.11 or later as `python3`; override with PYTHON=...
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# A small CPU build serves demo, tests and checks. With a GPU, install your own torch first: TORCH=torch
TORCH ?= torch==2.13.0
STAMP := $(VENV)/.installed
VLLM_VENV := .venv-vllm
VLLM_STAMP := $(VLLM_VENV)/.installed
OFFLINE := HF_HUB_OFFLINE=1 TOKENIZERS_PARALLELISM=false OMP_NUM_THREADS=2
DEMO := demo-out

.PHONY: setup demo test test-gpu test-vllm check bench clean

setup: $(STAMP)

$(STAMP): pyproject.toml setup.py
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet "$(TORCH)"
	$(BIN)/python -m pip install --quiet -e ".[train,analysis,dev]"
	touch $@

# The paper in miniature: base, mid-training, four arms, evaluated and compared.
demo: $(STAMP)
	$(MAKE) -j2 --output-sync=line -f train/paper.mk STUDY=tiny OUT=$(DEMO) PY=$(CURDIR)/$(BIN)/python \
		LM_EVAL=$(CURDIR)/$(BIN)/lm_eval VALUE_RETENTION=$(CURDIR)/$(BIN)/value-retention
	$(BIN)/value-retention table base=$(DEMO)/logs/base midtrain=$(DEMO)/logs/midtrain \
		sft-dolly=$(DEMO)/logs/sft-dolly sft-magicoder=$(DEMO)/logs/sft-magicoder \
		grpo-rlhflow=$(DEMO)/logs/grpo-rlhflow grpo-magicoder=$(DEMO)/logs/grpo-magicoder -o $(DEMO)/grades.parquet
	@echo "Sample items and the lexical judge: no benchmark, not an LLM. A checkpoint's score is a count of phrases."
	@echo "Logs and samples: $(DEMO)/logs   Comparison: $(DEMO)/comparison.json   All grades: $(DEMO)/grades.parquet"

test: $(STAMP)
	$(OFFLINE) $(BIN)/python -m pytest -n 2 --dist loadfile -m "not vllm and not gpu"

# On a machine with a CUDA device and your own torch: bf16 runs of every script, FSDP included, with figures.
test-gpu: $(STAMP)
	$(BIN)/python -m pytest -m gpu -s

# Its own environment: the CPU build of vLLM, which asks for packages that have none (see tests/setup_vllm.sh).
$(VLLM_STAMP): pyproject.toml setup.py tests/setup_vllm.sh
	bash tests/setup_vllm.sh "$(PYTHON)" $(VLLM_VENV) "$(TORCH)"
	touch $@

test-vllm: $(VLLM_STAMP)
	$(OFFLINE) $(VLLM_VENV)/bin/python -m pytest -m vllm tests/test_vllm.py

check: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

bench: $(STAMP)
	$(OFFLINE) $(BIN)/python tests/bench.py

clean:
	rm -rf $(VENV) $(VLLM_VENV) build dist *.egg-info $(DEMO)
