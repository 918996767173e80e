#!/bin/bash
# Detection runs from outside: detect.sh CASE BIN_FOLDER, on a small set in PASCAL VOC's form that is made here, and on the
# built-in shapes.
. "$(dirname "$0")/setup.sh"

# make_voc FOLDER TRAIN VAL: pictures of 80 x 60 with one to three boxes of three colours, the classes; every fifth one is empty.
make_voc() {
    mkdir -p "$1"/{JPEGImages,Annotations,ImageSets/Main}
    perl -MCompress::Zlib -e 'my ($to, $train, $val) = @ARGV; srand(5); my ($w, $h) = (80, 60);
        sub chunk { pack("N", length($_[1])) . "$_[0]$_[1]" . pack("N", crc32("$_[0]$_[1]")) }
        sub put { my ($file, $text) = @_; open(my $f, ">", "$to/$file") or die "$file: $!\n"; binmode $f; print $f $text; close $f }
        my @colour = ([220, 40, 40], [40, 220, 40], [40, 40, 220]); my @names = map { sprintf "%03d", $_ } 1 .. $train + $val;
        for my $n (0 .. $#names) { my (@pixels, $objects);
            for (0 .. $w * $h - 1) { my $v = 100 + int(rand(40)); push @pixels, [$v, $v, $v] }
            for (1 .. $n % 5 ? 1 + $n % 3 : 0) { my ($bw, $bh, $k) = (12 + int(rand(30)), 12 + int(rand(30)), int(rand(3)));
                my ($x, $y) = (int(rand($w - $bw)), int(rand($h - $bh)));
                for my $row ($y .. $y + $bh - 1) { $pixels[$row * $w + $_] = $colour[$k] for $x .. $x + $bw - 1 }
                $objects .= sprintf "<object><name>%s</name><bndbox><xmin>%d</xmin><ymin>%d</ymin><xmax>%d</xmax><ymax>%d</ymax>"
                    . "</bndbox></object>\n", qw(red green blue)[$k], $x + 1, $y + 1, $x + $bw, $y + $bh }
            my $raw = ""; for my $row (0 .. $h - 1) { $raw .= "\0" . join "", map { pack "C3", @$_ } @pixels[$row * $w .. $row * $w + $w - 1] }
            put("JPEGImages/$names[$n].png", "\x89PNG\r\n\x1a\n" . chunk("IHDR", pack("NNC5", $w, $h, 8, 2, 0, 0, 0))
                . chunk("IDAT", compress($raw)) . chunk("IEND", ""));
            put("Annotations/$names[$n].xml", "<annotation><size><width>$w</width><height>$h</height></size>\n" . ($objects // "")
                . "</annotation>\n") }
        put("ImageSets/Main/train.txt", join "\n", @names[0 .. $train - 1], "");
        put("ImageSets/Main/val.txt", join "\n", @names[$train .. $#names], "")' "$@" || { echo "skipped: perl makes no PNG"; exit 77; }
}

# Batches of 4 and an uneven last one; an evaluation in between; everything that changes a sample.
options=(--model retinanet-tiny --data voc:data --image-size 64x48 --batch 4 --epochs 2 --optimizer adamw --ema 0.9 --mosaic 0.3
    --tuning fixed --show 3 --log-every 1 --quiet)
train() {
    local out=$1
    shift
    "$bin/detect-train" "${options[@]}" --out "$out" "$@" >log 2>&1
}

# Lines of metrics may come in another order from several devices.
same_runs() {
    cmp <(tensors "$1") <(tensors "$2") || fail "$3: other weights"
    diff <(metrics "$1" | sort) <(metrics "$2" | sort) >diff || { head -5 diff; fail "$3: other numbers"; }
    cmp "$1/predictions/epoch-0001.png" "$2/predictions/epoch-0001.png" || fail "$3: other pictures"
}

# killed NAME STEP OPTIONS...: starts a run and kills it after the step.
killed() {
    local name=$1 step=$2
    shift 2
    "$bin/detect-train" "${options[@]}" --out "$name" "$@" >log 2>&1 &
    local pid=$!
    wait_for_step "$name" "$step" $pid
    kill -KILL $pid || fail "the run ended before step $step"
    wait $pid 2>/dev/null
    [ $? = 137 ] || fail "the run was not killed"
}

# same_losses COUNT RUN:BLOCK RUN:BLOCK: of the first steps, but for rounding.
same_losses() {
    perl -e 'my ($count, @of) = @ARGV; my @l = map { my ($run, $block) = split /:/; open(F, "<", "$run/metrics.jsonl") or die;
            [ map { /"epoch":1,"block":$block,"name":"train.loss","value":([\d.e-]+)/ } <F> ] } @of;
        for (0 .. $count - 1) { my ($a, $b) = ($l[0][$_], $l[1][$_]);
            print "$a $b\n"; exit 1 unless $a > 0 && abs($a / $b - 1) < 1e-3 }' "$@" || fail "other losses: $*"
}

# exact NAME OPTIONS...: two devices in a pipeline give what one device after the other gives.
exact() {
    local name=$1
    shift
    train "$name" "$@" --schedule sequential --devices cpu:0 || fail "$name: sequential"
    train "$name.piped" "$@" --schedule ppll --devices cpu:0,cpu:1 --queue 1 || fail "$name: ppll"
    same_runs "$name" "$name.piped" "$name: ppll"
}

# survives NAME OPTIONS...: so does that pipeline when it is killed and gone on with.
survives() {
    local name=$1
    shift
    killed "$name.killed" 5 "$@" --schedule ppll --devices cpu:0,cpu:1 --checkpoint-steps 2
    train "$name.killed" --resume || fail "$name: resume after kill -9"
    same_runs "$name" "$name.killed" "$name: after kill -9"
}

case_glcan() {
    make_voc data 14 5
    local four=(--method glcan --blocks 4 --partition paper)
    exact two --method glcan --blocks 2 --partition paper
    exact four "${four[@]}"
    survives four "${four[@]}"
    cmp -s <(tensors two) <(tensors four) && fail "two blocks and four are the same"
    return 0
}

# With twins, and cuts within stages.
case_twins() {
    make_voc data 14 5
    local next=(--method glcan --glcan-global next --blocks 4 --partition layer1.1,layer2.0,layer3.0)
    exact next "${next[@]}"
    survives next "${next[@]}"
}

case_dgl() {
    make_voc data 14 5
    local four=(--method dgl --blocks 4 --partition layer2.1,layer3.1,layer4.1) # the head is a block
    exact two --method dgl --blocks 2 --partition paper
    exact four "${four[@]}"
    survives four "${four[@]}"
    # C3 and C4 are the same behind borders: so is the first loss.
    train whole --max-steps 1 || fail "end to end"
    same_losses 1 whole:1 two:2
    same_losses 1 whole:1 four:4
}

# Micro-batches train, with the gradients of C3 and C4 going back through all borders; batches of one are the whole.
case_end_to_end() {
    make_voc data 12 5
    local here=(--blocks 2 --partition paper --devices cpu:0,cpu:1)
    export LAMINA_CONV=direct # the rounding of Winograd's convolutions grows a thousandfold in a few of a detector's steps
    train whole || fail "end to end"
    train g --schedule gpipe --micro-batches 2 "${here[@]}" || fail "gpipe"
    train f --schedule 1f1b --micro-batches 2 "${here[@]}" || fail "1f1b"
    cmp <(tensors g) <(tensors f) || fail "1f1b gives other weights than gpipe"
    train one --schedule gpipe --micro-batches 1 "${here[@]}" || fail "gpipe with one micro-batch"
    same_losses 3 whole:1 one:2
    train four --schedule 1f1b --micro-batches 4 --blocks 4 --partition layer2.0,layer2.1,layer4.0 \
        --devices cpu:0,cpu:1,cpu:2,cpu:3 || fail "1f1b of four"
}

# What is made of a run; and sets whose images have no boxes, sizes that are odd, the other loss.
case_use() {
    make_voc data 14 5
    train run --overfit-batch --epochs 8 --mosaic 0 --method glcan --blocks 2 --partition paper --conf 0.01 || fail "the run"
    for file in first-batch.png confusion.csv confusion.png precision_recall.csv precision_recall.png report.txt; do
        [ -s "run/$file" ] || fail "no $file"
    done
    "$bin/lamina" info run >out 2>log || fail "info"
    grep -q retinanet-tiny out || fail "info does not name the model"
    # Training evaluates in two blocks, with C3 crossing over; lamina eval in one.
    train part --epochs 10 --eval-every 10 --mosaic 0 --ema 0 --conf 0.01 --method dgl --blocks 2 --partition paper || fail "a run on the whole set"
    "$bin/lamina" eval part/checkpoints/last.safetensors --json eval.json --out eval >out 2>log || fail "eval"
    perl -e 'local $/; my @n = map { open(F, "<", $_) or die; <F> =~ /"ap50": ([\d.e-]+)/ ? $1 : die } @ARGV;
        print "@n\n"; exit(!($n[0] > 0 && abs($n[0] - $n[1]) < 1e-6))' part/summary.json eval.json || fail "eval gives other scores"
    "$bin/lamina" predict run/checkpoints/last.safetensors data/JPEGImages/00{2,3}.png "$images/quadrants.jpg" --out seen \
        --json - >out 2>log || fail "predict"
    [ "$(find seen -name '*.png' | wc -l)" = 3 ] || fail "not a picture for each image"
    [ -s seen/predictions.json ] || fail "no predictions.json"
    # COCO's form: a list of image, category, box and score, within the image.
    perl -0777 -ne '/^\s*\[/ or die "no list\n"; my $n = 0;
        for my $r (/\{[^{}]*\}/g) { for my $key (qw(image_id category_id bbox score)) { $r =~ /"$key"/ or die "no $key: $r\n" }
            my ($score) = $r =~ /"score": ?([\d.e-]+)/; my @b = $r =~ /"bbox": ?\[\s*([\d.e+-]+),\s*([\d.e+-]+),\s*([\d.e+-]+),\s*([\d.e+-]+)/;
            die "not a box: $r\n" unless @b == 4 && $score > 0 && $score <= 1 && $b[2] > 0 && $b[3] > 0 && $b[0] >= 0 && $b[1] >= 0
                && $b[0] + $b[2] <= 80.01 && $b[1] + $b[3] <= 60.01; $n++ }
        print "$n objects\n"; exit !$n' seen/predictions.json || fail "predictions.json is not a list of results"
    train odd --epochs 1 --image-size 77x50 --method dgl --blocks 4 --partition paper || fail "an odd size"
    train quality --epochs 1 --class-loss quality --method glcan --blocks 2 --partition paper || fail "quality focal loss"
    train small --epochs 1 --image-size 32x33 --box-loss smooth-l1 --precision bf16 --no-force-best || fail "a small size"
    for name in $(cat data/ImageSets/Main/train.txt); do echo "<annotation></annotation>" >"data/Annotations/$name.xml"; done
    refused "no image has a box" "$bin/detect-train" "${options[@]}" --out bad
    train background --epochs 1 --anchors retinanet || fail "images without boxes"
    options=(--model retinanet-tiny --data shapes --image-size 96 --batch 4 --tuning fixed --quiet --show 2 --log-every 1)
    train shapes --overfit-batch --max-steps 3 || fail "the built-in shapes"
}

case_bad_input() {
    make_voc data 10 5
    local t=("$bin/detect-train" "${options[@]}" --out bad)
    refused "none: " "${t[@]}" --data voc:none
    refused "--class-loss quality measures boxes by their corners" "${t[@]}" --class-loss quality --box-loss smooth-l1
    refused "--image-size '7'" "${t[@]}" --image-size 7
    refused "--image-size '64x'" "${t[@]}" --image-size 64x
    refused "--image-size '5000'" "${t[@]}" --image-size 5000
    refused "--short-side keeps the shape" "${t[@]}" --short-side 64 --stretch
    refused "--short-side 7: at least 32" "${t[@]}" --short-side 7
    refused "did you mean retinanet-tiny" "${t[@]}" --model retinanet-tinny
    refused "'resnet18': no such network" "${t[@]}" --model resnet18
    refused "blocks" "${t[@]}" --method dgl --blocks 40
    refused "cuts into 2 and 4 blocks, not 3" "${t[@]}" --method dgl --blocks 3 --partition paper
    refused "anchor sizes" "${t[@]}" --anchors 16,20,25/32,40,51
    refused "--scale-min 2 is above --scale-max" "${t[@]}" --scale-min 2
    refused "--negative-iou 0.7 is above --positive-iou" "${t[@]}" --negative-iou 0.7
    mkdir -p pictures/{train,val}/{a,b} && for to in pictures/*/*; do cp "$images/rgb.png" "$to"; done
    refused "voc, coco and shapes have" "${t[@]}" --data folder:pictures
    echo "<annotation><object>" >data/Annotations/001.xml
    refused "data/Annotations/001.xml: line " "${t[@]}"
    # A picture that is cut short: named, or left out.
    rm -rf data && make_voc data 10 5 && rm data/JPEGImages/003.png
    refused "003" "${t[@]}"
    head -c 302 "$images/quadrants.jpg" >data/JPEGImages/003.jpg
    echo "<annotation><size><width>32</width><height>16</height></size></annotation>" >data/Annotations/003.xml
    "$bin/detect-train" "${options[@]}" --out stopped --epochs 1 >out 2>log
    [ $? = 2 ] || fail "exit status $? at a broken image"
    grep -q "003.jpg" log && [ "$(wc -l <log)" = 1 ] || fail "no single line about the broken image"
    "$bin/lamina" check --data voc:data >out 2>log
    [ $? = 2 ] && grep -q "003.jpg" out || fail "check does not name the broken image"
    train skipped --epochs 1 --on-bad skip || fail "--on-bad skip"
    train run --epochs 1 --on-bad skip --max-steps 1 || fail "a good run"
    "$bin/lamina" predict run data/JPEGImages/003.jpg data/JPEGImages/002.png --out seen >out 2>log
    [ $? = 2 ] && grep -q "003.jpg" log || fail "predict does not name the broken image"
    refused "no command" "$bin/lamina" evaluate run
    head -c 5000 run/checkpoints/last.safetensors >cut.safetensors
    refused "cut.safetensors" "$bin/lamina" predict cut.safetensors data/JPEGImages/002.png
    # A network that classifies is no detector, and the other way round.
    "$bin/classify-train" --model resnet20 --data shapes --batch 4 --max-steps 1 --overfit-batch --tuning fixed --quiet \
        --out classifier >log 2>&1 || fail "a classifier"
    refused "detect" "$bin/detect-train" --out classifier --resume
    refused "" "$bin/lamina" eval run --data folder:pictures
}

"case_$case_name" || fail "$case_name"
