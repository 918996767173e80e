#!/bin/bash
# lamina-bench paper: bench_paper.sh PROGRAM. Sums that can be had in another way, and times that simulate reads.
set -u
program=$1
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work" || exit 1

fail() {
    echo "FAILED: $*" >&2
    exit 1
}

# refused TEXT OPTIONS...: exit status 2 and one line with TEXT in it.
refused() {
    local text=$1
    shift
    "$program" paper "$@" >out 2>err
    [ $? = 2 ] && [ "$(wc -l <err)" = 1 ] && grep -qF -- "$text" err || fail "$*: $(cat out err)"
}

"$program" paper --model resnet20 --batch 16 --precision f32 --json whole.json >log || fail "status $?"
"$program" paper --model resnet20 --batch 16 --precision bf16 --json bf16.json >log || fail "status $?"
"$program" paper --model resnet20 --batch 16 --precision f32 --blocks 3 --json blocks.json --times times.json >log ||
    fail "status $?"
"$program" paper --model resnet20 --batch 16 --precision f32 --blocks 3 --no-cuda-graph --json each.json >log ||
    fail "status $?"
"$program" paper --model vit-micro --batch 16 --json vit.json >log || fail "status $?"
"$program" simulate --times times.json --link 450 --latency 2 --json simulated.json >log || fail "simulate: status $?"
/usr/bin/env python3 - <<'END_OF_CHECKS' || fail "the numbers"
import json

WIDTH, LAYERS = 64, 4  # of vit-micro

def rows(name):
    with open(name) as file:
        return json.load(file)

def near(a, b):
    return abs(a - b) <= 1e-9 * max(abs(a), abs(b))

[whole], [bf16], blocks, each = rows("whole.json"), rows("bf16.json"), rows("blocks.json"), rows("each.json")

# Backward is twice forward, but that the stem has no gradient of its input.
stem = 16 * 2 * (3 * 3 * 3) * 16 * 32 * 32
assert near(whole["flops"], 3 * whole["forward_flops"] - stem)
assert near(whole["flops"], bf16["flops"])
# The same for a transformer's patches; and attention takes five products back for two forward.
[vit] = rows("vit.json")
patches = 16 * 2 * 64 * 48 * WIDTH
attention = 16 * 2 * 65 * 65 * WIDTH
assert near(vit["flops"], 3 * vit["forward_flops"] - patches + LAYERS * attention)

# At half the bytes an element; the weights' sums stay f32, and biases and casts come on top.
assert 0.48 < bf16["bytes"] / whole["bytes"] < 0.56
assert 0 < whole["matrix_bytes"] < whole["bytes"] and 0 < whole["again_bytes"] < whole["bytes"]

# Two sums, of gradients and of parameters, and one update of all of them, with weight decay.
assert whole["launches"]["update"] == 3, whole["launches"]
assert whole["launches"]["nodes"] > whole["ops"] > 200

# The slowest kernel after the other, a pause each, and the host.
s, n = whole["seconds"], whole["launches"]
assert s["kernels"] >= max(whole["flops"] / 67e12, whole["bytes"] / 3350e9)
assert near(s["graph"], sum(s[part] for part in ["forward", "aux", "backward", "update"]))
assert s["each"] >= 4e-6 * (n["nodes"] + n["update"])

assert [r["block"] for r in blocks] == [0, 1, 2, 3]
assert near(sum(r["forward_flops"] for r in blocks[1:]), whole["forward_flops"])
assert all(r["seconds"]["aux"] > 0 for r in blocks[1:3]) and blocks[3]["seconds"]["aux"] == 0
assert all(r["send_bytes"] > 0 for r in blocks[1:3]) and blocks[3]["send_bytes"] == 0
assert all(r["seconds"]["forward"] > b["seconds"]["forward"] for r, b in zip(each, blocks))

# PPLL does not go below the slowest block.
slowest = max(r["seconds"]["graph"] for r in blocks[1:])
ppll = [r for r in rows("simulated.json") if r["schedule"] == "ppll"][0]
assert near(16 / slowest, ppll["ideal"]) and 0.98 * ppll["ideal"] < ppll["images_per_s"] <= 1.001 * ppll["ideal"]
END_OF_CHECKS

refused "did you mean" --modle resnet20
refused "there is no auxiliary network" --method none
refused "--times" --model resnet20 --times times.json
refused "--blocks" --blocks 0
exit 0
