"""The graph of the study, read with ``make -n``: its steps, and that finished ones are not repeated."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import pytest

from value_retention.train import data

GRAPH = Path(data.__file__).parent / "paper.mk"
STUDY = ["STUDY=llama31-8b", "DOCUMENTS=documents.jsonl", "RLHFLOW_REVISION=" + "0" * 40, "JUDGE=openai/x"]
ARMS = ["sft-dolly", "sft-magicoder", "sft-alpaca", "grpo-rlhflow", "grpo-magicoder", "grpo-ultrafeedback"]


def steps(folder: Path, *options: str) -> str:
    # The flags of an enclosing `make test` would change the output.
    clean = {key: value for key, value in os.environ.items() if not key.startswith(("MAKE", "MFLAGS"))}
    command = ["make", "-n", "-f", str(GRAPH), *options]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, env=clean)
    assert done.returncode == 0, done.stderr
    return done.stdout.replace("\\\n", " ")


def trained(output: str) -> list[str]:
    return [
        Path(found).name
        for found in re.findall(r"--rows \S+ --output_dir (\S+)", re.sub(r"\s+", " ", output))
    ]


def test_every_arm_starts_from_the_merged_midtraining_and_is_checked_merged_and_evaluated(
    tmp_path: Path,
) -> None:
    output = re.sub(r"[ \t]+", " ", steps(tmp_path, *STUDY))
    assert trained(output) == ["midtrain", *ARMS]
    for arm in ARMS:
        script = arm.partition("-")[0]
        command = next(line for line in output.splitlines() if f"--output_dir out/llama31-8b/{arm}" in line)
        assert f"value_retention.train.{script} " in command
        assert "--model_name_or_path out/llama31-8b/midtrain-merged " in command
        assert f"--rows out/llama31-8b/rows/{arm}.jsonl " in command
        assert f"contamination out/llama31-8b/rows/{arm}.all.jsonl --data hub --drop" in output
        assert f"--model out/llama31-8b/{arm} " in output
    assert output.count("--tasks anima_2_2,moru_multi") == 2 + len(ARMS)
    assert "--dataset documents.jsonl" in output
    assert "contamination_unchecked" not in output


def test_a_finished_step_is_not_repeated(tmp_path: Path) -> None:
    assert trained(steps(tmp_path, "STUDY=tiny")) == ["midtrain", *(arm for arm in ARMS if arm in MINIATURE)]
    done = tmp_path / "out" / "tiny" / "done"
    done.mkdir(parents=True)
    finished = ["merge-base"]
    finished += [f"{step}-{arm}" for arm in ("midtrain", "sft-dolly") for step in ("rows", "train", "merge")]
    for time, name in enumerate(finished):
        (done / name).touch()
        os.utime(done / name, (1000 + time, 1000 + time))
    assert trained(steps(tmp_path, "STUDY=tiny")) == ["sft-magicoder", "grpo-rlhflow", "grpo-magicoder"]


MINIATURE = ("sft-dolly", "sft-magicoder", "grpo-rlhflow", "grpo-magicoder")


@pytest.mark.parametrize(
    ("missing", "said"), [("JUDGE", "JUDGE=provider/model"), ("DOCUMENTS", "DOCUMENTS=FILE")]
)
def test_missing_settings_of_the_real_study_are_named(missing: str, said: str, tmp_path: Path) -> None:
    options = [option for option in STUDY if not option.startswith(missing)]
    done = subprocess.run(
        ["make", "-n", "-f", str(GRAPH), *options], cwd=tmp_path, capture_output=True, text=True
    )
    assert done.returncode == 2
    assert said in done.stderr
