#!/bin/bash
# lamina gpu-check on emulated GPUs: gpu_check.sh CASE BIN_FOLDER. LD_LIBRARY_PATH names the emulator's folder.
. "$(dirname "$0")/../faults/setup.sh"
unset LAMINA_TEST_DEVICES

# check STATUS OPTIONS...: a run into the folder "report", of this exit status.
check() {
    local expected=$1
    shift
    timeout 600 "$bin/lamina" gpu-check --quick --out report "$@" >out 2>log
    local got=$?
    [ "$got" = "$expected" ] || { cat out; fail "exit status $got, not $expected"; }
}

# of EXPRESSION: a value of report.json, as Perl names it.
of() {
    perl -MJSON::PP -e 'local $/; open(F, "<", "report/report.json"); my $r = decode_json(<F>); my $p = $r->{parts};
        print '"$1"
}

case_quick() {
    check 0
    cmp out report/report.txt || fail "report.txt is not what was printed"
    grep -q '^All passed' out || fail "no word that all passed"
    [ "$(of '$r->{passed} && $r->{complete}')" = 1 ] || fail "report.json does not say so"
    [ "$(of 'join ",", sort grep { $p->{$_}{ok} } keys %$p')" = exactness,machine,ops,pipelines,rates,steps ] || fail "parts"
    [ "$(of '$p->{ops}{result}{cases} > 100')" = 1 ] || fail "too few cases"
    [ "$(of '$p->{rates}{result}{"between GPUs"}{"cuda:1 to cuda:0"} > 0')" = 1 ] || fail "no rate between GPUs"
    [ "$(of '$p->{machine}{result}{"cuda:0"}{"access to cuda:1"}')" = yes ] || fail "no word of peers"
    [ "$(of '$p->{steps}{result}{resnet20}{bf16}{floor_seconds} > 0')" = 1 ] || fail "a step without a floor"
}

case_refused() {
    stopped "counted from 0" "$bin/lamina" gpu-check --quick --devices cuda:7 --out report
    stopped "is not a device" "$bin/lamina" gpu-check --quick --devices gpu --out report
    stopped "is no GPU" "$bin/lamina" gpu-check --quick --devices cpu:0 --out report
    LAMINA_EMULATED_GPUS=0 stopped "there is no GPU here" "$bin/lamina" gpu-check --quick --out report
    LD_LIBRARY_PATH= stopped "there is no GPU here" "$bin/lamina" gpu-check --quick --out report
    [ -e report ] && fail "a refused run left a report"
    "$bin/lamina" gpu-check --help | grep -q -- '--quick' || fail "no help"
}

# A kernel that takes the GPU down with it costs what needs it, and nothing else.
case_broken_kernel() {
    LAMINA_EMULATED_FAIL=work:gelu:1 check 1 --devices cuda:0
    [ "$(of 'join ",", @{$p->{ops}{failed}}')" = "gelu shape=2x5,gelu shape=2x5 dtype=bf16" ] || fail "failures of ops"
    [ "$(of 'join ",", map { s/:.*//r } @{$p->{steps}{failed}}')" = "vit-micro f32,vit-micro tf32,vit-micro bf16" ] ||
        fail "failures of steps"
    [ "$(of 'join ",", sort grep { $p->{$_}{ok} } keys %$p')" = machine,pipelines,rates ] || fail "parts"
    [ "$(of '$p->{exactness}{result}{"resnet20 glcan 4 blocks f32"}{"the CPU"}{off} < 1e-3')" = 1 ] || fail "exactness"
}

"case_$case_name"
