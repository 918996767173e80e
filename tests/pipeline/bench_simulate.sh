#!/bin/bash
# lamina-bench simulate as a user meets it: bench_simulate.sh PROGRAM. Known numbers, and one line for bad input.
set -u
program=$1
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work" || exit 1

fail() {
    echo "FAILED: $*" >&2
    exit 1
}

# says WORDS FIELD VALUE: the line of `log` that begins with WORDS has VALUE as its FIELD-th word.
says() {
    grep "^$1 " log | head -1 | awk -v n="$2" -v v="$3" '{ok = $n == v} END {exit !ok}' ||
        fail "$1: field $2 is not $3: $(cat log)"
}

# refused TEXT OPTIONS...: exit status 2, nothing on stdout, one line on stderr with TEXT in it.
refused() {
    local text=$1 status
    shift
    "$program" "$@" >out 2>err
    status=$?
    [ $status = 2 ] || fail "status $status: $*"
    [ ! -s out ] && [ "$(wc -l <err)" = 1 ] && grep -qF -- "$text" err || fail "$*: $(cat out err)"
}

cat >times.json <<'END'
{"batch": 60, "model": "any", "stages": [
  {"name": "stem", "forward": 1, "aux": 1, "backward": 1, "update": 0, "late_send": false, "send_bytes": 2e9},
  {"forward": 1, "aux": 1, "backward": 3, "snapshot_bytes": 1}]}
END
"$program" simulate --times times.json --json out.json >log || fail "status $?"
says sequential 2 7.5
says sequential 5 7.5
says ppll 2 12.0
says ppll 3 1.60
says gpipe 4 1.00
"$program" simulate --times times.json --schedules ppll --link 0.25 >log || fail "status $?"
says ppll 2 7.5 # 8 s for each transfer
[ "$(grep -c 'gpipe' log)" = 1 ] || fail "gpipe is shown: $(cat log)"
"$program" simulate --forward 1 --backward 2,2,2 --batch 60 --queue 1 --early-slot >log || fail "status $?"
says ppll 2 15.0 # 1 + 3 s
says gpipe 2 13.3 # 6/4 of 3 s
/usr/bin/env python3 - <<'END' || fail "out.json"
import json
rows = json.load(open("out.json"))
assert [r["schedule"] for r in rows] == ["sequential", "ppll", "gpipe", "1f1b"]
assert abs(rows[1]["images_per_s"] - 12) < 1e-6 and abs(rows[1]["ideal"] - 12) < 1e-6
for r in rows:
    shares = [r["busy"], r["starved"], r["blocked"]]
    assert all(len(s) == 2 for s in shares) and all(abs(sum(s) - 1) < 1e-9 for s in zip(*shares))
END

sed 's/"model": "any"/"measured": {"schedule": "ppll", "steps": 2, "seconds": 8}/' times.json >measured.json
"$program" simulate --times measured.json >log || fail "status $?" # 1 s, then twice 5 s
grep -q '^2 steps of ppll took 8.000 s.* simulated, 11.000 s: +37.5 %$' log || fail "no check: $(cat log)"

refused "no command"
refused "did you mean simulate" simulat
refused "give --times FILE" simulate
refused "give --times FILE" simulate --forward 1
refused "no such option" simulate --forwards 1
refused "--forward: value 2 is not a number: 'x'" simulate --forward 1,x --backward 1
refused "--forward: value 1 is not a number" simulate --forward 1, --backward 1
refused "--aux: value 1 is -1" simulate --forward 1 --backward 1 --aux=-1
refused "--aux: value 1 is nan" simulate --forward 1 --backward 1 --aux nan
refused "--late-send: value 1 is 0.5" simulate --forward 1 --backward 1 --late-send 0.5
refused "--aux: 2 values for 3 stages" simulate --forward 1,1,1 --backward 1 --aux 1,2
refused "--forward: 3 values for 2 stages" simulate --forward 1,1,1 --backward 1 --blocks 2
refused "value 129 is one too many" simulate --backward 1 --forward "$(seq -s, 129)"
refused "takes 0 seconds" simulate --forward 0 --backward 0
refused "'zb' is not one of" simulate --forward 1 --backward 1 --schedules ppll,zb
refused "did you mean gpipe" simulate --forward 1 --backward 1 --schedules gpip
refused "twice" simulate --forward 1 --backward 1 --schedules ppll,ppll
refused "--queue" simulate --forward 1 --backward 1 --queue 0
refused "--jitter" simulate --forward 1 --backward 1 --jitter 2
refused "none.json" simulate --times none.json
refused "--aux: stands in the file" simulate --times times.json --aux 1
refused "--batch: stands in the file" simulate --times times.json --batch 1

# bad_times TEXT JSON
bad_times() {
    echo "$2" >bad.json
    refused "bad.json: $1" simulate --times bad.json
}
bad_times "line 2: " '{"batch": 1,'
bad_times "line " ''
bad_times 'has no "batch"' '[]'
bad_times 'has no "batch"' '{"stages": [{"forward": 1, "backward": 1}]}'
bad_times 'has no "batch"' '{"batch": 0, "stages": [{"forward": 1, "backward": 1}]}'
bad_times 'has no "stages"' '{"batch": 1, "stages": []}'
bad_times 'has no "stages"' '{"batch": 1, "stages": {"forward": 1}}'
bad_times '"measured" is not' '{"batch": 1, "stages": [{"forward": 1, "backward": 1}], "measured": {"schedule": "ppl", "steps": 1, "seconds": 1}}'
bad_times '"measured" is not' '{"batch": 1, "stages": [{"forward": 1, "backward": 1}], "measured": {"schedule": "ppll", "steps": 0, "seconds": 1}}'
bad_times "stage 1: is not an object" '{"batch": 1, "stages": [7]}'
bad_times "stage 2: has no backward" '{"batch": 1, "stages": [{"forward": 1, "backward": 1}, {"forward": 1}]}'
bad_times "stage 1: no such field as 'foward'; did you mean forward" '{"batch": 1, "stages": [{"foward": 1}]}'
bad_times "stage 1: forward is not a number" '{"batch": 1, "stages": [{"forward": "1"}]}'
bad_times "stage 1: forward is not a number" '{"batch": 1, "stages": [{"forward": true}]}'
bad_times "stage 1: update is -1" '{"batch": 1, "stages": [{"update": -1}]}'
exit 0
