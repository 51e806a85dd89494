# The study as a graph: base -> mid-training -> one branch per arm -> merge -> evaluate -> compare.
#
#   make -f train/paper.mk STUDY=tiny                  the miniature: CPU, offline
#   make -f train/paper.mk STUDY=llama31-8b DOCUMENTS=documents.jsonl RLHFLOW_REVISION=COMMIT JUDGE=...
#
# Finished steps are not repeated, and a stopped step resumes from its last checkpoint. -j runs branches in parallel
# and needs a GPU for each; use -j1 with a single GPU. Every step is one command that you can also run by hand.
SHELL := /bin/bash
.DELETE_ON_ERROR:
.SECONDARY:
.PHONY: all rows train merge eval compare

STUDY ?= tiny
OUT ?= out/$(STUDY)
PY ?= python
LM_EVAL ?= lm_eval
VALUE_RETENTION ?= value-retention
# Launcher of the scripts; for several GPUs `accelerate launch --config_file fsdp-8gpu.yaml -m`.
LAUNCH ?= $(PY) -m
# Additional options for every training script, such as --config llama31-8b/full-8gpu.yaml
TRAIN_FLAGS ?=

SFT := sft-dolly sft-magicoder sft-alpaca
GRPO := grpo-rlhflow grpo-magicoder grpo-ultrafeedback
# The miniature leaves out the replication arms (sft-alpaca, grpo-ultrafeedback) to save time.
ARMS ?= $(if $(filter tiny,$(STUDY)),sft-dolly sft-magicoder grpo-rlhflow grpo-magicoder,$(SFT) $(GRPO))
TRAINED := midtrain $(ARMS)
CHECKPOINTS := base $(TRAINED)
DONE := $(OUT)/done

ifeq ($(STUDY),tiny)
# The miniature: shipped rows, sample items as questions, lexical judge.
BASE := $(OUT)/base
TOKENIZER := --tokenizer $(BASE)
DATA ?= sample
JUDGE ?= lexical
EPOCHS ?= 1
DTYPE ?= float32
EVAL_MODEL ?= --model hf --device cpu --batch_size 33
EVAL_FLAGS ?= --gen_kwargs max_gen_toks=128
export HF_HUB_OFFLINE := 1
export TOKENIZERS_PARALLELISM := false
# On matrices this small, several threads are slower than one.
export OMP_NUM_THREADS := 1
# Steps run side by side: the terminal shows when each begins and ends, a log per step has the rest.
STEPS := $(OUT)/steps
Q := @
begin = @mkdir -p $(STEPS) && echo "$$(date +%T)  begin  $(@F)"
LOG = >> $(STEPS)/$(@F).log 2>&1 || { tail -n 30 $(STEPS)/$(@F).log; exit 1; }
end = && echo "$$(date +%T)  done   $(@F)"
else
BASE := meta-llama/Llama-3.1-8B
BASE_REVISION := d04e592bb4f6aa9cfee91e2e20afa771667e1d4b
TOKENIZER := --tokenizer $(BASE) --tokenizer_revision $(BASE_REVISION)
DATA ?= hub
# A paid judge, so there is no default. docs/running.md explains the names of judges.
JUDGE ?= $(error set a judge: JUDGE=provider/model)
EPOCHS ?= 5
DTYPE ?= bfloat16
EVAL_MODEL ?= --model vllm
EVAL_FLAGS ?=
ROWS_FLAGS_midtrain ?= --dataset $(or $(DOCUMENTS),$(error set the documents: DOCUMENTS=FILE with a text column))
ROWS_FLAGS_grpo-rlhflow ?= $(if $(RLHFLOW_REVISION),--dataset_revision $(RLHFLOW_REVISION))
# vLLM needs a chat template in the checkpoint. The base model has none, so it is saved with one first.
endif

all: compare
rows: $(TRAINED:%=$(DONE)/rows-%)
train: $(TRAINED:%=$(DONE)/train-%)
merge: $(TRAINED:%=$(DONE)/merge-%)
eval: $(CHECKPOINTS:%=$(DONE)/eval-%)
compare: $(OUT)/comparison.json

# Each step writes a marker after its command has succeeded.
define done
	@mkdir -p $(DONE) && touch $@ $(end)
endef

ifeq ($(STUDY),tiny)
$(DONE)/merge-base:
	$(begin)
	$(Q)$(PY) -m value_retention.train.tiny --output $(BASE) $(LOG)
	$(done)
BASE_READY := $(DONE)/merge-base
base_folder := $(BASE)
else
# The base in the form of the other checkpoints: with chat template and both end tokens, from the pinned commit.
$(DONE)/merge-base:
	$(PY) -m value_retention.train.merge --model $(BASE) --revision $(BASE_REVISION) --dtype $(DTYPE) \
		--output $(OUT)/base-merged
	$(done)
BASE_READY :=
base_folder := $(OUT)/base-merged
endif

# The training rows without those that share text with a benchmark question, and their stamp.
$(DONE)/rows-%: $(BASE_READY)
	$(begin)
	$(Q)$(PY) -m value_retention.train.data --config $(STUDY)/$*.yaml $(TOKENIZER) $(ROWS_FLAGS_$*) \
		-o $(OUT)/rows/$*.all.jsonl $(LOG)
	$(Q)$(VALUE_RETENTION) contamination $(OUT)/rows/$*.all.jsonl --data $(DATA) \
		--drop $(OUT)/rows/$*.jsonl $(LOG)
	$(done)

$(DONE)/train-midtrain: $(DONE)/rows-midtrain $(BASE_READY)
	$(begin)
	$(Q)$(LAUNCH) value_retention.train.midtrain --config $(STUDY)/midtrain.yaml $(TRAIN_FLAGS) \
		$(if $(filter tiny,$(STUDY)),--model_name_or_path $(BASE)) \
		--rows $(OUT)/rows/midtrain.jsonl --output_dir $(OUT)/midtrain $(LOG)
	$(done)

$(ARMS:%=$(DONE)/train-%): $(DONE)/train-%: $(DONE)/rows-% $(DONE)/merge-midtrain
	$(begin)
	$(Q)$(LAUNCH) value_retention.train.$(firstword $(subst -, ,$*)) --config $(STUDY)/$*.yaml $(TRAIN_FLAGS) \
		--model_name_or_path $(OUT)/midtrain-merged \
		--rows $(OUT)/rows/$*.jsonl --output_dir $(OUT)/$* $(LOG)
	$(done)

$(TRAINED:%=$(DONE)/merge-%): $(DONE)/merge-%: $(DONE)/train-%
	$(begin)
	$(Q)$(PY) -m value_retention.train.merge --model $(OUT)/$* --dtype $(DTYPE) --output $(OUT)/$*-merged $(LOG)
	$(done)

$(DONE)/eval-%: $(DONE)/merge-%
	$(begin)
	$(Q)$(LM_EVAL) $(EVAL_MODEL) --model_args pretrained=$(if $(filter base,$*),$(base_folder),$(OUT)/$*-merged) \
		--tasks anima_2_2,moru_multi --apply_chat_template \
		--metadata '{"judge": "$(JUDGE)", "data": "$(DATA)", "epochs": $(EPOCHS)}' $(EVAL_FLAGS) \
		--log_samples --output_path $(OUT)/logs/$* $(LOG)
	$(done)

# Compare every checkpoint with the mid-trained one.
$(OUT)/comparison.json: $(CHECKPOINTS:%=$(DONE)/eval-%)
	$(VALUE_RETENTION) compare $(foreach name,$(CHECKPOINTS),$(name)=$(OUT)/logs/$(name)) \
		--baseline midtrain --json $@
