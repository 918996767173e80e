#!/bin/bash
# The programs on GPUs, from outside: programs.sh CASE BIN_FOLDER. Emulated ones here: LD_LIBRARY_PATH names the emulator's folder.
. "$(dirname "$0")/../faults/setup.sh"
unset LAMINA_TEST_DEVICES
export LAMINA_CONV=direct # Winograd's rounding, which is not direct convolution's, flips a ReLU here and there

classify=(classify-train --model resnet20 --data shapes --image-size 16 --batch 16 --overfit-batch)
detect=(detect-train --model retinanet-tiny --data shapes --image-size 64x64 --batch 4 --optimizer adamw --overfit-batch)
sr=(sr-train --model edsr-small --channels 8 --body-units 4 --data shapes --batch 4 --patch 12 --patches-per-epoch 12 --optimizer adam)
few=(--tuning fixed --max-steps 3 --log-every 1 --show 2 --quiet)

# run PROGRAM OPTIONS... --out FOLDER
run() {
    local program=$1
    shift
    timeout 300 "$bin/$program" "$@" >out 2>log
}

# near A B: the losses of two runs' steps, within 1e-4 of each other.
near() {
    paste <(grep -h '"train/loss"\|/loss"' "$1/metrics.jsonl" | grep -v val/) \
        <(grep -h '"train/loss"\|/loss"' "$2/metrics.jsonl" | grep -v val/) >pairs
    perl -ne 'my @v = /"value":(-?[\d.eE+-]+)/g; $n++ if @v == 2; die "$_" if @v != 2 || abs($v[0] - $v[1]) > 1e-4 * (abs($v[1]) + 1e-3);
        END { die "no losses\n" unless $n }' pairs || fail "$1 and $2: other losses"
}

# The three tasks: the CPU's losses; blocks on two GPUs, in turn and at once, to the bit; a recorded step and one that is not.
tasks() {
    run "$@" "${few[@]}" --out cpu --devices cpu:0 || fail "cpu"
    run "$@" "${few[@]}" --out cuda --devices cuda:0 || fail "cuda"
    near cuda cpu
    run "$@" "${few[@]}" --out single --devices cuda:0 --no-cuda-graph || fail "without recordings"
    cmp <(tensors cuda) <(tensors single) || fail "recordings change weights"
    local blocks=("${few[@]}" --method glcan --blocks 2)
    run "$@" "${blocks[@]}" --out plain --devices cuda:0,cuda:1 --schedule sequential || fail "sequential"
    run "$@" "${blocks[@]}" --out piped --devices cuda:0,cuda:1 --schedule ppll || fail "ppll"
    cmp <(tensors plain) <(tensors piped) || fail "ppll: other weights"
    run "$@" "${blocks[@]}" --out both --devices cpu:0,cuda:0 --schedule ppll || fail "a cpu and a GPU"
    near both plain
    run "$@" "${few[@]}" --out half --devices cuda:0 --precision bf16 || fail "bf16"
}
case_classify() {
    tasks "${classify[@]}"
    run "${classify[@]}" "${few[@]}" --out tf32 --devices cuda:0 --precision tf32 || fail "tf32"
    cmp -s <(tensors cuda) <(tensors tf32) && fail "tf32 changes nothing"
    local how
    for how in gpipe 1f1b; do
        run "${classify[@]}" "${few[@]}" --out $how --devices cuda:0,cuda:1 --blocks 2 --schedule $how --micro-batches 2 || fail $how
    done
    cmp <(tensors gpipe) <(tensors 1f1b) || fail "gpipe and 1f1b differ"
}
case_detect() {
    tasks "${detect[@]}"
}
case_sr() {
    tasks "${sr[@]}"
}

# What was trained on a GPU is used anywhere: the same numbers on cores, pictures, another device.
case_use() {
    run "${classify[@]}" "${few[@]}" --out trained --devices cuda:0 || fail "training"
    local device
    for device in cpu:0 cuda:0; do
        "$bin/lamina" eval trained --devices $device --json "${device%:*}.json" >log 2>&1 || fail "eval on $device"
        "$bin/lamina" predict trained "$images/rgb.png" --devices $device >log 2>&1 || fail "predict on $device"
    done
    perl -e 'my @n = map { local $/; open(F, "<", $_) or die; <F> =~ /"accuracy": ([\d.]+)/ ? $1 : die "$_\n" } @ARGV;
        exit(abs($n[0] - $n[1]) > 0.002)' cpu.json cuda.json || fail "other numbers on the GPU"
    "$bin/lamina" plan "${classify[@]:1}" --tuning fixed --devices auto >out 2>log || fail "auto"
    grep -q "takes cuda:0" log || fail "auto does not say what it takes"
}

# Killed in the midst of an epoch and gone on, on two GPUs.
case_resume() {
    local options=("${classify[@]}" "${few[@]}" --method glcan --blocks 2 --devices cuda:0,cuda:1 --schedule ppll
        --lr-schedule constant --checkpoint-steps 2)
    run "${options[@]}" --out whole --max-steps 6 || fail "the whole run"
    "$bin/${options[0]}" "${options[@]:1}" --out part --max-steps 6 >log 2>&1 &
    wait_for_step part 3 $! && kill -9 $!
    wait $! 2>/dev/null
    run "${options[@]}" --out part --max-steps 6 --resume || fail "the rest"
    cmp <(tensors whole) <(tensors part) || fail "other weights after a resume"
}

case_refused() {
    refused "cuda:9: there are 2 GPUs here" "$bin/${classify[0]}" "${classify[@]:1}" --out bad --devices cuda:9
    refused "'x' is not the number of a GPU" "$bin/${classify[0]}" "${classify[@]:1}" --out bad --devices cuda:x
    refused "cpu:0 has no TF32" "$bin/${classify[0]}" "${classify[@]:1}" --out bad --devices cpu:0 --precision tf32
    refused "goes with cpu devices, not with cuda:0" "$bin/${classify[0]}" "${classify[@]:1}" --out bad --devices cuda:0,cuda:1 \
        --method dgl --blocks 2 --schedule ppll --transport mpi
    export LAMINA_EMULATED_MEMORY=$((3 << 20))
    stopped "cuda:0: the run needs" "$bin/${classify[0]}" "${classify[@]:1}" --quiet --tuning fixed --out bad --devices cuda:0
}

# Whatever call fails, the run ends with one error, names the GPU, and leaves nothing behind.
case_faults() {
    local options=("${classify[@]}" "${few[@]}" --method glcan --blocks 2 --devices cuda:0,cuda:1 --schedule ppll) n total got
    LAMINA_EMULATED_COUNT=count run "${options[@]}" --out count_run || fail "without a fault"
    total=$(grep -oE '[0-9]+' count | head -1)
    [ "${total:-0}" -gt 100 ] || fail "no count of calls"
    for n in 1 2 3 5 9 17 $(seq 33 $((total / 16 + 1)) "$total"); do
        rm -rf bad
        LAMINA_EMULATED_FAIL=any:$n run "${options[@]}" --out bad
        got=$?
        [ $got = 0 ] && continue # a call whose failure changes nothing: something was freed
        [ $got = 1 ] || [ $got = 2 ] || fail "exit status $got when call $n of $total fails"
        grep -q "emulator:" log && fail "the emulator found a defect when call $n of $total fails"
        [ "$(grep -c . log)" = 1 ] || fail "not one line of error when call $n of $total fails"
    done
    rm -rf bad
    LAMINA_EMULATED_LOSE=1:$((total / 2)) run "${options[@]}" --out bad
    [ $? = 1 ] || fail "exit status when a GPU is lost"
    grep -q "cuda:1" log || fail "the lost GPU is not named"
}

"case_$case_name"
