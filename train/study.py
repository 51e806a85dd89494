"""Write ``arms.yaml``, which names the runs of a study and what they were trained on, from their cards.

    python -m value_retention.train.study out/llama31-8b base midtrain sft-dolly sft-magicoder > arms.yaml

``value-retention arms`` reads the file. The merged checkpoint of a run is ``OUT/NAME-merged``, its evaluation
``OUT/logs/NAME``.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from value_retention.train.arguments import TrainError, exits_plainly
from value_retention.train.card import read_card


def entry(out: Path, name: str) -> dict[str, Any]:
    """Return a run as an entry of ``arms.yaml``: its role, or what it was trained on.

    Args:
        out: Folder of the study.
        name: Name of the run: ``base``, ``midtrain``, a control ``midtrain-TOPIC``, or ``METHOD-DATA``, which may go
            on with what lessens the loss and with the seed.

    Raises:
        TrainError: The run of an arm has no card, or no domain in it.
    """
    run = {"name": name, "run": f"logs/{name}"}
    if name == "base":
        return {**run, "role": "base"}
    card = read_card(out / f"{name}-merged")
    settings, result = card.get("config", {}), card.get("result", {})
    losses = {
        f"{part}_loss": round(result[key], 4)
        for part in ("task", "value")
        if (key := f"last eval_{part}_loss") in result
    }
    method, *words = name.split("-")
    if method == "midtrain":
        return {**run, "role": "control" if words else "midtrain", **losses}
    if not settings.get("domain"):
        raise TrainError(
            "the run has no domain",
            where=out / f"{name}-merged",
            hint="add `domain: NAME` to the arm's config",
        )
    more = {"mitigation": settings["mitigation"]} if settings.get("mitigation") else {}
    trained = {"domain": settings["domain"], "method": card["stage"].upper(), "data": words[0]}
    return {**run, **trained, "seed": card["seed"], **more, **losses}


@exits_plainly
def main() -> None:
    """Read the command line and print the file."""
    import yaml

    parser = argparse.ArgumentParser(prog="python -m value_retention.train.study", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    add = parser.add_argument
    add("out", type=Path, metavar="OUT", help="folder of the study")
    add("names", nargs="+", metavar="NAME", help="its runs")
    add("--margin", type=float, help="largest loss, in points, that counts as none")
    add("--allow", action="append", metavar="ASPECT", help="a difference that the runs may have")
    options = parser.parse_args()
    head = {key: value for key in ("margin", "allow") if (value := getattr(options, key)) is not None}
    if head:
        print(yaml.safe_dump(head, sort_keys=False, default_flow_style=None), end="")
    print("arms:")
    for name in options.names:
        found = yaml.safe_dump(
            entry(options.out, name),
            sort_keys=False,
            default_flow_style=True,
            allow_unicode=True,
            width=10**6,
        )
        print(f"  - {found}", end="")


if __name__ == "__main__":
    main()
