#!/bin/bash
# Super-resolution runs from outside: sr.sh CASE BIN_FOLDER, on the built-in shapes and the images of tests/fuzz.
. "$(dirname "$0")/setup.sh"

# An uneven last batch; tiles that are larger than a patch and smaller than an image.
options=(--model edsr-small --channels 8 --body-units 4 --data shapes --batch 4 --patch 12 --patches-per-epoch 26 --epochs 2
    --optimizer adam --lr 2e-3 --ema 0.9 --tuning fixed --quiet --show 3 --log-every 1)
train() {
    local out=$1
    shift
    "$bin/sr-train" "${options[@]}" --out "$out" "$@" >log 2>&1
}

# Under each method and number of blocks a pipeline gives the weights and the scores of plain local learning; predictions, too.
case_schedules() {
    local how
    for how in "dgl --blocks 2" "glcan --blocks 4" "glcan --glcan-global next --blocks 2"; do
        rm -rf plain piped
        # shellcheck disable=SC2086
        train plain --method $how --schedule sequential --devices cpu:0,cpu:1 --epochs 1 || fail "sequential"
        # shellcheck disable=SC2086
        train piped --method $how --schedule ppll --devices cpu:0,cpu:1 --epochs 1 || fail "ppll"
        cmp <(tensors plain) <(tensors piped) || fail "$how: other weights"
        diff <(metrics plain) <(metrics piped) || fail "$how: other numbers"
        cmp plain/predictions/epoch-0001.png piped/predictions/epoch-0001.png || fail "$how: other pictures"
    done
    options+=(--epochs 1)
    train whole || fail "end to end"
    train fast --blocks 2 --schedule 1f1b --micro-batches 2 --devices cpu:0,cpu:1 || fail "1f1b"
    train rcan --model rcan-small --group-blocks 1 --scale 4 --loss charbonnier --method glcan --blocks 2 --schedule ppll \
        --devices cpu:0,cpu:1 || fail "rcan"
    train three --scale 3 --precision bf16 --no-global-skip --channel rgb --border 0 || fail "x3"
}

# Stopped in the midst of an epoch and gone on.
case_resume() {
    train whole --lr-schedule constant --method dgl --blocks 2 --shrink 0.3 || fail "the whole run"
    train part --lr-schedule constant --method dgl --blocks 2 --shrink 0.3 --max-steps 4 || fail "the part"
    train part --resume --max-steps 0 || fail "the rest"
    cmp <(tensors whole) <(tensors part) || fail "other weights after a resume"
    diff <(metrics whole | grep -v val/) <(metrics part | grep -v val/) || fail "other losses after a resume"
}

# size FILE: width, height and colour type of a PNG.
size() {
    perl -e 'open(F, "<", $ARGV[0]) or die; binmode F; read(F, my $d, 26); print join(" ", unpack("x16 N N x C", $d)), "\n"' "$1"
}

# Tiles give the image's own pixels; gray stays gray, alpha stays; what cannot be read is named, the others are done.
case_predict() {
    train run --max-steps 2 || fail "training"
    local input=run/predictions/epoch-0001.png # some hundred pixels to a side, and every kind of edge
    "$bin/lamina" predict run $input --out whole --tile 8192 >log 2>&1 || fail "in one piece"
    "$bin/lamina" predict run $input --out tiles --tile 48 >log 2>&1 || fail "in tiles"
    "$bin/lamina" predict run $input --out limited --memory-limit 4M >log 2>&1 || fail "under a memory limit"
    cmp whole/0001-epoch-0001.png tiles/0001-epoch-0001.png || fail "tiles give other pixels"
    cmp whole/0001-epoch-0001.png limited/0001-epoch-0001.png || fail "smaller tiles give other pixels"
    "$bin/lamina" predict run $input --out eight --self-ensemble >log 2>&1 || fail "the self-ensemble"
    cmp -s whole/0001-epoch-0001.png eight/0001-epoch-0001.png && fail "the self-ensemble changes nothing"
    local name kind
    for name in gray.png:0 gray16.png:0 la.png:4 rgb.png:2 rgba.png:6 palette.png:6; do
        kind=${name#*:} name=${name%:*}
        rm -rf one
        "$bin/lamina" predict run "$images/$name" --out one >log 2>&1 || fail "$name"
        read -r width height _ <<<"$(size "$images/$name")"
        [ "$(size one/*.png)" = "$((2 * width)) $((2 * height)) $kind" ] || fail "$name becomes $(size one/*.png)"
    done
    head -c 60 "$images/rgb.png" >cut.png
    "$bin/lamina" predict run cut.png "$images/rgb.png" --out two --json two.json >out 2>log && fail "a file that is cut short"
    [ "$?" = 2 ] || grep -q cut.png log || fail "the bad file is not named"
    [ -f two/0001-rgb.png ] || fail "the good file is not done"
}

# The table of lamina eval has the numbers of the run: tiles of training are exact here.
case_evaluate() {
    train run --tile 40 || fail "training"
    "$bin/lamina" eval run --json eval.json --out eval >log 2>&1 || fail "lamina eval"
    grep -q bicubic log || fail "no bicubic in the table"
    [ "$(wc -l <eval/quality.csv)" = 21 ] || fail "quality.csv has not a line for each of 20 images"
    perl -e 'local $/; my @n = map { open(F, "<", $_) or die; <F> =~ /"psnr": ([\d.]+)/ ? $1 : die } @ARGV;
        print "@n\n"; exit(abs($n[0] - $n[1]) > 1e-4)' run/summary.json eval.json || fail "other scores"
    "$bin/lamina" eval run --self-ensemble --tile 96 >log 2>&1 || fail "the self-ensemble"
}

case_bad_input() {
    local train=("$bin/sr-train" "${options[@]}" --out bad)
    mkdir -p small/HR odd/HR odd/LR_bicubic/X2 broken/HR
    # one pixel wide
    perl -MCompress::Zlib -e 'sub chunk { pack("N", length($_[1])) . "$_[0]$_[1]" . pack("N", crc32("$_[0]$_[1]")) }
        print "\x89PNG\r\n\x1a\n", chunk("IHDR", pack("NNC5", 1, 9, 8, 2, 0, 0, 0)),
            chunk("IDAT", compress(("\0" x 4) x 9)), chunk("IEND", "")' >small/HR/thin.png || exit 77
    cp "$images/rgb.png" odd/HR/one.png && cp "$images/rgb.png" odd/HR/two.png
    cp "$images/rgb.png" odd/LR_bicubic/X2/onex2.png && cp "$images/rgb.png" odd/LR_bicubic/X2/threex2.png
    head -c 60 "$images/rgb.png" >broken/HR/cut.png
    refused "one of 2, 3, 4" "${train[@]}" --scale 5
    refused "did you mean edsr-small" "${train[@]}" --model edsr-smal
    refused "give --val" "${train[@]}" --data "srdir:broken"
    refused "thin.png: 1 x 9 pixels are fewer than the scale of 2" "${train[@]}" --val srdir:small
    refused "two.png" "${train[@]}" --data srdir:odd --val shapes
    refused "cut.png" "${train[@]}" --val srdir:broken
    stopped "cut.png" "${train[@]}" --data srdir:broken --val shapes # it is met when a patch is cut
    refused "--tile 20" "${train[@]}" --tile 20
    refused "--border" "${train[@]}" --border 48
    refused "--cache" "${train[@]}" --cache lots
    refused "body's 4 units" "${train[@]}" --method dgl --blocks 5 --partition paper
    train run --max-steps 1 || fail "training"
    "$bin/lamina" predict run "$images/rgb.png" --out up >log 2>&1 || fail "predict"
    mkdir -p paired/HR paired/LR_bicubic/X2
    cp up/0001-rgb.png paired/HR/a.png && cp "$images/rgb.png" paired/LR_bicubic/X2/ax2.png
    refused "add --no-pairs" "${train[@]}" --data srdir:paired --val shapes --shrink 0.5
    train shrunk --data srdir:paired --val shapes --shrink 0.5 --no-pairs --max-steps 2 || fail "shrunk images"
    refused "--shrink: 0.05" "${train[@]}" --shrink 0.05
    refused "is for --scale 2, not 3" "$bin/lamina" eval run --scale 3
    refused "is for --scale 2, not 4" "$bin/lamina" predict run "$images/rgb.png" --scale=4
    refused "no such option" "$bin/lamina" eval run --patch 3
    refused "one of y, rgb" "$bin/lamina" eval run --channel cmyk
    refused "bad" "$bin/sr-train" "${options[@]}" --out bad --resume --scale 3
}

"case_$case_name" || fail "$case_name"
