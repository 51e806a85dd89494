#!/usr/bin/env bash
# Install a wheel or an sdist into an empty environment and use it as a user does, outside any clone.
#
#     bash tests/installed.sh PYTHON ARTEFACT [TORCH]     (for example: python3.12 dist/*.whl torch==2.13.0)
#
# Everything comes from the package index except the artefact, with pip, or with uv where UV names it (faster). The evaluations use the sample items, no model, and
# the judge `lexical`: they need no key, no GPU and no hub.
set -euo pipefail

if [ $# -lt 2 ]; then
    echo "usage: installed.sh PYTHON ARTEFACT [TORCH]" >&2
    exit 2
fi
python=$(command -v "$1") artefact=$(realpath "$2") torch=${3:-torch==2.13.0}
tests=$(cd "$(dirname "$0")" && pwd)

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
if [ -n "${UV:-}" ]; then "$UV" venv --quiet --seed --python "$python" env; else "$python" -m venv env; fi
bin=$work/env/bin
step() { printf -- '-- %s\n' "$*"; }

step "$("$python" -V): install $(basename "$artefact")"
if [ -n "${UV:-}" ]; then
    "$UV" pip install --quiet --python "$bin/python" "$torch" "$artefact"
else
    "$bin/python" -m pip install --quiet "$torch" "$artefact"
fi
"$bin/python" -m pip check

unset PYTHONPATH
export HF_HUB_OFFLINE=1 INSPECT_DISPLAY=plain VALUE_RETENTION_JOURNAL_DIR=$work/journals
export XDG_DATA_HOME=$work/data XDG_CACHE_HOME=$work/cache
step "the commands"
"$bin/value-retention" --version
"$bin/value-retention" --help | tail -n +3 | head -2
place=$("$bin/python" -c 'import value_retention.tasks as t; print(*t.__path__)')
case $place in
    "$work"/env/*) ;;
    *) echo "value_retention comes from $place, not from the environment" >&2; exit 1 ;;
esac

step "lm-eval finds a task and runs it"
"$bin/lm_eval" --model dummy --tasks anima_2_2 --limit 6 --log_samples --output_path runs/lm_eval \
    --metadata '{"judge": "lexical", "data": "sample", "epochs": 1}' > lm_eval.log 2>&1 || { cat lm_eval.log >&2; exit 1; }
grep -m 1 overall_mean lm_eval.log

# Inspect's own `mockllm` counts tokens with a table that it downloads, so a scripted server on loopback answers.
step "Inspect finds a task and runs it"
"$bin/python" "$tests/scripted_server.py" > url &
server=$!
trap 'kill "$server"; rm -rf "$work"' EXIT
while [ ! -s url ]; do kill -0 "$server"; sleep 0.2; done
SCRIPTED_API_KEY=x SCRIPTED_BASE_URL=$(cat url) \
    "$bin/inspect" eval value_retention/moru_multi --model openai-api/scripted/model --epochs 1 --limit 6 \
    --log-dir runs/inspect -T data=sample -T judge=lexical > inspect.log 2>&1 || { cat inspect.log >&2; exit 1; }
# The command has status 0 after an eval that failed, too.
grep -m 1 overall_mean inspect.log || { cat inspect.log >&2; exit 1; }

step "value-retention reads both runs"
"$bin/value-retention" table lm_eval=runs/lm_eval inspect=runs/inspect -o table.parquet | tail -n 5
test -s table.parquet
step "passed: $(basename "$artefact") with $("$python" -V)"
