#!/bin/bash
# That the program learns: classify.sh CASE BIN_FOLDER. A short training from scratch has to reach a floor of
# accuracy on the test images. Seeds are fixed; what a processor's rounding changes is a fraction of the distance
# between a floor and what is usually reached. Exit status 77: the data are not there.
. "$(dirname "$0")/setup.sh"

# reaches FLOOR OPTIONS...: trains ResNet-20 and compares the accuracy of its result.
reaches() {
    local floor=$1 accuracy
    shift
    "$bin/classify-train" --model resnet20 --batch 64 --tuning fixed --crop-pad 4 --flip --nesterov \
        --weight-decay 5e-4 --eval-every 100 --show 0 --out "$work/run" "$@" >"$work/log" 2>&1 ||
        { cat "$work/log" >&2; exit 1; }
    tail -n 1 "$work/log"
    accuracy=$(sed -n 's/^result: accuracy=\([0-9.]*\) .*/\1/p' "$work/log")
    perl -e 'exit(!($ARGV[0] >= $ARGV[1]))' "${accuracy:-0}" "$floor" && return 0
    fail "accuracy ${accuracy:-missing}, the floor is $floor"
}

case $case_name in
shapes)
    # About 0.96 (AVX-512); a linear model reaches 0.28.
    reaches 0.80 --data shapes --epochs 2 --warmup-epochs 0.2
    ;;
cifar10)
    data=${LAMINA_DATA:-/nonexistent}/cifar10
    [ -d "$data" ] || { echo "skipped: no CIFAR-10 in LAMINA_DATA"; exit 77; }
    # About 0.56 (AVX-512); a linear model reaches 0.40.
    reaches 0.48 --data "cifar10:$data" --epochs 2 --max-steps 420 --warmup-epochs 0.2
    ;;
*)
    echo "no case '$case_name'" >&2
    exit 1
    ;;
esac
