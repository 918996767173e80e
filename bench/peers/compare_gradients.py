#!/usr/bin/python3
"""The true relative error of every parameter gradient, Lamina's and PyTorch's, against double precision.

    /usr/bin/python3 bench/peers/compare_gradients.py --model resnet18 [--measure] [--all]

Runs the parity test program with --dump on the batch of tests/golden and compares whole gradients, norm-wise:
|g - g64| / |g64|. Exit status 1 if one of Lamina's is above 1e-4.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile

import numpy as np
import torch

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.join(HERE, "..", "..")
sys.path.insert(0, os.path.join(ROOT, "tests", "golden"))
import make_golden  # noqa: E402

PROGRAMS = {"resnet32": "resnet32", "resnet18": "resnet18", "vit-tiny": "vit"}
LIMIT = 1e-4


def read_safetensors(path):
    with open(path, "rb") as file:
        data = file.read()
    length = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + length])
    return {
        name: np.frombuffer(data, np.float32, int(np.prod(t["shape"])), 8 + length + t["data_offsets"][0])
        for name, t in header.items()
    }


def run_lamina(args):
    program = os.path.abspath(os.path.join(args.build, "bin", "test_gradient_parity_" + PROGRAMS[args.model]))
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "dump.safetensors")
        command = [program, "--dump", path] + (["--measure"] if args.measure else [])
        command += ["--device", args.device] if args.device else []
        subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        return read_safetensors(path)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--build", default="build/release")
    parser.add_argument("--model", choices=sorted(PROGRAMS), default="resnet32")
    parser.add_argument("--measure", action="store_true", help="Lamina chooses its kernels by measurement")
    parser.add_argument("--device", help="Lamina's, as cpu:0")
    parser.add_argument("--all", action="store_true", help="every parameter, not the ten worst")
    args = parser.parse_args()

    with open(os.path.join(ROOT, "tests", "golden", args.model + ".json")) as file:
        golden = json.load(file)
    batch = golden["gradient_batch_number"], golden["gradient_batch"]
    lamina = run_lamina(args)
    double = make_golden.gradients(args.model, *batch, torch.float64)
    single = make_golden.gradients(args.model, *batch, torch.float32)

    def error(values, reference):
        return make_golden.relative(values.ravel().astype(np.float64), reference.ravel())

    rows = [("logits", error(lamina["logits"], double["logits"]), error(single["logits"], double["logits"]))]
    for name, reference in double["gradients"].items():
        rows.append((name, error(lamina[name], reference), error(single["gradients"][name], reference)))
    rows.sort(key=lambda row: -row[1])
    print(f"{args.model}: {len(rows) - 1} gradients, error norm-wise    Lamina   PyTorch f32")
    for name, ours, theirs in rows if args.all else rows[:10]:
        print(f"  {name:42} {ours:9.1e} {theirs:9.1e}")
    worst = rows[0][1]
    print(f"  worst {worst:.1e}, median {sorted(r[1] for r in rows)[len(rows) // 2]:.1e}, limit {LIMIT:.0e}")
    return 0 if worst <= LIMIT else 1


if __name__ == "__main__":
    sys.exit(main())
