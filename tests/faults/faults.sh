#!/bin/bash
# What a run survives: faults.sh CASE BIN_FOLDER. Each case trains a small network on a made data set in a
# folder of its own, disturbs it, and compares bytes or error lines. Checkpoints of equal runs are equal files.
. "$(dirname "$0")/setup.sh"

# Batches of 16 and a smaller last one; everything on that has state of its own.
options=(--model resnet20 --data cifar10:data --batch 16 --tuning fixed --log-every 1 --crop-pad 4 --flip
    --ema 0.9 --clip-norm 5 --nesterov --warmup-epochs 0.5 --show 4)
train() {
    "$bin/classify-train" "${options[@]}" "$@" >log 2>&1
}

same_runs() {
    cmp "$1/checkpoints/last.safetensors" "$2/checkpoints/last.safetensors" || fail "checkpoints differ"
    cmp "$1/checkpoints/best.safetensors" "$2/checkpoints/best.safetensors" || fail "best checkpoints differ"
    diff <(metrics "$1") <(metrics "$2") >diff || { head -5 diff; fail "metrics differ"; }
    cmp "$1/predictions/epoch-0002.png" "$2/predictions/epoch-0002.png" || fail "predictions differ"
}

# summary RUN KEY, text CHECKPOINT KEY: a value of summary.json, of a checkpoint's texts.
summary() {
    perl -ne 'print $1 if /^  "'"$2"'": "?([^",]+)/' "$1/summary.json"
}
text() {
    head -c 20000 "$1" | perl -0777 -ne 'print $1 if /"'"$2"'":"([^"]*)"/'
}

# interrupted NAME SIGNAL STEP EXIT ARGS...: starts a run, sends the signal after the step, expects the status.
interrupted() {
    local name=$1 signal=$2 step=$3 expected=$4
    shift 4
    "$bin/classify-train" "${options[@]}" --out "$name" "$@" >log 2>&1 &
    local pid=$!
    wait_for_step "$name" "$step" "$pid" || fail "step $step never came"
    kill "-$signal" "$pid"
    wait "$pid"
    local got=$?
    [ "$got" = "$expected" ] || fail "exit status $got after SIG$signal, not $expected"
}

# refused STATUS TEXT COMMAND...: exact exit status, one line on stderr that holds the text.
refused() {
    local expected=$1 text=$2
    shift 2
    "$@" >out 2>log
    local got=$?
    [ "$got" = "$expected" ] || fail "exit status $got, not $expected: $*"
    grep -qF -- "$text" log || fail "'$text' is not in the error of: $*"
    [ "$(wc -l <log)" = 1 ] || fail "more than one line of error: $*"
}

case_resume_signal() {
    make_data data 280 20 # 18 steps an epoch: a signal comes long before the end
    train --out whole --epochs 2 || fail "the whole run"
    interrupted int INT 3 130 --epochs 2
    grep -q "resume" log || fail "the stop does not say how to go on"
    train --out int --resume || fail "resume after SIGINT"
    same_runs whole int
    interrupted term TERM 20 130 --epochs 2 --loader-threads 1
    train --out term --resume --loader-threads 3 || fail "resume after SIGTERM"
    same_runs whole term
}

# Stopped behind the last step, while evaluating.
case_resume_evaluation() {
    make_data data 88 3000
    train --out whole --epochs 2 || fail "the whole run"
    interrupted eval TERM 12 130 --epochs 2
    grep -q "after step 12" log || fail "not stopped while evaluating"
    train --out eval --resume || fail "resume of an evaluation"
    same_runs whole eval
}

case_resume_kill() {
    make_data data 280 20
    train --out whole --epochs 2 --checkpoint-steps 2 || fail "the whole run"
    interrupted kill KILL 9 137 --epochs 2 --checkpoint-steps 2
    train --out kill --resume || fail "resume after kill -9"
    same_runs whole kill
    # Killed before the first checkpoint: from the beginning.
    interrupted early KILL 1 137 --epochs 2 --checkpoint-steps 2
    rm -f early/checkpoints/*
    train --out early --resume || fail "resume without a checkpoint"
    same_runs whole early
}

case_more_epochs() {
    make_data data 40 20
    train --out whole --epochs 2 --lr-schedule constant || fail "the whole run"
    train --out part --epochs 1 --lr-schedule constant || fail "the short run"
    train --out part --resume --epochs 2 || fail "one more epoch"
    same_runs whole part
    # Resuming a finished run changes nothing and gives its result again.
    cp part/checkpoints/last.safetensors before
    train --out part --resume || fail "resume of a finished run"
    grep -q "^result: accuracy=" log || fail "no result"
    cmp before part/checkpoints/last.safetensors || fail "a finished run changed"
    grep -q "part is finished: nothing is left to do; a larger --epochs goes on" log || fail "no way on is named"
    cp part/summary.json before
    train --out part --resume --quiet || fail "resume of a finished run"
    cmp before part/summary.json || fail "the summary of a finished run changed"
    [ "$(sed 's/ seconds=.*//' log)" = "result: accuracy=$(summary part accuracy | xargs printf %.4f) loss=$(
        summary part loss | xargs printf %.4f) images_per_s=$(summary part images_per_s | xargs printf %.1f)" ] ||
        fail "another result of a finished run"
    # No way back.
    refused 2 "the run stands in epoch 2, past --epochs 1" "$bin/classify-train" --out part --resume --epochs 1
    refused 2 "the run stands at step 6, past --max-steps 4; give a larger one or 0" \
        "$bin/classify-train" --out part --resume --max-steps 4
    cmp before part/summary.json || fail "a refused resume changed the summary"
    # From the first moment on it is not finished any more.
    cp -r part longer
    interrupted longer KILL 7 137 --resume --epochs 200
    [ "$(summary longer finished)" = false ] || fail "a run that was given more epochs is finished"
    "$bin/classify-train" --out part --resume --max-steps 5 --epochs 3 >log 2>&1 && fail "--max-steps 5 at step 6"
    train --out part --resume --max-steps 7 --epochs 3 || fail "one more step"
    [ "$(summary part step)" = 7 ] || fail "not at step 7"
    train --out part --resume || fail "resume of a run that --max-steps ended"
    grep -q "a larger --max-steps goes on" log || fail "--max-steps is not named"
}

# Time counts though it is not in checkpoints; a folder is read and written by its owner alone.
case_summary() {
    make_data data 88 20
    interrupted run INT 3 130 --epochs 2
    local first
    first=$(summary run seconds)
    perl -e 'exit !($ARGV[0] > 0)' "$first" || fail "no seconds after a stop in mid-epoch"
    [ "$(summary run finished)" = false ] && [ "$(summary run step)" -ge 3 ] || fail "the summary of a stopped run"
    train --out run --resume || fail "resume"
    perl -e 'exit !($ARGV[0] > $ARGV[1])' "$(summary run seconds)" "$first" || fail "seconds of the stop are lost"
    # What a killed process leaves is removed; what is not ours stays.
    touch run/summary.json.tmp-77 run/checkpoints/{last,best}.safetensors.tmp-77 \
        run/predictions/epoch-0001.png.tmp-77 run/notes.tmp-77
    train --out run --resume --epochs 3 || fail "resume beside leftovers"
    [ "$(find run -name '*.tmp-*')" = run/notes.tmp-77 ] || fail "leftovers: $(find run -name '*.tmp-*')"
    # The lock comes before the checkpoint.
    echo broken >run/checkpoints/last.safetensors
    refused 2 "another process is training" flock run "$bin/classify-train" --out run --resume --epochs 4
}

# The best checkpoint is written first: a run that dies between the two loses nothing.
case_best_first() {
    make_data data 40 20
    train --out whole --epochs 2 || fail "the whole run"
    mkdir -p run/checkpoints/best.safetensors/in_the_way
    train --out run --epochs 2
    [ $? = 1 ] || fail "no failure"
    grep -q "best.safetensors: cannot be written" log || fail "the error does not name the file"
    "$bin/lamina" info run/checkpoints/last.safetensors >out 2>&1 || fail "the last checkpoint is damaged"
    grep -q "^best " out && fail "the last checkpoint has a best score whose weights are lost"
    rm -r run/checkpoints/best.safetensors
    train --out run --resume || fail "resume"
    same_runs whole run
    for key in metrics_lines memory_lines; do
        [ "$(text whole/checkpoints/best.safetensors $key)" -gt 0 ] || fail "no $key in the best checkpoint"
    done
    train --out steps --epochs 1 --max-steps 2 || fail "a run that ends in mid-epoch"
    cmp steps/checkpoints/last.safetensors steps/checkpoints/best.safetensors ||
        fail "last and best of one evaluation differ"
}

# A signal while kernels are measured ends at once and leaves nothing.
case_stop_measuring() {
    make_data data 40 20
    "$bin/classify-train" "${options[@]}" --model resnet110 --batch 40 --tuning measure --out run >log 2>&1 &
    local pid=$!
    for _ in $(seq 6000); do
        grep -q "measuring kernels" log && break
        sleep 0.02
    done
    grep -q "  total " log || fail "no forecast before the measuring"
    kill -TERM $pid
    wait $pid
    [ $? = 130 ] || fail "exit status not 130"
    grep -q "stopped while measuring" log || fail "the stop was not seen while measuring"
    [ -e run ] && fail "the stopped run left a folder"
    return 0
}

# make_images FOLDER COUNT: a folder data set of two classes, the pictures of an earlier run.
make_images() {
    for class in cat dog; do
        mkdir -p "$1/train/$class" "$1/val/$class"
        for i in $(seq "$2"); do
            cp image.png "$1/train/$class/$i.png"
            cp image.png "$1/val/$class/$i.png"
        done
    done
}

# A resumed run goes on with the same data, wherever it lies; anything else is refused.
case_changed_data() {
    make_data data 40 20
    train --out first --epochs 1 || fail "the first run"
    cp first/predictions/epoch-0001.png image.png
    make_images fd 5
    local resume=("$bin/classify-train" --out run --resume --epochs 2)
    options=(--model resnet20 --data folder:fd --image-size 16 --batch 4 --tuning fixed)
    train --out run --epochs 1 || fail "a run on folders"
    cp image.png fd/train/dog/6.png
    refused 2 "fd: has 11 samples, the run was trained on 10; put the data back or start a new run" "${resume[@]}"
    rm fd/train/dog/6.png && cp image.png fd/val/cat/6.png
    refused 2 "fd, validation part: has 11 samples, the run was validated on 10" "${resume[@]}"
    rm fd/val/cat/6.png && mv fd/train/dog/5.png fd/train/cat/6.png
    refused 2 "fd: has other samples or labels than the run was trained on" "${resume[@]}"
    mv fd/train/cat/6.png fd/train/dog/5.png
    mv fd/train/dog fd/train/fox && mv fd/val/dog fd/val/fox
    refused 2 "fd: class 1 is 'fox' there, 'dog' in the network" "${resume[@]}"
    refused 2 "fd: class 1 is 'fox' there, 'dog' in the network" "$bin/lamina" eval run --data folder:fd
    mv fd/train/fox fd/train/dog && mv fd/val/fox fd/val/dog
    cp -r fd fv && mv fv/train/cat fv/train/ant && mv fv/val/cat fv/val/ant
    refused 2 "fv: class 0 is 'ant' there, 'cat' in the network" \
        "$bin/classify-train" "${options[@]}" --val folder:fv --out none
    # Another folder, and the data somewhere else.
    mkdir elsewhere
    (cd elsewhere && "$bin/classify-train" --out ../run --resume --epochs 2 >../log 2>&1) ||
        fail "resume from another folder"
    (cd elsewhere && "$bin/lamina" eval ../run >../out 2>../log) || fail "eval from another folder"
    mv fd moved
    refused 2 "fd: does not exist" "$bin/classify-train" --out run --resume --epochs 3
    train --out run --resume --epochs 3 --data folder:moved || fail "resume with data that was moved"
    # One label of a packed set.
    options=(--model resnet20 --data cifar10:data --batch 16 --tuning fixed)
    train --out packed --epochs 1 || fail "a run on a packed set"
    printf '\005' | dd of=data/data_batch_1.bin conv=notrunc status=none
    refused 2 "has other samples or labels" "$bin/classify-train" --out packed --resume --epochs 2
}

# Names that no checkpoint could hold.
case_not_utf8() {
    make_data data 40 20
    train --out first --epochs 1 || fail "the first run"
    cp first/predictions/epoch-0001.png image.png
    make_images fd 2
    local t=("$bin/classify-train" --model resnet20 --image-size 16 --tuning fixed --out none)
    cp -r fd $'f\377'
    refused 2 "is not UTF-8" "${t[@]}" --data $'folder:f\377'
    mv fd/train/dog $'fd/train/\377' && mv fd/val/dog $'fd/val/\377'
    refused 2 "is not UTF-8; rename the class" "${t[@]}" --data folder:fd
    [ -e none ] && fail "a refused run left a folder"
    return 0
}

case_rerun() {
    make_data data 40 20
    train --out a --epochs 2 --seed 5 || fail "the first run"
    "$bin/classify-train" --recipe a/config.ini --out b >log 2>&1 || fail "the rerun"
    same_runs a b
    train --out c --epochs 2 --seed 6 || fail "another seed"
    cmp -s a/checkpoints/last.safetensors c/checkpoints/last.safetensors && fail "the seed has no effect"
    return 0
}

# What was measured once is used again, from config.ini alone.
case_tuned() {
    make_data data 40 20
    train --out a --epochs 2 --tuning measure || fail "the first run"
    grep -q "^\[tuning\]" a/config.ini || fail "config.ini has no measured choices"
    LAMINA_CACHE=$work/empty "$bin/classify-train" --recipe a/config.ini --out b >log 2>&1 || fail "the rerun"
    same_runs a b
    diff <(sed -n '/^.tuning/,$p' a/config.ini) <(sed -n '/^.tuning/,$p' b/config.ini) >diff ||
        fail "the rerun measured again"
    train --out c --epochs 2 --tuning measure || fail "the second run"
    same_runs a c # by the cache
    # A choice that is no more: measured again, not a failure.
    sed -i 's/= direct$/= obsolete/' "$LAMINA_CACHE"/*.txt
    train --out d --epochs 1 --tuning measure || fail "a cache of another version"
}

case_threads() {
    make_data data 40 20
    train --out a --epochs 2 --mixup 0.4 --cutout 8 --label-smoothing 0.1 --loader-threads 1 || fail "one thread"
    train --out b --epochs 2 --mixup 0.4 --cutout 8 --label-smoothing 0.1 --loader-threads 4 --prefetch 5 ||
        fail "four threads"
    same_runs a b
}

# A file-size limit stands in for a full disk.
case_full_disk() {
    make_data data 40 20
    train --out run --epochs 1 || fail "the first epoch"
    cp run/checkpoints/last.safetensors before
    (ulimit -f 200; train --out run --resume --epochs 3)
    local got=$?
    [ "$got" = 1 ] || fail "exit status $got on a full disk, not 1"
    grep -Eq "(last|best).safetensors: cannot be written: File too large" log || fail "the error does not name the file"
    cmp before run/checkpoints/last.safetensors || fail "the old checkpoint is damaged"
    [ -z "$(find run -name '*.tmp-*')" ] || fail "a half-written file is left"
    train --out run --resume || fail "resume after the disk has room again"
    train --out whole --epochs 3 || fail "the whole run"
    grep -q "^result: accuracy=" log || fail "no result"
}

case_damaged() {
    make_data data 40 20
    train --out run --epochs 1 || fail "the run"
    local last=run/checkpoints/last.safetensors
    cp $last good
    for bytes in 0 5 100 4000 100000; do
        head -c $bytes good >$last
        refused 2 "$last" "$bin/classify-train" --out run --resume --epochs 2
        refused 2 "$last" "$bin/lamina" info $last
        refused 2 "$last" "$bin/lamina" eval $last
    done
    cp good $last
    "$bin/lamina" eval $last >out 2>log || fail "eval of the whole file"
    # Another network's weights.
    train --out other --epochs 1 --model resnet32 || fail "another network"
    cp good other/checkpoints/last.safetensors
    refused 2 "has no tensor 'layer1.3" "$bin/classify-train" --out other --resume --epochs 2
}

case_nan() {
    make_data data 40 20
    train --out run --epochs 3 --lr 1e3 --clip-norm 0 --momentum 0.99 --warmup-epochs 0 --weight-decay 10
    local got=$?
    [ "$got" = 1 ] || fail "exit status $got, not 1"
    grep -Eq "step [0-9]+ \(epoch [0-9]+, batch [0-9]+; samples [0-9 ]+.*\): block 1 .stem..head.: " log ||
        fail "block and batch are not named"
    grep -Eq "[a-z0-9.]+\.(weight|bias|running_mean|running_var)" log || fail "no tensor is named"
    "$bin/lamina" info run/checkpoints/last.safetensors >out 2>&1 || fail "the last checkpoint is damaged"
}

case_bad_input() {
    make_data data 40 20
    local t="$bin/classify-train" r="--model resnet20 --data cifar10:data --tuning fixed --out none"
    refused 2 "--bach: no such option; did you mean --batch?" "$t" --bach 3
    refused 2 "--batch: 0 is out of range" "$t" $r --batch 0
    refused 2 "--model is missing" "$t" --data cifar10:data
    refused 2 "resnet20" "$t" --model resnet2O --data cifar10:data
    refused 2 "/none: does not exist" "$t" --model resnet20 --data cifar10:/none
    refused 2 "did you mean 'cifar10'" "$t" --model resnet20 --data cifar1O:data
    refused 2 "--method: 'mlaan' is not one of none, dgl, glcan" "$t" $r --method mlaan
    refused 2 "--glcan-global and --glcan-depth go with --method glcan" "$t" $r --blocks 2 --method dgl --glcan-depth 3
    refused 2 "--glcan-global next" "$t" $r --blocks 2 --method glcan --ema-momentum 0.5
    refused 2 "cpu:0 and cpu:0 are not apart" "$t" $r --blocks 2 --method dgl --devices cpu:0,cpu:0
    refused 2 "cpu:1 and cpu:0-1 are not apart" "$t" $r --blocks 2 --method dgl --devices cpu:1,cpu:0-1
    refused 2 "--blocks 2" "$t" $r --blocks 2
    refused 2 "--schedule gpipe" "$t" $r --schedule gpipe --blocks 2 --method dgl
    refused 2 "one block trains on one device; write cpu:0-1 for 2 cores" "$t" $r --devices cpu:0,cpu:1
    refused 2 "not a device" "$t" $r --devices gpu
    refused 2 "no cuda devices" "$t" $r --devices cuda:0
    refused 2 "--memory-limit: 'much'" "$t" $r --memory-limit much
    refused 2 "the limit is 1.0 MiB" "$t" $r --batch 16 --memory-limit 1M
    grep -q "activations" out || fail "the forecast is not printed before the refusal"
    refused 2 "the machine has " "$t" $r --batch 65536 --image-size 1024
    grep -q "activations" out || fail "the forecast is not printed before the refusal"
    refused 2 "the machine has " "$t" --model resnet20 --data cifar10:data --out none --batch 65536 --image-size 1024
    grep -q "measuring" out && fail "a run that cannot fit is measured"
    refused 2 "fewer than a batch" "$t" $r --batch 64 --last-batch drop
    refused 2 "--lr-schedule step needs --milestones" "$t" $r --lr-schedule step
    refused 2 "ascending" "$t" $r --lr-schedule step --milestones 5,3
    refused 2 "--resume needs --out" "$t" --model resnet20 --resume
    refused 2 "none: holds no run to resume" "$t" $r --resume
    refused 2 "recipe.ini:2: --epoch: no such option" bash -c \
        "printf 'batch = 8\nepoch = 3\n' >recipe.ini; exec '$t' --recipe recipe.ini"
    [ -e none ] && fail "a refused run left a folder"
    cp -r data cut && truncate -s -1 cut/data_batch_1.bin
    refused 2 "cut/data_batch_1.bin" "$t" --model resnet20 --data cifar10:cut --out none
    refused 2 "cut/data_batch_1.bin" "$bin/lamina" check --data cifar10:cut
    cp -r data label && printf '\377' | dd of=label/test_batch.bin conv=notrunc status=none
    refused 2 "label/test_batch.bin" "$t" --model resnet20 --data cifar10:label --out none
    "$bin/lamina" check --data cifar10:label >out 2>log
    [ $? = 2 ] || fail "check of a set with a bad label"
    grep -q "label/test_batch.bin.*: label 255" out || fail "check does not list the bad label"
    grep -q "1 bad" out || fail "check does not count the bad label"
    train --data cifar10:label --on-bad skip --out skipped --epochs 1 || fail "--on-bad skip"
    train --out run --epochs 1 || fail "a good run"
    refused 2 "another process is training" flock run "$t" --out run --resume --epochs 2
    refused 2 "run: holds a run already" "$t" --model resnet20 --data cifar10:data --out run
    refused 2 "--seed: differs from the run in run" "$t" --out run --resume --seed 9
    refused 2 "no command 'evl'; did you mean 'eval'" "$bin/lamina" evl
    refused 2 "not in this version" "$bin/lamina" export run --onnx x
    refused 2 "/none.safetensors: cannot be opened" "$bin/lamina" eval /none.safetensors
    printf 'no picture' >text.png
    "$bin/lamina" predict run text.png >out 2>log
    [ $? = 2 ] || fail "predict of a file that is no picture"
    grep -q "text.png: is neither PNG nor JPEG" log || fail "the bad image is not named"
}

# The commands refuse before they work: nothing is written, nothing is run for half an hour first.
case_bad_commands() {
    make_data data 40 20
    mkdir empty && touch afile
    refused 2 "empty: is a folder without checkpoints" "$bin/lamina" info empty
    refused 2 "empty: is a folder without checkpoints" "$bin/lamina" eval empty
    train --out run --epochs 1 || fail "the run"
    refused 2 "--devices names 2 devices" "$bin/lamina" eval run --devices cpu:0,cpu:1
    refused 2 "--json: nowhere/x.json: cannot be written: there is no folder" \
        "$bin/lamina" eval run --json nowhere/x.json
    [ -s out ] && fail "eval worked before it looked at --json"
    refused 2 "--out: afile: is a file, not a folder" "$bin/lamina" eval run --out afile
    [ -s out ] && fail "eval worked before it looked at --out"
    refused 2 "nowhere/x.json: cannot be written" "$bin/lamina-bench" step --json nowhere/x.json --steps 1 \
        --batch 2 --model resnet20 --tuning fixed
    [ -s out ] && fail "the benchmark worked before it looked at --json"
    refused 2 "afile: is a file, not a folder" "$bin/classify-train" "${options[@]}" --out afile
    refused 2 "afile/run: cannot be written: afile is a file" "$bin/classify-train" "${options[@]}" --out afile/run
}

# The commands do what they say.
case_commands() {
    make_data data 40 20
    train --out run --epochs 2 || fail "the run"
    [ "$(tail -1 log | cut -c1-17)" = "result: accuracy=" ] || fail "the last line is not the result"
    "$bin/lamina" eval run --out eval --json eval.json --weights average >out 2>log || fail "eval"
    local trained evaluated
    evaluated=$(awk '$1 == "accuracy" { print $2; exit }' out)
    trained=$(perl -ne 'print $1 if /"best": ([0-9.]+)/' run/summary.json)
    perl -e 'exit(abs($ARGV[0] - $ARGV[1]) > 1e-4)' "$trained" "$evaluated" ||
        fail "eval gives $evaluated, training gave $trained"
    [ -s eval/confusion.csv ] && [ -s eval/confusion.png ] && [ -s eval.json ] || fail "files of eval"
    "$bin/lamina" info run >out 2>log && grep -q "resnet20" out || fail "info"
    "$bin/lamina" plan --model resnet20 --data cifar10:data --batch 8 --tuning fixed >out 2>log || fail "plan"
    grep -q "images/s" out || fail "plan has no step time"
    "$bin/lamina" predict run run/predictions/epoch-0001.png --out predicted >out 2>log || fail "predict"
    [ -s predicted/predictions.json ] || fail "files of predict"
    "$bin/lamina" check --data cifar10:data >out 2>log || fail "check"
    grep -q "training part: 40 samples of 10 classes, 32 x 32; 0 bad" out || fail "check's counts"
    local peak forecast
    peak=$(perl -ne 'print $1 if /"cpu:[0-9-]+": ([0-9]+)/' run/summary.json)
    forecast=$(perl -ne 'print $1 if /"forecast_bytes": ([0-9]+)/' run/summary.json)
    [ "$peak" = "$forecast" ] || fail "forecast $forecast bytes, measured peak $peak"
}

# What is said of options, recipes and data that make no sense.
case_messages() {
    make_data data 40 20
    local t="$bin/classify-train" r="--model resnet20 --data cifar10:data --batch 16 --tuning fixed --out none"
    refused 2 "--resume needs --out" "$t" --resume
    refused 2 "resnet20: has no dropout" "$t" $r --dropout 0.1
    refused 2 "--checkpoint-every: 0 is out of range; it must be from 1 to 1000000" "$t" $r --checkpoint-every 0
    refused 2 "classify-train: --data: /none: does not exist" "$t" --model resnet20 --data cifar10:/none
    refused 2 "classify-train: --val: /none: does not exist" "$t" $r --val cifar10:/none
    refused 2 "LAMINA_ISA=foo: is neither v3" env LAMINA_ISA=foo "$t" $r
    refused 2 "LAMINA_CONV=fft: can only be 'direct'" env LAMINA_CONV=fft "$t" $r
    echo 'recipe = circle.ini' >circle.ini
    refused 2 "classify-train: circle.ini:1: circle.ini: names itself" "$t" --recipe circle.ini
    printf 'batch = 8\n[tuning]\n1 = nonsense\n\n2 = a = b\n' >tuning.ini
    refused 2 "classify-train: tuning.ini:3: 'nonsense' is not 'key = choice'" "$t" --recipe tuning.ini
    refused 2 "stepp: no such command; did you mean step?" "$bin/lamina-bench" stepp
    "$bin/lamina-bench" --version | grep -q "^lamina-bench [0-9]" || fail "version of lamina-bench"
    [ -e none ] && fail "a refused run left a folder"
    train --out far --devices cpu:1000 --max-steps 1 || fail "a core that is not there"
    grep -q "cpu:1000: this process may use [0-9]* core" log || fail "no notice of a core that is not there"
    "$bin/lamina" info far >out && grep -q "step 1: 0 epochs and 1 batch done" out || fail "info's position"
    train --out nan --lr 1e3 --clip-norm 0 --momentum 0.99 --warmup-epochs 0 --weight-decay 10 --epochs 3 &&
        fail "a rate of 1000 is fine"
    [ "$(grep -o 'step [0-9]' log | wc -l)" = 1 ] || fail "not one step in the message of a NaN"
}

case_bad_samples() {
    make_data data 40 20
    printf '\377' | dd of=data/test_batch.bin conv=notrunc status=none
    "$bin/lamina" check --data cifar10:data >out 2>log
    grep -qx "data/test_batch.bin:0: label 255 of record 0 (byte 0) is not in 0..9" out || fail "the bad label's line"
    grep -q "1 bad sample; --on-bad skip trains without it" log || fail "the count of one bad sample"
    train --on-bad skip --out run --epochs 1 || fail "--on-bad skip"
    grep -q "cifar10:$work/data: 1 of 20 validation samples left out; lamina check" log || fail "no notice of what is left out"
    # Not the sample's fault: nothing is left out.
    mkdir -p folder/a folder/b
    cp run/predictions/epoch-0001.png folder/a/1.png
    cp run/predictions/epoch-0001.png folder/b/1.png
    ln -s nowhere folder/b/2.png
    refused 2 "folder/b/2.png: cannot be opened" "$bin/classify-train" --model resnet20 --data folder:folder \
        --val folder:folder --image-size 32 --on-bad skip --out none
}

# As many classes, but others.
case_class_names() {
    make_data data 40 20
    cp -r data other && printf 'class %d\n' 10 11 12 13 14 15 16 17 18 19 >other/batches.meta.txt
    cp -r data numbers && seq 0 9 >numbers/batches.meta.txt
    train --out run --epochs 1 || fail "the run"
    refused 2 "cifar10:other: class 0 is 'class 10' there, 'airplane' in the network" \
        "$bin/lamina" eval run --data cifar10:other
    refused 2 "shapes: class 0 is 'circle' there, 'airplane' in the network" "$bin/lamina" eval run --data shapes
    refused 2 "cifar10:$work/other: class 0 is 'class 10' there" "$bin/classify-train" "${options[@]}" \
        --val cifar10:other --out none
    "$bin/lamina" eval run --data cifar10:numbers >out 2>log || fail "classes without names"
}

# A run's folder holds what lamina eval gives of its last weights.
case_report() {
    make_data data 40 20
    printf 'a "%d"\n' 0 1 2 3 4 5 6 7 8 9 >data/batches.meta.txt
    train --out run --epochs 2 --ema 0 || fail "the run"
    head -1 run/confusion.csv | grep -qF ',"a ""0""","a ""1""",' || fail "quotes in confusion.csv"
    [ -s run/confusion.png ] && grep -q '"confusion"' run/report.json || fail "files of the report"
    "$bin/lamina" eval run/checkpoints/last.safetensors --out eval >out 2>log || fail "eval"
    cmp run/confusion.csv eval/confusion.csv || fail "confusion matrices differ"
    grep -Fxf run/report.txt out | cmp - run/report.txt || fail "reports differ"
    cp run/confusion.csv before
    train --out run --resume --ema 0 || fail "resume of a finished run"
    cmp before run/confusion.csv || fail "resuming a finished run changed its report"
}

# Blocks on several devices: the pipeline gives what plain local learning gives, killed or not.
case_pipeline() {
    make_data data 280 20
    local local_learning=(--method glcan --glcan-global next --blocks 4 --partition 2,4,7 --epochs 2 --checkpoint-steps 5)
    train --out plain "${local_learning[@]}" --devices cpu:0 || fail "plain local learning"
    train --out whole "${local_learning[@]}" --schedule ppll --devices cpu:0,cpu:1 --queue 1 || fail "the pipeline"
    cmp <(tensors plain) <(tensors whole) || fail "other weights than plain local learning's"
    [ "$(metrics plain | sort | md5sum)" = "$(metrics whole | sort | md5sum)" ] || fail "metrics differ"
    grep -q '"ph":"X"' whole/trace.json || fail "no trace"
    interrupted kill KILL 9 137 "${local_learning[@]}" --schedule ppll --devices cpu:0,cpu:1 --queue 1
    train --out kill --resume || fail "resume after kill -9"
    cmp <(tensors whole) <(tensors kill) || fail "other weights after kill -9"
    interrupted int INT 20 130 "${local_learning[@]}" --schedule ppll --devices cpu:0,cpu:1 --queue 1
    grep -q '"ph":"X"' int/trace.json || fail "no trace of a stopped run"
    grep -q '"name":"busy/cpu:1"' int/metrics.jsonl || fail "a stopped run does not tell what its devices did"
    train --out int --resume || fail "resume after SIGINT"
    cmp <(tensors whole) <(tensors int) || fail "other weights after SIGINT"
    # What was trained in blocks is used as one network.
    "$bin/lamina" eval whole >out 2>log || fail "eval of a network that was trained in blocks"
}

# Twins that follow with a lag: the versions that they have still to read go through the checkpoint.
case_lag() {
    make_data data 280 20
    local lag=(--method glcan --glcan-global next --blocks 4 --partition 2,4,7 --epochs 2 --checkpoint-steps 5 --ema-lag 2
        --schedule ppll --devices cpu:0,cpu:1)
    train --out whole "${lag[@]}" || fail "the whole run"
    grep -qa '"lag.2.layer1.2.conv1.weight"' whole/checkpoints/last.safetensors || fail "no older versions are saved"
    interrupted kill KILL 9 137 "${lag[@]}" # from step 5 on again
    train --out kill --resume || fail "resume after kill -9"
    same_runs whole kill
    interrupted early KILL 1 137 "${lag[@]}" --checkpoint-steps 1 # fewer updates than the lag, or little more
    train --out early --resume --checkpoint-steps 5 || fail "resume after kill -9 in the first steps"
    same_runs whole early
    # The lag matters, and without it nothing more is saved.
    train --out none "${lag[@]}" --ema-lag 0 || fail "the run without a lag"
    grep -qa '"lag\.' none/checkpoints/last.safetensors && fail "older versions are saved without need"
    cmp -s <(tensors whole | head -c 100000) <(tensors none | head -c 100000) && fail "the lag changes nothing"
    "$bin/lamina" eval whole >out 2>log || fail "eval"
    "$bin/lamina" info whole >out && "$bin/lamina" info none >info || fail "info"
    [ "$(grep -o '[0-9]* numbers' out)" = "$(grep -o '[0-9]* numbers' info)" ] || fail "info counts older versions"
}

# What does not go together is refused with what would.
case_methods() {
    make_data data 40 20
    local start=("$bin/classify-train" --model resnet20 --data cifar10:data --batch 16 --out none)
    refused 2 "--blocks 4 needs something for each to learn from: --method dgl or glcan" "${start[@]}" --blocks 4
    refused 2 "one block trains on one device" "${start[@]}" --devices cpu:0,cpu:1
    refused 2 "blocks" "${start[@]}" --blocks 40 --method dgl
    refused 2 "layer9.0" "${start[@]}" --blocks 2 --method dgl --partition layer9.0
    refused 2 "--schedule gpipe trains end to end" "${start[@]}" --blocks 2 --method dgl --schedule gpipe
    refused 2 "--micro-batches 3 do not divide --batch 16" "${start[@]}" --blocks 2 --schedule gpipe --micro-batches 3
    refused 2 "has one block per device" "${start[@]}" --blocks 4 --schedule 1f1b --devices cpu:0,cpu:1
    refused 2 "the limit is" "${start[@]}" --blocks 2 --method dgl --memory-limit 1M
    refused 2 "go with --method glcan --glcan-global next" "${start[@]}" --blocks 2 --method glcan --ema-lag 2
    refused 2 "the paper has no cut into 3 blocks" "${start[@]}" --blocks 3 --method dgl --partition paper
    refused 2 "there are no published cuts of this network" "${start[@]}" --model resnet18 --blocks 2 --method dgl --partition paper
    [ -e none ] && fail "a refused run made its folder"
    return 0
}

# ranks COUNT ARGS...: the program under mpirun, a process per stage.
ranks() {
    local count=$1
    shift
    mpirun --oversubscribe --bind-to none -n "$count" "$bin/classify-train" "${options[@]}" --transport mpi "$@" >log 2>&1
}

# Pids of the ranks of the run in $1, in their order.
rank_pids() {
    pgrep -f -- "^$bin/classify-train .*--out $1" | sort -n
}

# Stages in processes of their own: the same to the bit, through a lost rank and signals, too.
case_mpi() {
    command -v mpirun >/dev/null && [ -e "$bin/../liblamina_mpi.so" ] || { echo "skipped: no MPI"; exit 77; }
    export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 OMPI_MCA_odls_base_sigkill_timeout=5
    make_data data 280 20
    local here=(--method glcan --glcan-global next --blocks 4 --partition 2,4,7 --epochs 2 --checkpoint-steps 5 --schedule ppll --ema-lag 2)
    local two=("${here[@]}" --devices cpu:0,cpu:1)
    train --out threads "${two[@]}" || fail "threads"
    ranks 2 --out two "${two[@]}" || fail "two ranks"
    same_runs threads two
    grep -q "result: accuracy=" log || fail "no result"
    [ "$(grep -c "result:" log)" = 1 ] || fail "several ranks speak"
    grep -q '"name":"busy/cpu:0"' two/metrics.jsonl || fail "nothing of the other rank's device"
    ranks 4 --out four "${here[@]}" --devices cpu:0,cpu:1,cpu:2,cpu:3 || fail "four ranks"
    cmp <(tensors threads) <(tensors four) || fail "other weights over four ranks"
    # A rank that is killed: said in one line, and the run goes on from the last checkpoint, here in one process.
    for victim in 1 2; do
        ranks 2 --out "lost$victim" "${two[@]}" --log-every 1 &
        local runner=$!
        wait_for_step "lost$victim" 9 "$runner" || fail "step 9 never came"
        kill -KILL "$(rank_pids "lost$victim" | sed -n "${victim}p")"
        wait "$runner" && fail "a run whose rank was killed ends well"
        grep -q "rank $((victim - 1)) (process .*) is gone" log || fail "nobody says that rank $((victim - 1)) is gone"
        [ "$(pgrep -f -- "--out lost$victim" | wc -l)" = 0 ] || fail "ranks are left over"
    done
    train --out lost1 --resume --transport threads || fail "resume in one process"
    cmp <(tensors threads) <(tensors lost1) || fail "other weights after a lost rank"
    ranks 2 --out lost2 --resume || fail "resume over ranks"
    cmp <(tensors threads) <(tensors lost2) || fail "other weights after a lost rank, over ranks"
    # A signal to one of them stops all after the same step.
    ranks 2 --out int "${two[@]}" --log-every 1 &
    local runner=$!
    wait_for_step int 9 "$runner" || fail "step 9 never came"
    kill -INT "$(rank_pids int | sed -n 2p)"
    wait "$runner"
    [ $? = 130 ] || fail "a signal to a rank does not end with 130"
    [ "$(grep -c "stopped by a signal after step" log)" = 1 ] || fail "not one rank says where it stopped"
    ranks 2 --out int --resume || fail "resume after a signal"
    cmp <(tensors threads) <(tensors int) || fail "other weights after a signal"
    # What is refused is refused once.
    ranks 2 --out none "${here[@]}" --devices cpu:0,cpu:1,cpu:2 && fail "two ranks for three devices"
    [ "$(grep -c "2 ranks for 3 devices" log)" = 1 ] || fail "two ranks for three devices: no single clear line"
    ranks 2 --out none "${two[@]}" --data cifar10:nowhere && fail "no data"
    [ "$(grep -c "^classify-train: " log)" = 1 ] || fail "no data: not one line"
    [ -e none ] && fail "a refused run made its folder"
    refused 2 "does not go with --fit-memory" "$bin/classify-train" "${options[@]}" --transport mpi --method dgl --schedule ppll \
        --blocks 2 --fit-memory 50M
    refused 2 "goes with --schedule ppll" "$bin/classify-train" "${options[@]}" --transport mpi --method dgl --blocks 2
    refused 2 "1 rank for 2 devices; start it as mpirun -n 2" "$bin/classify-train" "${options[@]}" --transport mpi \
        "${two[@]}" --out none
}

# Cutting to fit: trains where end to end is refused, needs what was forecast, and takes the very same cut again.
case_fit_memory() {
    local start=(--data shapes --model resnet20 --batch 64 --tuning fixed --show 0 --max-steps 4 --devices cpu:0)
    local t="$bin/classify-train" budget=40000000
    refused 2 "the limit is 38.1 MiB" "$t" "${start[@]}" --out none --memory-limit $budget
    refused 2 "end to end needs" "$t" "${start[@]}" --out none --fit-memory $budget
    [ -e none ] && fail "a refused run left a folder"
    "$t" "${start[@]}" --method dgl --fit-memory $budget --out fit >log 2>&1 || fail "a run that was cut to fit"
    local peak=$(perl -ne 'print $1 if /^result:.* peak_bytes=(\d+)/' log)
    [ "$peak" -le $budget ] || fail "the peak is $peak"
    [ "$peak" = "$(summary fit forecast_bytes)" ] || fail "the peak $peak is not the forecast $(summary fit forecast_bytes)"
    grep -qs "\"cpu:0\": $peak\b" fit/summary.json || fail "the summary tells another peak"
    grep -q "^cut to fit: [0-9]* blocks" log || fail "the cut is not told"
    grep -Eq '^blocks = [2-9]' fit/config.ini || fail "blocks are not in the config"
    grep -Eq '^partition = [0-9,]+$' fit/config.ini || fail "the cut is not in the config"
    grep -q "^memory-limit = $budget" fit/config.ini || fail "the budget is not in the config"
    # Again from its config; and killed on the way and resumed with the options that it was started with.
    "$t" --recipe fit/config.ini --out again >log 2>&1 || fail "a rerun"
    cmp <(tensors fit) <(tensors again) || fail "a rerun gives other weights"
    diff <(grep -E '^(blocks|partition|memory-limit|fit-memory)' fit/config.ini) \
        <(grep -E '^(blocks|partition|memory-limit|fit-memory)' again/config.ini) || fail "a rerun is cut differently"
    "$t" "${start[@]}" --method dgl --fit-memory $budget --checkpoint-steps 1 --out kill >log 2>&1 &
    local pid=$!
    for _ in $(seq 3000); do [ -e kill/checkpoints/last.safetensors ] && break; sleep 0.01; done
    kill -KILL $pid
    wait $pid 2>/dev/null
    "$t" "${start[@]}" --method dgl --fit-memory $budget --checkpoint-steps 1 --out kill --resume >log 2>&1 || fail "resume"
    cmp <(tensors fit) <(tensors kill) || fail "other weights after a resume"
    "$bin/lamina" eval fit >out 2>log || fail "eval of what was cut to fit"
    # The budget that the plan calls the least works, and one byte less does not.
    "$bin/lamina" plan "${start[@]}" --method dgl --fit-memory $budget >log 2>&1 || fail "the plan"
    local least=$(perl -ne 'print $1 if /the least budget is (\d+)/' log)
    "$t" "${start[@]}" --method dgl --fit-memory "$least" --out least >log 2>&1 || fail "the least budget"
    [ "$(summary least forecast_bytes)" -le "$least" ] || fail "the least budget is passed"
    refused 2 "the least that works is --fit-memory $least" "$t" "${start[@]}" --method dgl --out none \
        --fit-memory $((least - 1))
    grep -q "activations" out || fail "the refusal comes without its table"
    # Two devices, and kernels that are measured.
    "$t" "${start[@]}" --method glcan --schedule ppll --devices cpu:0,cpu:1 --tuning measure --fit-memory 55M,45M \
        --out two >log 2>&1 || fail "two devices"
    grep -q "^partition = .*/" two/config.ini || fail "the cut does not say where the second device begins"
    perl -0777 -ne 'exit !(/"cpu:0": (\d+),\s*"cpu:1": (\d+)/ && $1 <= 55 * 2**20 && $2 <= 45 * 2**20)' \
        two/summary.json || fail "a device passed its budget"
    "$t" --recipe two/config.ini --out two-again >log 2>&1 || fail "a rerun on two devices"
    cmp <(tensors two) <(tensors two-again) || fail "a rerun on two devices gives other weights"
}

# What does not go with it, and what is no budget.
case_fit_input() {
    make_data data 40 20
    local start=("$bin/classify-train" --model resnet20 --data cifar10:data --batch 16 --out none --tuning fixed)
    refused 2 "leave --blocks 4 out" "${start[@]}" --method dgl --fit-memory 50M --blocks 4
    refused 2 "leave --partition paper out" "${start[@]}" --method dgl --fit-memory 50M --partition paper
    refused 2 "leave --partition 3,7 out" "${start[@]}" --method dgl --fit-memory 50M --partition 3,7
    refused 2 "leave --memory-limit out" "${start[@]}" --method dgl --fit-memory 50M --memory-limit 60M
    refused 2 "trains end to end; use --schedule sequential or ppll" "${start[@]}" --fit-memory 50M --schedule gpipe
    refused 2 "--fit-memory: 'much'" "${start[@]}" --method dgl --fit-memory much
    refused 2 "--fit-memory: nothing fits 0 bytes" "${start[@]}" --method dgl --fit-memory 0
    refused 2 "--fit-memory: 3 limits for 2 devices" "${start[@]}" --method dgl --fit-memory 50M,50M,50M --devices cpu:0,cpu:1
    refused 2 "one block trains on one device" "${start[@]}" --fit-memory 50M --devices cpu:0,cpu:1
    refused 2 "use --method dgl or glcan" "${start[@]}" --fit-memory 1M
    refused 2 "is too little however the network is cut" "${start[@]}" --method dgl --fit-memory 1M
    refused 2 "however 2 blocks are cut a device needs at least" "${start[@]}" --method dgl --blocks 2 --memory-limit 1M
    refused 2 "slashes make parts for 2 devices, but there is 1" "${start[@]}" --method dgl --blocks 2 --partition 3/
    refused 2 "is empty" "${start[@]}" --method dgl --blocks 3 --partition 3//
    [ -e none ] && fail "a refused run made its folder"
    return 0
}

"case_$case_name" || fail "$case_name"
