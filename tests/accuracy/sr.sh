#!/bin/bash
# That networks learn to enlarge real images: sr.sh CASE BIN_FOLDER, trained on T91, measured on Set5. A wrong skip, upsampler, auxiliary
# network or metric still gives plausible pictures; each case looks where such a fault shows. Seeds are fixed; other seeds and
# processors move a PSNR by 0.2 dB. Exit status 77: the data are not there.
. "$(dirname "$0")/setup.sh"

data=${LAMINA_DATA:-/nonexistent}
[ -d "$data/t91" ] && [ -d "$data/set5" ] || { echo "skipped: no T91 and Set5 in LAMINA_DATA"; exit 77; }
data=$(cd "$data" && pwd)

train() {
    rm -rf "$work/run"
    "$bin/sr-train" --model edsr-small --channels 16 --body-units 4 --data "srdir:$data/t91" --val "srdir:$data/set5" --batch 16 \
        --patch 16 --max-steps 300 --optimizer adam --lr 4e-3 --weight-decay 0 --tuning fixed --show 0 --log-every 1 --quiet \
        --out "$work/run" "$@" >"$work/log" 2>&1 || { cat "$work/log" >&2; exit 1; }
}

# is KEY LEAST MOST: a number of the run's report.
is() {
    local value
    value=$(perl -0777 -ne 'print $1 if /"mean": \{[^}]*"'"$1"'": ([\d.]+)/' "$work/run/report.json")
    echo "$1 ${value:-missing} in $2 .. $3"
    perl -e 'exit(!($ARGV[0] >= $ARGV[1] && $ARGV[0] <= $ARGV[2]))' "${value:-0}" "$2" "$3" ||
        fail "$1 is ${value:-missing}, not in $2 .. $3"
}

# The metrics are right: bicubic upscaling has its known values. And the network learns: 35.7 to 35.9 dB; without the global skip 34.7, with
# an upsampler that only repeats pixels 35.0.
case_learns() {
    train
    is bicubic_psnr 33.67 33.70
    is bicubic_ssim 0.9300 0.9310
    is psnr 35.3 37
}

# The upsampler of two stages.
case_times_four() {
    train --scale 4
    is bicubic_psnr 28.41 28.44
    is bicubic_ssim 0.8100 0.8115
    is psnr 29.3 31
}

# Three blocks: 35.8 to 36.0 dB. Where an auxiliary network's gradient does not reach its block, that is 35.2, and the second block is
# no better than the first, whose features it gets: its loss over the last 100 steps is 0.97 of the first one's, else 1.005.
case_blocks() {
    local method
    for method in dgl glcan; do
        train --method $method --blocks 3 --partition body.0,body.2 --schedule ppll --devices cpu:0,cpu:1
        is psnr 35.45 37
        perl -ne 'push @{$loss{$1}}, $2 if /"block":(\d+),"name":"train.loss","value":([\d.e-]+)/;
            END { my @mean; for my $block (1 .. 3) { $mean[$block] += $_ / 100 for @{$loss{$block}}[-100 .. -1] }
                printf "losses %.5f %.5f %.5f\n", @mean[1 .. 3]; exit(!($mean[1] < 0.022 && $mean[2] < 0.99 * $mean[1])) }' \
            "$work/run/metrics.jsonl" || fail "$method: a block does not learn"
    done
}

case $case_name in
learns | times_four | blocks) "case_$case_name" ;;
*) fail "no case '$case_name'" ;;
esac
