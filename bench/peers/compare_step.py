#!/usr/bin/python3
"""Lamina's training step beside PyTorch's, in turn, in one run.

    /usr/bin/python3 bench/peers/compare_step.py --bench build/release/bin/lamina-bench --json compare.json

For each model and precision all of PyTorch's modes (layouts; for bf16 also weights in bf16) are tried once and
the fastest is taken. Then Lamina and PyTorch are measured alternately; a measurement during which other
processes took more than --quiet of one core is repeated, up to --patience times. The table gives medians, and
the ratio as the median of the rounds' ratios, with the range that it had.
"""

import argparse
import json
import os
import statistics
import sys
import tempfile

import machine

HERE = os.path.dirname(os.path.abspath(__file__))
MODES = {
    "f32": [("f32", "nchw"), ("f32", "nhwc")],
    "bf16": [("bf16", "nchw"), ("bf16", "nhwc"), ("bf16-pure", "nchw"), ("bf16-pure", "nhwc")],
}


def modes(model, precision):
    """PyTorch's modes for it; layouts say nothing to a transformer."""
    return [m for m in MODES[precision] if m[1] == "nchw" or not model.startswith("vit")]


def run_torch(args, model, mode):
    command = [sys.executable, os.path.join(HERE, "torch_step.py"), "--inner", f"--model={model}"]
    command += [f"--precision={mode[0]}", f"--layout={mode[1]}", f"--threads={args.threads}"]
    command += [f"--batch={args.batch}", f"--steps={args.steps}", f"--seconds={args.seconds}"]
    command += [f"--image-size={args.image_size}"]
    output, _rss, foreign = machine.run_watched(command, machine.torch_environment(args.threads))
    return {**json.loads(output), "foreign": foreign}


def run_lamina(args, model, precision):
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "step.json")
        command = [args.bench, "step", "--model", model, "--precision", precision, "--batch", str(args.batch)]
        command += ["--devices", args.devices, "--steps", str(max(args.steps, 10)), "--json", path]
        command += ["--tuning-file", args.tuning_file] if args.tuning_file else []
        command += ["--image-size", args.image_size] if args.image_size else []
        _output, rss, foreign = machine.run_watched(command + args.lamina_options.split())
        with open(path) as file:
            row = json.load(file)[0]
    return {**row, "resident_bytes": rss, "foreign": foreign}


def quietly(args, measure):
    """The result of `measure`, repeated while others disturb it; the least disturbed if they never stop."""
    best = measure()
    for _ in range(args.patience):
        if best["foreign"] <= args.quiet:
            break
        again = measure()
        best = again if again["foreign"] < best["foreign"] else best
    return best


def compare(args, model, precision):
    tried = {mode: quietly(args, lambda m=mode: run_torch(args, model, m)) for mode in modes(model, precision)}
    best = max(tried, key=lambda mode: tried[mode]["images_per_s"])
    run_lamina(args, model, precision)  # fills the tuning file
    rounds = []
    for _ in range(args.rounds):
        lamina = quietly(args, lambda: run_lamina(args, model, precision))
        torch = quietly(args, lambda: run_torch(args, model, best))
        rounds.append({"lamina": lamina, "torch": torch})
    return {"model": model, "precision": precision, "mode": "/".join(best), "tried": list(tried.values()), "rounds": rounds}


def summary(result):
    rounds = result["rounds"]
    ratios = [r["lamina"]["images_per_s"] / r["torch"]["images_per_s"] for r in rounds]

    def median(side, key):
        return statistics.median(r[side][key] for r in rounds)

    lamina_bytes, torch_bytes = median("lamina", "peak_bytes"), median("torch", "peak_bytes")
    return {
        "model": result["model"],
        "precision": result["precision"],
        "torch_mode": result["mode"],
        "torch_images_per_s": median("torch", "images_per_s"),
        "lamina_images_per_s": median("lamina", "images_per_s"),
        "ratio": statistics.median(ratios),
        "ratio_range": [min(ratios), max(ratios)],
        "torch_peak_bytes": torch_bytes,
        "lamina_peak_bytes": lamina_bytes,
        "lamina_resident_bytes": median("lamina", "resident_bytes"),
        "bytes_ratio": lamina_bytes / torch_bytes,
        "foreign": max(r[side]["foreign"] for r in rounds for side in ("lamina", "torch")),
    }


HEADER = (
    "model      prec  PyTorch mode     PyTorch   Lamina   ratio (range)        MiB: PyTorch Lamina (resident) ratio  foreign"
)


def print_row(s):
    mib = 1 / 2**20
    print(
        f"{s['model']:10} {s['precision']:5} {s['torch_mode']:15} {s['torch_images_per_s']:8.1f} "
        f"{s['lamina_images_per_s']:8.1f}   {s['ratio']:.2f}x ({s['ratio_range'][0]:.2f}-{s['ratio_range'][1]:.2f})"
        f"   {s['torch_peak_bytes'] * mib:12.0f} {s['lamina_peak_bytes'] * mib:6.0f} "
        f"{s['lamina_resident_bytes'] * mib:10.0f}   {s['bytes_ratio']:.2f}x  {100 * s['foreign']:4.0f} %",
        flush=True,
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--bench", default="build/release/bin/lamina-bench")
    parser.add_argument("--models", default="resnet32,resnet18,vit-tiny")
    parser.add_argument("--precisions", default="f32,bf16")
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--image-size", default="", help="32, 320x240; else the usual one of the model")
    parser.add_argument("--devices", default="cpu:0-1", help="Lamina's")
    parser.add_argument("--threads", type=int, default=2, help="PyTorch's")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=4, help="timed steps of a measurement, at least")
    parser.add_argument("--seconds", type=float, default=2.0, help="timed seconds of PyTorch's, at least")
    parser.add_argument("--quiet", type=float, default=0.05, help="share of one core that others may take")
    parser.add_argument("--patience", type=int, default=3, help="repeats of a disturbed measurement")
    parser.add_argument("--tuning-file", default="", help="keep Lamina's measured choices there")
    parser.add_argument("--lamina-options", default="", help="further options for lamina-bench step")
    parser.add_argument("--json", help="write all measurements there")
    args = parser.parse_args()
    results = []
    print(HEADER)
    for model in args.models.split(","):
        for precision in args.precisions.split(","):
            results.append(compare(args, model, precision))
            results[-1]["summary"] = summary(results[-1])
            print_row(results[-1]["summary"])
            if args.json:
                with open(args.json, "w") as file:
                    json.dump(results, file, indent=1)


if __name__ == "__main__":
    main()
