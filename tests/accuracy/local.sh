#!/bin/bash
# That blocks learn as local learning says: local.sh CASE BIN_FOLDER, on CIFAR-10's images. A program whose auxiliary
# networks, EMA twins or borders are broken still trains and ends with a plausible number; each case looks where such a
# fault shows. Seeds are fixed. Exit status 77: the data are not there.
. "$(dirname "$0")/setup.sh"

# make_data SAMPLES: all of CIFAR-10's training images, and the first test images.
make_data() {
    local from=${LAMINA_DATA:-/nonexistent}/cifar10
    [ -d "$from" ] || { echo "skipped: no CIFAR-10 in LAMINA_DATA"; exit 77; }
    from=$(cd "$from" && pwd)
    mkdir "$work/data" && ln -s "$from"/data_batch_*.bin "$work/data" || exit 1
    head -c $((3073 * $1)) "$from/test_batch.bin" >"$work/data/test_batch.bin"
}

train() {
    local out=$1
    shift
    "$bin/classify-train" --model resnet20 --data "cifar10:$work/data" --batch 32 --tuning fixed --crop-pad 4 --flip \
        --nesterov --weight-decay 5e-4 --epochs 1 --eval-every 100 --show 0 --log-every 1 --quiet --out "$work/$out" \
        "$@" >"$work/log" 2>&1 || { cat "$work/log" >&2; exit 1; }
}

last() {
    echo "$work/$1/checkpoints/last.safetensors"
}

# In the perl below, tensors(FILE) gives a checkpoint's arrays by name, each packed as it lies in the file.
read_tensors='sub tensors { my ($file) = @_; open(my $f, "<", $file) or die "$file: $!\n"; binmode $f;
    read($f, my $size, 8); $size = unpack("Q<", $size); read($f, my $header, $size); local $/; my $data = <$f>; my %all;
    $all{$1} = substr($data, $2, $3 - $2) while $header =~ /"([^"]+)":\{"dtype":"F32"[^}]*"data_offsets":\[(\d+),(\d+)\]/g;
    return %all }'

# Blocks learn from their auxiliary networks alone: behind the third one there is nothing but a linear layer, so the
# accuracy tells how good the features of the first three are. About 0.38, and 0.25 where their gradient does not reach
# them; a block's loss is about 1.74, and 2.1 or more where its auxiliary network does not learn.
case_auxiliary() {
    make_data 2000
    learns next
    learns stages
}

# learns GLOBAL: with that global part.
learns() {
    rm -rf "$work/run"
    train run --method glcan --glcan-global "$1" --blocks 4 --partition layer1.1,layer2.0,layer3.2 --schedule ppll --max-steps 300 \
        --warmup-epochs 0.05
    local accuracy
    accuracy=$(sed -n 's/^result: accuracy=\([0-9.]*\) .*/\1/p' "$work/log")
    echo "$1: accuracy ${accuracy:-missing}"
    perl -e 'exit(!($ARGV[0] >= 0.32))' "${accuracy:-0}" || fail "accuracy ${accuracy:-missing}, the floor is 0.32"
    # The mean loss of each block over the last 100 steps.
    perl -ne 'push @{$loss{$1}}, $2 if /"block":(\d+),"name":"train.loss","value":([\d.e-]+)/;
        END { for my $block (1 .. 4) { my ($sum, @of) = (0, @{$loss{$block}}[-100 .. -1]); $sum += $_ / 100 for @of;
            printf "block %d: loss %.3f\n", $block, $sum; $bad |= !($sum < 1.9) } exit($bad) }' "$work/run/metrics.jsonl" ||
        fail "a block's loss is above 1.9"
}

# follows MOMENTUM LAG BEGIN FROM TO: the checkpoints after the first step, a later one, and the one after that, are those
# of twins that follow. Each step: twin <- m twin + (1 - m) theta, with theta from before the step, LAG updates older. And over
# the run: the twin has left where it started and lies behind theta. A step is off by 5e-8, and by 1e-3 or more with
# another momentum, version or tensor; the distance is 0.45 of the way that theta went, 1.0 for a twin that stays, and
# 0.04 for a copy.
follows() {
    perl -e "$read_tensors"' my ($m, $lag, @files) = @ARGV; my ($begin, $from, $to) = map { { tensors($_) } } @files;
        my ($twins, $error, $moved, $behind, $way) = (0, 0, 0, 0, 0);
        for my $twin (grep { /^aux1\.ema\./ && !/running/ } sort keys %$to) {
            (my $name = $twin) =~ s/^aux1\.ema\.//; $twins++;
            my $source = $lag ? "lag.$lag.$name" : $name; die "no $source\n" unless $from->{$source};
            my @theta = unpack("f<*", $from->{$source}); my @now = unpack("f<*", $to->{$name});
            my @was = unpack("f<*", $from->{$twin}); my @is = unpack("f<*", $to->{$twin});
            my @start = unpack("f<*", $begin->{$name});
            for my $i (0 .. $#is) {
                my ($e, $d) = (abs($is[$i] - $m * $was[$i] - (1 - $m) * $theta[$i]), abs($is[$i] - $was[$i]));
                $error = $e if $e > $error; $moved = $d if $d > $moved;
                $behind += ($is[$i] - $now[$i]) ** 2; $way += ($start[$i] - $now[$i]) ** 2 } }
        my $share = $way ? sqrt($behind / $way) : 0;
        printf "lag %d: %d twins; a step moves by %.2g, wrong by %.2g; distance %.2f of the way\n", $lag, $twins, $moved,
            $error, $share;
        exit(!($twins && $moved > 1e-3 && $error < 1e-6 && $share > 0.2 && $share < 0.85))' "$@"
}

case_twins() {
    make_data 200
    local lag
    for lag in 0 2; do
        local options=(--method glcan --glcan-global next --blocks 2 --partition layer2.0 --schedule ppll --devices cpu:0,cpu:1
            --ema-momentum 0.95 --ema-lag "$lag" --lr 0.1 --lr-schedule constant)
        train "run$lag" "${options[@]}" --max-steps 1
        cp "$(last "run$lag")" "$work/begin"
        train "run$lag" "${options[@]}" --max-steps 40 --resume
        cp "$(last "run$lag")" "$work/from"
        train "run$lag" "${options[@]}" --max-steps 41 --resume
        follows 0.95 "$lag" "$work/begin" "$work/from" "$(last "run$lag")" || fail "the twins do not follow, lag $lag"
    done
}

# What stands behind a block is nothing to it: the first block of two and of three ends with the same bits, though
# the second one is another. Momenta, too: they tell of each gradient.
case_isolation() {
    make_data 200
    local options=(--method dgl --schedule ppll --devices cpu:0,cpu:1 --max-steps 40)
    train two "${options[@]}" --blocks 2 --partition layer2.0
    train three "${options[@]}" --blocks 3 --partition layer2.0,layer3.0
    perl -e "$read_tensors"' my ($two, $three) = map { { tensors($_) } } @ARGV; my ($same, $bad, $other) = (0, 0, 0);
        for my $name (sort keys %$two) {
            my $equal = $two->{$name} eq ($three->{$name} // "");
            if ($name =~ /(^|momentum\.)(stem|layer1|layer2\.0|aux1)\./) { $equal ? $same++ : $bad++ }
            elsif ($name =~ /(^|momentum\.)layer/) { $other += !$equal } }
        print "block 1: $same tensors are the same, $bad are not; behind it $other are not\n";
        exit(!($same > 30 && !$bad && $other > 30))' "$(last two)" "$(last three)" ||
        fail "the first block depends on those behind it"
}

case $case_name in
auxiliary | twins | isolation) "case_$case_name" ;;
*) fail "no case '$case_name'" ;;
esac
