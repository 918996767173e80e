#!/usr/bin/env bash
# From a fresh clone to a trained network: installs what is missing, builds, trains on the built-in data.
set -euo pipefail
cd "$(dirname "$0")"
. assets/setup.sh
parse_yes "$@"

say "1/3 packages"
install_packages $BUILD_PACKAGES

say "2/3 build"
build build/release OFF -j "$(nproc)"

say "3/3 training ResNet-20 on the built-in shapes (ten classes of 32x32 images, made on the fly)"
out=runs/quickstart
rm -rf "$out"
build/release/bin/classify-train --recipe assets/recipes/shapes-resnet20.ini --out "$out"

picture=$(ls "$out"/predictions/*.png 2>/dev/null | sort | tail -n 1)
cat <<END

Done. The run is in $out:
  $picture   what it predicts (green: right, red: wrong)
  $out/summary.json, metrics.jsonl, TensorBoard events, checkpoints

Try next:
  build/release/bin/lamina info $out
  build/release/bin/lamina eval $out/checkpoints/best.safetensors
  build/release/bin/classify-train --help
  README.md has the CIFAR-10 example; ./test.sh runs all tests.
END
