"""Write ``arms.yaml``, which names the runs of a study and what they were trained on, or print the study as a table.

    python -m value_retention.train.study out/tiny base midtrain sft-dolly sft-magicoder > out/tiny/arms.yaml
    python -m value_retention.train.study out/tiny --scores out/tiny/arms.json

``value-retention arms`` reads the file, and writes the scores with ``--json``. Of the run NAME, the merged checkpoint
with its card is ``OUT/NAME-merged`` and the evaluation ``OUT/logs/NAME``. ``OUT/losses.json`` and ``OUT/probe.json``
are used where they exist.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from value_retention.train.arguments import TrainError, exits_plainly
from value_retention.train.card import read_card
from value_retention.train.plan import table

MEASURES = ("value_loss", "task_loss", "probe")


def entry(out: Path, name: str, losses: dict[str, Any], probed: dict[str, Any]) -> dict[str, Any]:
    """Return a run as an entry of ``arms.yaml``: its role or what it was trained on, and what needs no judge.

    Args:
        out: Folder of the study.
        name: Name of the run: ``base``, ``midtrain``, ``midtrain-TOPIC`` (a control) or ``METHOD-DATA``, which may go
            on with a mitigation and a seed.
        losses: Loss on held-out rows, in nats per token, by merged checkpoint and data set.
        probed: Figures of the probe by run.

    Raises:
        TrainError: The run of an arm has no card, or no domain in it.
    """
    folder = out / f"{name}-merged"
    card = read_card(folder)
    settings = card.get("config", {})
    method, *words = name.split("-")
    data = words[0] if words else ""
    measured = losses.get(str(folder), {})
    found = {"value_loss": measured.get("value")}
    if method not in ("base", "midtrain"):
        found["task_loss"] = measured.get(data)
    found |= {"probe": probed.get(name, {}).get("share"), "probe_margin": probed.get(name, {}).get("margin")}
    figures = {key: round(value, 4) for key, value in found.items() if value is not None}
    run = {"name": name, "run": f"logs/{name}"}
    if name in ("base", "midtrain"):
        return {**run, "role": name, **figures}
    if method == "midtrain" or settings.get("parent", "midtrain") != "midtrain":
        return {**run, "role": "control", **figures}
    if not settings.get("domain"):
        raise TrainError(
            "the run has no domain", where=folder, hint="add `domain: NAME` to the config of the arm"
        )
    between = settings.get("interpolated")
    done = f"interpolated {100 * between['weight']:.0f} %" if between else settings.get("mitigation")
    trained = {
        "domain": settings["domain"],
        "method": card["stage"].upper(),
        "data": data,
        "seed": card["seed"],
    }
    return {**run, **trained, **({"mitigation": done} if done else {}), **figures}


def arms_file(out: Path, names: list[str], head: dict[str, Any]) -> Iterator[str]:
    """Yield the lines of ``arms.yaml``.

    Args:
        out: Folder of the study.
        names: Names of its runs.
        head: Keys before the arms.
    """
    import yaml

    losses = _read(out / "losses.json")
    probed = _read(out / "probe.json").get("checkpoints", {})
    if head:
        yield yaml.safe_dump(head, sort_keys=False, default_flow_style=None).rstrip()
    yield "arms:"
    for name in names:
        found = entry(out, name, losses, probed)
        text = yaml.safe_dump(
            found, sort_keys=False, default_flow_style=True, allow_unicode=True, width=10**6
        )
        yield f"  - {text.rstrip()}"


def rows(out: Path, scores: list[dict[str, Any]]) -> list[tuple[Any, ...]]:
    """Return the study as rows of a table, the first of which is the head.

    Args:
        out: Folder of the study, with ``arms.yaml``.
        scores: ``scores`` in what ``value-retention arms --json`` writes, in per cent.
    """
    import yaml

    overall = {(s["run"], s["benchmark"]): s["score"] for s in scores if s["kind"] == "overall"}
    benchmarks = list(dict.fromkeys(benchmark for _, benchmark in overall))
    heads = ("arm", "seed", "rows", "loss tokens", "value loss", "task loss", "probe", *benchmarks)
    found: list[tuple[Any, ...]] = [heads]
    for arm in yaml.safe_load((out / "arms.yaml").read_text("utf-8"))["arms"]:
        card = read_card(out / f"{arm['name']}-merged")
        data = card.get("data", {})
        tokens = card.get("result", {}).get("loss_tokens") or data.get("loss_tokens")
        measures = [f"{arm[key]:.2f}" if key in arm else "-" for key in MEASURES]
        percent = [overall.get((arm["name"], benchmark)) for benchmark in benchmarks]
        found.append(
            (
                arm["name"], arm.get("seed", "-"), data.get("rows_out") or "-", tokens or "-", *measures,
                *("-" if value is None else f"{value:.1f}" for value in percent),
            )
        )  # fmt: skip
    return found


def _read(path: Path) -> Any:
    return json.loads(path.read_text("utf-8")) if path.is_file() else {}


@exits_plainly
def main() -> None:
    """Read the command line and print the file or the table."""
    parser = argparse.ArgumentParser(prog="python -m value_retention.train.study", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    add = parser.add_argument
    add("out", type=Path, metavar="OUT", help="folder of the study")
    add("names", nargs="*", metavar="NAME", help="its runs")
    add("--margin", type=float, help="largest loss, in points, that counts as none")
    add("--allow", action="append", metavar="ASPECT", help="a difference that the runs may have")
    add(
        "--scores",
        type=Path,
        metavar="FILE",
        help="print the table, with scores from `value-retention arms --json`",
    )
    options = parser.parse_args()
    if options.scores:
        print(*table(rows(options.out, _read(options.scores)["scores"])), sep="\n")
        return
    head = {key: value for key in ("margin", "allow") if (value := getattr(options, key)) is not None}
    print(*arms_file(options.out, options.names, head), sep="\n")


if __name__ == "__main__":
    main()
