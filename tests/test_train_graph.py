"""The graph of the study, read with ``make -n``: its steps, and that finished ones are not repeated."""

from __future__ import annotations

import json
import os
import re
import subprocess
from pathlib import Path

import pytest

from value_retention.analysis.effects.design import read_arms
from value_retention.train import data, study
from value_retention.train.arguments import TrainError

GRAPH = Path(data.__file__).parent / "paper.mk"
STUDY = ["STUDY=llama31-8b", "DOCUMENTS=documents.jsonl", "RLHFLOW_REVISION=" + "0" * 40, "JUDGE=openai/x"]
ARMS = ["sft-dolly", "sft-magicoder", "sft-alpaca", "grpo-rlhflow", "grpo-magicoder", "grpo-ultrafeedback"]


def steps(folder: Path, *options: str) -> str:
    # The flags of an enclosing `make test` would change the output.
    clean = {key: value for key, value in os.environ.items() if not key.startswith(("MAKE", "MFLAGS"))}
    command = ["make", "-n", "-f", str(GRAPH), *options]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, env=clean)
    assert done.returncode == 0, done.stderr
    return re.sub(r"[ \t]+", " ", done.stdout.replace("\\\n", " "))


def command(output: str, part: str) -> str:
    """The only command with a text in it. A make within make prints with ``-n`` what was to be done before."""
    (found,) = {line for line in output.splitlines() if part in line}
    return found


def trained(output: str) -> list[str]:
    return [Path(found).name for found in re.findall(r"--rows \S+ .*--output_dir (\S+)", output)]


def test_every_arm_starts_from_the_merged_midtraining_and_is_checked_merged_and_evaluated(
    tmp_path: Path,
) -> None:
    output = steps(tmp_path, *STUDY)
    assert trained(output) == ["midtrain", *ARMS]
    for arm in ARMS:
        script = arm.partition("-")[0]
        line = command(output, f"--output_dir out/llama31-8b/{arm}")
        assert f"value_retention.train.{script} " in line
        assert "--model_name_or_path out/llama31-8b/midtrain-merged " in line
        assert f"--rows out/llama31-8b/rows/{arm}.jsonl " in line
        assert "--seed" not in line  # that of the configs
        assert f"contamination out/llama31-8b/rows/{arm}.all.jsonl --data hub --drop" in output
        assert f"--model out/llama31-8b/{arm} " in output
    assert output.count("--tasks anima_2_2,moru_multi") == 2 + len(ARMS)
    assert "--dataset documents.jsonl" in output
    assert "contamination_unchecked" not in output


def test_a_finished_step_is_not_repeated(tmp_path: Path) -> None:
    options = ("STUDY=tiny", "MITIGATIONS=", "SEEDS_sft-dolly=", "SEEDS_sft-magicoder=")
    assert trained(steps(tmp_path, *options)) == ["midtrain", *MINIATURE]
    done = tmp_path / "out" / "tiny" / "done"
    done.mkdir(parents=True)
    finished = ["merge-base"]
    finished += [f"{step}-{arm}" for arm in ("midtrain", "sft-dolly") for step in ("rows", "train", "merge")]
    for time, name in enumerate(finished):
        (done / name).touch()
        os.utime(done / name, (1000 + time, 1000 + time))
    assert trained(steps(tmp_path, *options)) == ["sft-magicoder", "grpo-rlhflow", "grpo-magicoder"]


MINIATURE = ("sft-dolly", "sft-magicoder", "grpo-rlhflow", "grpo-magicoder")


def test_base_models_are_asked_without_the_chat_template_and_arms_with_it(tmp_path: Path) -> None:
    output = steps(tmp_path, *STUDY, "TASKS=ifeval,mmlu")
    for name in ("base", "midtrain", *ARMS):
        line = command(output, f"--output_path out/llama31-8b/logs/{name} ")
        assert "--tasks anima_2_2,moru_multi,ifeval,mmlu " in line
        assert ("--apply_chat_template" in line) == (name in ARMS)
    assert "--allow chat-template --allow capability" in command(output, "train.study out/llama31-8b base")
    output = steps(tmp_path, *STUDY, "BASE_TEMPLATE=--apply_chat_template")
    assert "--apply_chat_template" in command(output, "--output_path out/llama31-8b/logs/base ")
    assert "--allow" not in command(output, "train.study out/llama31-8b base")


def test_the_graph_ends_in_arms_and_a_report_at_one_margin(tmp_path: Path) -> None:
    output = steps(tmp_path, *STUDY, "MARGIN=3")
    for part in ("train.study out/llama31-8b base", "value-retention arms", "value-retention report"):
        assert "--margin 3" in command(output, part)
    probed = command(output, "value_retention.train.probe")
    assert all(f"out/llama31-8b/{name}-merged" in probed for name in ("base", "midtrain", *ARMS))


def test_seeds_vary_the_arms_only(tmp_path: Path) -> None:
    output = steps(tmp_path, *STUDY, "ARMS=sft-dolly grpo-rlhflow", "SEEDS=1 2", "SEEDS_grpo-rlhflow=3")
    assert trained(output) == ["midtrain", "sft-dolly-seed1", "sft-dolly-seed2", "grpo-rlhflow"]
    for seed in (1, 2):
        line = command(output, f"--output_dir out/llama31-8b/sft-dolly-seed{seed}")
        assert f"--seed {seed} --rows out/llama31-8b/rows/sft-dolly.jsonl " in line
    assert "--seed 3 " in command(output, "--output_dir out/llama31-8b/grpo-rlhflow")
    assert "--seed" not in command(output, "--output_dir out/llama31-8b/midtrain")
    assert output.count("value_retention.train.data") == 3


def test_a_mitigation_is_an_arm_and_a_control_has_its_own_parent(tmp_path: Path) -> None:
    output = steps(
        tmp_path, "STUDY=tiny", "ARMS=sft-dolly", "SEEDS_sft-dolly=1 2",
        "MITIGATIONS=sft-dolly-replay10 sft-dolly-interpolated25", "CONTROLS=midtrain-neutral sft-dolly-neutral",
    )  # fmt: skip
    assert trained(output) == [
        "midtrain", "midtrain-neutral", "sft-dolly-seed1", "sft-dolly-seed2", "sft-dolly-replay10", "sft-dolly-neutral",
    ]  # fmt: skip
    assert "--replay_rows out/tiny/rows/midtrain.jsonl" in command(output, "sft-dolly-replay10.all.jsonl >")
    assert "--model_name_or_path out/tiny/midtrain-neutral-merged" in command(
        output, "--output_dir out/tiny/sft-dolly-neutral "
    )
    between = command(output, "--output out/tiny/sft-dolly-interpolated25-seed2-merged")
    assert "--model out/tiny/sft-dolly-seed2-merged" in between
    assert "--interpolate out/tiny/midtrain-merged --weight 0.25" in between


def test_every_saved_checkpoint_is_evaluated_in_the_order_of_the_steps(tmp_path: Path) -> None:
    for step in (6, 12, 18, 100):
        (tmp_path / "out" / "llama31-8b" / "sft-dolly" / f"checkpoint-{step}").mkdir(parents=True)
    options = (*STUDY, "ARMS=sft-dolly", "CHECKPOINTS=all")
    output = steps(tmp_path, *options)
    assert "--save_total_limit 1000" in command(output, "--output_dir out/llama31-8b/sft-dolly ")
    merged = command(output, "--output out/llama31-8b/sft-dolly-step12-merged")
    assert "--model out/llama31-8b/sft-dolly/checkpoint-12 " in merged
    report = command(output, "-o out/llama31-8b/curves/sft-dolly.html")
    assert re.findall(r"(?<= )(\S+)=", report) == [
        "midtrain",
        *(f"sft-dolly-step{n}" for n in (6, 12, 18, 100)),
    ]
    assert "--trajectory" in report
    output = steps(tmp_path, *options, "ADAPTERS=vllm")
    asked = command(output, "--output_path out/llama31-8b/logs/sft-dolly-step12 ")
    assert (
        "pretrained=out/llama31-8b/midtrain-merged,lora_local_path=out/llama31-8b/sft-dolly/checkpoint-12 "
        in asked
    )
    assert "sft-dolly-step12-merged" not in output


def a_run(out: Path, name: str, **settings: object) -> None:
    folder = out / f"{name}-merged"
    folder.mkdir(parents=True)
    stage, seed = name.partition("-")[0], settings.pop("seed", 0)
    data = {"rows_out": 79, "loss_tokens": 2600}
    written = {"stage": stage, "seed": seed, "config": settings, "data": data, "result": {}}
    (folder / "value_retention_run.json").write_text(json.dumps(written), "utf-8")


def a_study(out: Path) -> list[str]:
    """The cards, losses and probe of a study, and its runs."""
    coding, helpful = {"domain": "coding"}, {"domain": "helpfulness"}
    a_run(out, "midtrain")
    a_run(out, "midtrain-neutral")
    a_run(out, "sft-dolly-seed2", **helpful, seed=2)
    a_run(out, "sft-dolly-replay10", **helpful, mitigation="replay 10 %")
    a_run(out, "sft-dolly-interpolated25", **helpful, interpolated={"weight": 0.25})
    a_run(out, "sft-dolly-neutral", **helpful, parent="midtrain-neutral")
    a_run(out, "grpo-magicoder", **coding)
    losses = {
        "sft-dolly-seed2": {"value": 2.33333, "dolly": 5.6},
        "grpo-magicoder": {"value": 1.5, "dolly": 7.0},
    }
    text = json.dumps({str(out / f"{name}-merged"): found for name, found in losses.items()})
    (out / "losses.json").write_text(text, "utf-8")
    probe = {
        "checkpoints": {
            "sft-dolly-seed2": {"share": 0.75, "margin": 0.1},
            "base": {"share": 0.4, "margin": -0.2},
        }
    }
    (out / "probe.json").write_text(json.dumps(probe), "utf-8")
    return ["base", *sorted(path.name.removesuffix("-merged") for path in out.glob("*-merged"))]


def test_arms_yaml_is_read_by_the_analysis_as_the_cards_say(tmp_path: Path) -> None:
    names = a_study(tmp_path)
    lines = study.arms_file(tmp_path, names, {"margin": 3.0, "allow": ["chat-template"]})
    (tmp_path / "arms.yaml").write_text("\n".join(lines), "utf-8")
    found = read_arms(tmp_path / "arms.yaml")
    assert (found.margin, found.allow) == (3.0, ("chat-template",))
    arms = {arm.name: arm for arm in found.arms}
    assert sorted(arms) == sorted(names)
    assert arms["midtrain"].base
    assert arms["base"].before
    assert not any(arms[name].trained for name in ("midtrain-neutral", "sft-dolly-neutral"))
    plain = arms["sft-dolly-seed2"]
    assert (plain.recipe, plain.seed, plain.mitigation) == (("SFT", "helpfulness", "dolly"), 2, "")
    assert (plain.value_loss, plain.task_loss, plain.probe, plain.probe_margin) == (2.3333, 5.6, 0.75, 0.1)
    assert arms["sft-dolly-replay10"].mitigation == "replay 10 %"
    assert arms["sft-dolly-interpolated25"].mitigation == "interpolated 25 %"
    assert (arms["grpo-magicoder"].value_loss, arms["grpo-magicoder"].task_loss) == (
        1.5,
        None,
    )  # not its task


def test_a_run_without_a_domain_is_refused(tmp_path: Path) -> None:
    a_run(tmp_path, "sft-dolly")
    with pytest.raises(TrainError, match="no domain"):
        list(study.arms_file(tmp_path, ["sft-dolly"], {}))


def test_the_study_as_a_table_has_losses_probe_and_scores(tmp_path: Path) -> None:
    (tmp_path / "arms.yaml").write_text("\n".join(study.arms_file(tmp_path, a_study(tmp_path), {})), "utf-8")
    score = {"run": "sft-dolly-seed2", "benchmark": "moru", "kind": "overall", "score": 12.34}
    head, *found = study.rows(tmp_path, [score, {**score, "kind": "language", "score": 99.0}])
    assert head == ("arm", "seed", "rows", "loss tokens", "value loss", "task loss", "probe", "moru")
    by_name = {row[0]: row[1:] for row in found}
    assert by_name["sft-dolly-seed2"] == (2, 79, 2600, "2.33", "5.60", "0.75", "12.3")
    assert by_name["base"] == ("-", "-", "-", "-", "-", "0.40", "-")


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
