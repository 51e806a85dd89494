#!/usr/bin/env bash
# Draws docs/images/forest.png from the runs that `make paper` leaves in paper-out, or from those in another folder.
set -euo pipefail
image=$(cd "$(dirname "$0")" && pwd)/forest.png
cd "${1:-$(dirname "$0")/../..}"
plots=$(mktemp -d)
trap 'rm -r "$plots"' EXIT
value-retention compare midtrain=paper-out/logs/midtrain sft-dolly=paper-out/logs/sft-dolly --margin 5 --plots "$plots" > "$plots/report"
# Sixteen shades are enough for grey, and a quarter of the size.
python -c "import sys; from PIL import Image; Image.open(sys.argv[1]).convert('L').quantize(16).save(sys.argv[2], optimize=True)" \
    "$plots/forest_anima_2_2_sft-dolly_vs_midtrain.png" "$image"
