#!/usr/bin/env bash
# Draws forest.png and report.png from the runs that `make paper` leaves in paper-out, or from those in another folder,
# and plane.png from generated records. report.png needs Debian's package chromium.
set -euo pipefail
images=$(cd "$(dirname "$0")" && pwd)
cd "${1:-$(dirname "$0")/../..}"
work=$(mktemp -d)
trap 'rm -r "$work"' EXIT
runs=(midtrain=paper-out/logs/midtrain sft-dolly=paper-out/logs/sft-dolly)
value-retention compare "${runs[@]}" --margin 5 --plots "$work" > "$work/screen"
value-retention report "${runs[@]}" base=paper-out/logs/base --before base --margin 5 -o "$work/report.html"
chromium --headless --no-sandbox --disable-gpu --hide-scrollbars --user-data-dir="$work/profile" \
    --window-size=1000,1010 --screenshot="$work/report.png" "file://$work/report.html" 2> "$work/messages"
PYTHONPATH="$images/../../tests" python - "$work" <<'END'
import json, sys
from pathlib import Path
from synthetic import anima_shape, synthetic_records
folder = Path(sys.argv[1])
arms = [("base", "", 10, None), ("midtrain", "", 60, None), ("control", "", 14, None), ("sft", "", 26, 2.31),
        ("sft", "replay 10 %", 45, 2.32), ("sft", "replay 33 %", 54, 2.40), ("sft", "smaller learning rate", 50, 2.53),
        ("sft", "LoRA of rank 4", 41, 2.45)]
entries = []
for role, mitigation, level, loss in arms:
    for seed in (1, 2, 3) if loss else (1,):
        name = f"{role} {mitigation} {seed}".replace("%", "")
        records = synthetic_records(name, anima_shape(), {"all": (level + 3 * (seed % 3)) / 100})
        (folder / f"{name}.records.jsonl").write_text("".join(record.to_json() + "\n" for record in records))
        trained = {"domain": "helpfulness", "method": "SFT", "data": "dolly", "seed": seed, "mitigation": mitigation}
        known = trained | {"task_loss": loss + seed % 3 / 100} if loss else {"name": "neutral" if role == "control" else role, "role": role}
        entries.append({"run": f"{name}.records.jsonl", **known})
(folder / "arms.yaml").write_text(json.dumps({"arms": entries}))
END
value-retention arms "$work/arms.yaml" --plots "$work" > "$work/screen"
# Sixteen shades are enough for grey, and a quarter of the size.
python - "$work/forest_anima_2_2_sft-dolly_vs_midtrain.png" "$work/report.png" \
    "$work/plane_anima_2_2_task_loss-dolly.png" "$images" <<'END'
import sys
from PIL import Image
forest, report, plane, images = sys.argv[1:]
Image.open(forest).convert("L").quantize(16).save(f"{images}/forest.png", optimize=True)
for name, picture, colours in (("report", report, 64), ("plane", plane, 256)):
    Image.open(picture).convert("RGB").quantize(colours).save(f"{images}/{name}.png", optimize=True)
END
