#!/usr/bin/env bash
# Draws forest.png and report.png from the runs that `make paper` leaves in paper-out, or from those in another folder.
# report.png needs Debian's package chromium.
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
# Sixteen shades are enough for grey, and a quarter of the size.
python - "$work/forest_anima_2_2_sft-dolly_vs_midtrain.png" "$work/report.png" "$images" <<'END'
import sys
from PIL import Image
forest, report, images = sys.argv[1:]
Image.open(forest).convert("L").quantize(16).save(f"{images}/forest.png", optimize=True)
Image.open(report).convert("RGB").quantize(64).save(f"{images}/report.png", optimize=True)
END
