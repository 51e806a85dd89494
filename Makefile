# Every target sets up what it needs. Python 3.11 or later as `python3`; override with PYTHON=...
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# A small CPU build serves demo, tests and checks. With a GPU, install your own torch first: TORCH=torch
TORCH ?= torch==2.13.0
INSTALL := $(BIN)/python -m pip --disable-pip-version-check install --quiet
STAMP := $(VENV)/.installed
VLLM_VENV := .venv-vllm
VLLM_STAMP := $(VLLM_VENV)/.installed
OFFLINE := HF_HUB_OFFLINE=1 TOKENIZERS_PARALLELISM=false OMP_NUM_THREADS=1
# Tests go to the workers one by one, those that share a fixture of their file together (tests/conftest.py).
PYTEST := $(OFFLINE) $(BIN)/python -m pytest -n 2 --dist loadgroup --no-loadscope-reorder
DEMO := demo-out
PAPER := paper-out

# Where more than one Python is tried: the lowest that is supported, ..., the newest.
PYTHONS ?= python3.11 python3.12 python3.13

.PHONY: setup demo paper test test-fast test-gpu test-vllm check bench export-upstream dist test-dist \
	compatibility clean

setup: $(STAMP)

$(STAMP): pyproject.toml setup.py
	@echo "Installing into $(VENV): about 5 minutes, 0.6 GB of downloads, 2.4 GB of disk with the CPU build of torch."
	@echo "The public package index gives the CUDA build on Linux: about 6 GB of disk. For the CPU build, stop here"
	@echo "and set PIP_EXTRA_INDEX_URL to the index of CPU wheels that pytorch.org names (\"Get started\", CPU)."
	$(PYTHON) -m venv $(VENV)
	$(INSTALL) "$(TORCH)"
	$(INSTALL) -e ".[train,analysis,dev]"
	@touch $@

# The main job on two tiny checkpoints that are made here: evaluate, compare. No key, no GPU, no hub.
demo paper: export HF_HUB_OFFLINE := 1
demo: export TOKENIZERS_PARALLELISM := false
demo: export OMP_NUM_THREADS := 1
demo: export VALUE_RETENTION_JOURNAL_DIR := $(DEMO)/journals
# The libraries' own switches: errors, and the progress of the long steps.
demo: export LMEVAL_LOG_LEVEL := ERROR
demo: export HF_HUB_DISABLE_PROGRESS_BARS := 1
demo: export HF_DATASETS_DISABLE_PROGRESS_BARS := 1
demo: export PYTHONWARNINGS := ignore::FutureWarning
EVALUATE := $(BIN)/lm_eval --tasks anima_2_2,moru_multi --model hf --device cpu --batch_size 33 \
	--apply_chat_template --gen_kwargs max_gen_toks=128 --log_samples \
	--metadata '{"judge": "lexical", "data": "sample", "epochs": 1}'

demo: $(STAMP)
	@rm -rf $(DEMO)
	@printf '\n1/5  Make "base": a tiny Llama with random weights.\n'
	$(BIN)/python -m value_retention.train.tiny --output $(DEMO)/base
	@printf '\n2/5  Make "tuned": train it for some seconds on invented documents about compassion.\n'
	$(BIN)/python -m value_retention.train.midtrain --config tiny/midtrain.yaml --save_strategy no \
		--max_steps 100 --sequences_per_step 1 \
		--model_name_or_path $(DEMO)/base --contamination_unchecked true --output_dir $(DEMO)/tuned
	@printf '\n3/5  Run both benchmarks on base. lm_eval needs some seconds before its first line.\n'
	$(EVALUATE) --model_args pretrained=$(DEMO)/base --output_path $(DEMO)/runs/base > $(DEMO)/base.txt
	@printf '\n4/5  Run both benchmarks on tuned.\n'
	$(EVALUATE) --model_args pretrained=$(DEMO)/tuned --output_path $(DEMO)/runs/tuned > $(DEMO)/tuned.txt
	@printf '\n5/5  Compare the two, question by question. A change of up to 5 points counts as none.\n'
	$(BIN)/value-retention compare base=$(DEMO)/runs/base tuned=$(DEMO)/runs/tuned --baseline base --margin 5 \
		--json $(DEMO)/comparison.json
	@$(BIN)/value-retention compare base=$(DEMO)/runs/base tuned=$(DEMO)/runs/tuned --baseline base --margin 5 \
		--full > $(DEMO)/comparison.txt
	@$(BIN)/value-retention report base=$(DEMO)/runs/base tuned=$(DEMO)/runs/tuned --baseline base --margin 5 \
		-o $(DEMO)/report.html
	@printf '%s\n' "" "What you saw" \
		"  lm_eval asked both checkpoints the 30 and 36 sample questions, and the judge graded every answer." \
		"  compare paired the answers by question and gave each figure a verdict at a margin of 5 points." \
		"  This is not a benchmark result: the questions are samples, and the judge \"lexical\" counts phrases." \
		"Where it is" \
		"  $(DEMO)/runs                 every answer, grade and judge reply" \
		"  $(DEMO)/base.txt, tuned.txt  lm_eval's tables" \
		"  $(DEMO)/report.html          the comparison as a page, with the answers behind it" \
		"  $(DEMO)/comparison.txt       every figure of the comparison; .json: the same for programs" \
		"What next" \
		"  README.md: the same with a real checkpoint and an LLM as judge" \
		"  make paper: the whole study in miniature"

# The study in miniature: base, mid-training and four arms, evaluated and compared.
paper: export VALUE_RETENTION_JOURNAL_DIR := $(PAPER)/journals
paper: $(STAMP)
	@echo "The study in miniature, on two cores. What each step prints is in $(PAPER)/steps."
	@$(MAKE) --no-print-directory -j2 -f train/paper.mk STUDY=tiny OUT=$(PAPER) PY=$(CURDIR)/$(BIN)/python \
		LM_EVAL=$(CURDIR)/$(BIN)/lm_eval VALUE_RETENTION=$(CURDIR)/$(BIN)/value-retention
	@printf '%s\n' "This is not a benchmark result: sample questions, and a judge that counts phrases." \
		"Runs: $(PAPER)/logs   Arms: $(PAPER)/arms.yaml   Report: $(PAPER)/report.html" \
		"The commands: make -n -f train/paper.mk STUDY=tiny"

test: $(STAMP)
	$(PYTEST) -m "not vllm and not gpu"

# For the loop of a developer: under a minute on two cores. The files left out hold slow tests only, and import
# torch before that is known.
test-fast: $(STAMP)
	$(PYTEST) -m "not slow and not vllm and not gpu" $(addprefix --ignore=tests/test_train_,runs.py merge.py gpu.py)

# On a machine with a CUDA device and your own torch: bf16 runs of every script, FSDP included, with figures.
test-gpu: $(STAMP)
	$(BIN)/python -m pytest -m gpu -s

# Its own environment: the CPU build of vLLM, which asks for packages that have none (see tests/setup_vllm.sh).
$(VLLM_STAMP): pyproject.toml setup.py tests/setup_vllm.sh
	bash tests/setup_vllm.sh "$(PYTHON)" $(VLLM_VENV) "$(TORCH)"
	touch $@

test-vllm: $(VLLM_STAMP)
	$(OFFLINE) $(VLLM_VENV)/bin/python -m pytest -m vllm tests/test_vllm.py tests/test_train_vllm.py

check: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

bench: $(STAMP)
	$(OFFLINE) $(BIN)/python tests/bench.py

# The two benchmarks as tasks in a clone of lm-evaluation-harness, see docs/upstream.md. FORCE=--force overwrites.
export-upstream: $(if $(CHECKOUT),$(STAMP))
	@$(BIN)/python -m value_retention.analysis.exchange.upstream.export \
		"$(or $(CHECKOUT),$(error name a clone of lm-evaluation-harness: make export-upstream CHECKOUT=PATH))" $(FORCE)

# For a release, see docs/releasing.md. Another BUILDER needs `build` and `twine`, and no environment is made.
BUILDER ?= $(BIN)/python
dist: $(if $(filter $(BIN)/python,$(BUILDER)),$(STAMP))
	rm -rf build dist
	$(BUILDER) -m build
	$(BUILDER) -m twine check --strict dist/*

# Wheel and sdist in empty environments, used as a user does.
test-dist:
	@set -e; for python in $(PYTHONS); do for artefact in dist/*.whl dist/*.tar.gz; do \
		bash tests/installed.sh $$python $$artefact "$(TORCH)"; done; done

# The tests at the lowest and the newest version of every range.
compatibility: $(STAMP)
	$(BIN)/python tests/compatibility.py .venv-compatibility --write \
		--pythons $(firstword $(PYTHONS)) $(lastword $(PYTHONS))

clean:
	rm -rf $(VENV) $(VLLM_VENV) .venv-compatibility build dist *.egg-info $(DEMO) $(PAPER)
