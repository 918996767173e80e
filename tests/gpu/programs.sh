#!/bin/bash
# The programs on GPUs, from outside: programs.sh CASE BIN_FOLDER. Emulated ones here: LD_LIBRARY_PATH names the emulator's folder.
. "$(dirname "$0")/../faults/setup.sh"
unset LAMINA_TEST_DEVICES
export LAMINA_CONV=direct # Winograd's rounding, which is not direct convolution's, flips a ReLU here and there

classify=(classify-train --model resnet20 --data shapes --image-size 16 --batch 16 --overfit-batch)
detect=(detect-train --model retinanet-tiny --data shapes --image-size 64x64 --batch 4 --optimizer adamw --overfit-batch)
sr=(sr-train --model edsr-small --channels 8 --body-units 4 --data shapes --batch 4 --patch 12 --patches-per-epoch 12 --optimizer adam)
moved=(classify-train --model resnet20 --data shapes --image-size 16 --batch 16 --crop-pad 2 --flip --cutout 4) # augmented on the device
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

# near_whole A B: the mean loss of an epoch that is one step, within 1e-4; of a run with blocks the last one's.
near_whole() {
    perl -e 'my @l = map { local $/; open(F, "<", "$_/metrics.jsonl") or die; my @v = <F> =~ /"block": ?\d+, ?"name": ?"train\/loss", ?"value": ?([\d.]+)/g;
        die "$_: no loss\n" unless @v; $v[-1] } @ARGV; exit(abs($l[0] - $l[1]) > 1e-4 * $l[0])' "$1" "$2" || fail "$1 and $2: other losses"
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

# Images that the device moves: other ones in each step, recorded or not; the same on cores, in micro-batches, after a resume.
case_augment() {
    run "${moved[@]}" "${few[@]}" --out cpu --devices cpu:0 || fail "cpu"
    run "${moved[@]}" "${few[@]}" --out cuda --devices cuda:0 || fail "cuda"
    near cuda cpu
    run "${moved[@]}" "${few[@]}" --out single --devices cuda:0 --no-cuda-graph || fail "without recordings"
    cmp <(tensors cuda) <(tensors single) || fail "recordings change weights"
    run "${moved[@]:0:9}" "${few[@]}" --out still --devices cuda:0 || fail "without moves"
    cmp -s <(tensors cuda) <(tensors still) && fail "moving images changes nothing"
    run "${moved[@]}" "${few[@]}" --out half --devices cuda:0 --precision bf16 || fail "bf16"
    run "${moved[@]}" "${few[@]}" --out part --devices cuda:0 --max-steps 2 --lr-schedule constant || fail "a part"
    run "${moved[@]}" "${few[@]}" --out whole --devices cuda:0 --max-steps 4 --lr-schedule constant || fail "the whole"
    run "${moved[@]}" "${few[@]}" --out part --devices cuda:0 --max-steps 4 --resume || fail "the rest"
    cmp <(tensors whole) <(tensors part) || fail "other weights after a resume"
    # A transformer, whose samples do not see each other: micro-batches give the gradient of the whole batch, so its images are the same.
    local vit=("${moved[@]/resnet20/vit-micro}" "${few[@]}" --max-steps 1) how
    run "${vit[@]}" --out all --devices cuda:0 || fail "a transformer"
    for how in gpipe 1f1b; do
        run "${vit[@]}" --out $how --devices cuda:0,cuda:1 --blocks 2 --schedule $how --micro-batches 4 || fail $how
        near_whole all $how
    done
}

# A process for each GPU, and for a core and a GPU: the weights of one process, to the bit.
case_mpi() {
    command -v mpirun >/dev/null && [ -e "$bin/../liblamina_mpi.so" ] || { echo "skipped: no MPI"; exit 77; }
    export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
    local options=("${classify[@]:1}" "${few[@]}" --method glcan --glcan-global next --blocks 2 --schedule ppll) devices got
    for devices in cuda:0,cuda:1 cpu:0,cuda:0; do
        rm -rf threads ranks
        run "${classify[0]}" "${options[@]}" --devices $devices --out threads || fail "in one process on $devices"
        timeout 300 mpirun --oversubscribe --bind-to none -n 2 "$bin/${classify[0]}" "${options[@]}" --devices $devices \
            --transport mpi --out ranks >out 2>log || fail "two ranks on $devices"
        cmp <(tensors threads) <(tensors ranks) || fail "other weights over ranks on $devices"
    done
    # The wires between a GPU and the host fail: all ranks end, and one of them says what it was.
    local order
    for order in cudaMallocHost:1 cudaMallocHost:3 cudaStreamCreateWithFlags:2 cudaStreamCreateWithFlags:4 cudaMemcpyAsync:20; do
        LAMINA_EMULATED_FAIL=$order timeout 120 mpirun --oversubscribe --bind-to none -n 2 "$bin/${classify[0]}" "${options[@]}" \
            --devices cuda:0,cuda:1 --transport mpi --out bad >out 2>log
        got=$?
        [ $got != 0 ] && [ $got != 124 ] || fail "exit status $got when $order fails over ranks"
        grep -q "emulator:" log && fail "the emulator found a defect when $order fails over ranks"
        grep -q "^classify-train: " log || fail "no rank says why when $order fails"
        rm -rf bad
    done
    # One GPU for each host is cuda:0 everywhere; reports tell them apart.
    timeout 300 mpirun --oversubscribe --bind-to none -n 2 "$bin/${classify[0]}" "${options[@]}" --devices cuda:0,cuda:0 \
        --transport mpi --out same >out 2>log || fail "two ranks on GPUs of one name"
    grep -q '"cuda:0 of rank 1"' same/summary.json && grep -q '"cuda:0 of rank 0"' same/memory.jsonl || fail "devices of one name"
}

# What the pools count beside what the driver does: 64 MiB of the emulated context, and what the backend holds beside the pools.
# Taking a step takes no memory.
case_memory() {
    # Batches that are large beside what is not in pools.
    local large=("${classify[@]}" "${few[@]}" --batch 128 --prefetch 40 --devices cuda:0)
    run "${large[@]}" --out run || fail "a run"
    run "${large[@]}" --max-steps 9 --out longer || fail "a longer run"
    perl -MJSON::PP -e 'my @m = map { local $/; open(F, "<", "$_/summary.json") or die; decode_json(<F>)->{memory}{"cuda:0"} } @ARGV;
        my $beside = $m[0]{process} - $m[0]{pools} - (64 << 20);
        die "$beside bytes beside the pools\n" unless $beside > 0 && $beside < (1 << 20);
        $m[0]{$_} == $m[1]{$_} or die "$_: $m[0]{$_}, after more steps $m[1]{$_}\n" for qw(pools process free)' run longer \
        || fail "pools and driver differ"
    grep -q '"kind":"driver"' run/memory.jsonl || fail "memory.jsonl does not tell of the driver"
    run "${classify[@]}" --tuning fixed --max-steps 1 --show 0 --out told --devices cuda:0 || fail "a run that speaks"
    grep -q "free now" out || fail "the forecast does not say what is free"
    grep -q "cuda:0: this process holds .* of which .* are pools" out || fail "nothing is said of the process"
    LAMINA_EMULATED_NVML=0 run "${classify[@]}" --tuning fixed --max-steps 1 --show 0 --out less --devices cuda:0 || fail "without NVML"
    grep -q "cuda:0: pools hold .* all programs counted" out || fail "nothing is said without NVML"
}

# launches FILE: pieces of work that were counted there, but for copies by the driver and what is put in front of a recorded step.
launches() {
    perl -F'\t' -ane '$n += $F[1] if $F[0] eq "work"; $n -= $F[1] if $F[0] eq "cudaMemcpyAsync" || $F[0] eq "work:store_run";
        END { print $n }' "$1"
}

# The launches of a step are as many as lamina-bench paper says.
case_launches() {
    local model batch side precision steps counted expected
    while read -r model batch side; do
        for precision in f32 bf16; do
            local network=(--model "$model" --batch "$batch" --image-size "$side" --precision $precision)
            for steps in 2 3; do
                LAMINA_EMULATED_COUNT=$steps.count run lamina-bench step "${network[@]}" --devices cuda:0 --tuning fixed \
                    --steps $steps || fail "$model: a step"
            done
            run lamina-bench paper "${network[@]}" --json paper.json || fail "$model: paper"
            expected=$(perl -MJSON::PP -e 'local $/; open(F, "<", "paper.json") or die; my $n = decode_json(<F>)->[0]{launches};
                print $n->{nodes} + $n->{update}') || fail "$model: no numbers"
            counted=$(($(launches 3.count) - $(launches 2.count)))
            [ "$counted" -gt 100 ] && [ "$counted" = "$expected" ] || fail "$model, $precision: $counted launches, $expected on paper"
        done
    done <<<$'resnet20 4 16\nvit-micro 4 16\nedsr-small 2 12'
}

case_refused() {
    refused "cuda:9: there are 2 GPUs here" "$bin/${classify[0]}" "${classify[@]:1}" --out bad --devices cuda:9
    refused "'x' is not the number of a GPU" "$bin/${classify[0]}" "${classify[@]:1}" --out bad --devices cuda:x
    refused "cpu:0 has no TF32" "$bin/${classify[0]}" "${classify[@]:1}" --out bad --devices cpu:0 --precision tf32
    LAMINA_EMULATED_TAKEN=$((2045 << 20)) stopped "are needed, 3.0 MiB (3145" \
        "$bin/${classify[0]}" "${classify[@]:1}" --quiet --tuning fixed --out bad --devices cuda:0
    export LAMINA_EMULATED_MEMORY=$((3 << 20))
    stopped "cuda:0: the run needs" "$bin/${classify[0]}" "${classify[@]:1}" --quiet --tuning fixed --out bad --devices cuda:0
}

# fails WHAT:N OPTIONS...: that call or piece of work fails; the run ends with one error, and leaves nothing behind. What is freed, or only
# asked for, may fail without harm: then the weights are those of the run count_run.
fails() {
    local order=$1 got name
    shift
    rm -rf bad fired
    LAMINA_EMULATED_FAIL=$order LAMINA_EMULATED_COUNT=fired run "$@" --out bad
    got=$?
    grep -q "emulator:" log && fail "the emulator found a defect when $order fails"
    if [ $got = 0 ]; then
        name=$(sed -n 's/^failed:\(.*\)\t.*/\1/p' fired)
        case $name in
        *Free* | *Destroy* | cudaMemGetInfo | cudaDeviceCanAccessPeer | cudaDeviceEnablePeerAccess) ;;
        cudaGetDeviceProperties) [ "${order##*:}" != 1 ] || fail "nobody needs a GPU's properties" ;;
        cudaStreamSynchronize) [ "$order" = "$name:${calls:-0}" ] || fail "nobody noticed $order" ;; # the last one, before memory is freed
        "") [ "${order##*:}" != 1 ] || fail "$order never came" ;; # how often some calls are made hangs on the timing
        *) fail "nobody noticed that $name fails ($order)" ;;
        esac
        cmp <(tensors count_run) <(tensors bad) || fail "other weights when $order fails"
        return
    fi
    [ $got = 1 ] || [ $got = 2 ] || fail "exit status $got when $order fails"
    [ "$(grep -c . log)" = 1 ] || fail "not one line of error when $order fails"
}

# Whatever call fails: of each entry point the first, the middle and the last one, of each kernel the first run, and a sample of all
# calls, every LAMINA_FAULT_STEP-th of them (1: all, which takes hours).
case_faults() {
    make_data data 24 8 # few images, so that evaluating them takes no time
    local options=(classify-train --model resnet20 --data cifar10:data --batch 8 --crop-pad 2 --flip "${few[@]}" --method glcan --blocks 2
        --devices cuda:0,cuda:1 --schedule ppll) total name calls n
    LAMINA_EMULATED_COUNT=count run "${options[@]}" --out count_run || fail "without a fault"
    total=$(head -1 count)
    [ "${total:-0}" -gt 100 ] || fail "no count of calls"
    [ "$(grep -c '^cuda' count)" -gt 20 ] && [ "$(grep -c '^work:' count)" -gt 20 ] || fail "no count by name"
    while IFS=$'\t' read -r name calls <&3; do
        [ "$name" = any ] || [ "$name" = work ] && continue
        fails "$name:1" "${options[@]}"
        [ "${name#work:}" = "$name" ] || continue
        [ "$calls" -gt 2 ] && fails "$name:$((calls / 2))" "${options[@]}"
        [ "$calls" -gt 1 ] && fails "$name:$calls" "${options[@]}"
    done 3< <(tail -n +2 count)
    for n in $(seq 1 "${LAMINA_FAULT_STEP:-$((total / 16 + 1))}" "$total"); do fails "any:$n" "${options[@]}"; done
    rm -rf bad
    LAMINA_EMULATED_LOSE=1:$((total / 2)) run "${options[@]}" --out bad
    [ $? = 1 ] || fail "exit status when a GPU is lost"
    grep -q "cuda:1" log || fail "the lost GPU is not named"
}

"case_$case_name"
