#!/usr/bin/python3
"""Times a whole training step of PyTorch (forward, cross entropy, backward, optimizer; no data loading).

    /usr/bin/python3 bench/peers/torch_step.py --model resnet32 --precision f32,bf16 --threads 2

Every configuration runs in a process of its own and prints one JSON line: images_per_s of the median step, and
peak_bytes, the highest resident size above that after `import torch`. cpu_seconds is the processor time of a step
over all threads: with one thread it tells how fast PyTorch would be here were it alone.

Precisions: f32; bf16, autocast as PyTorch's documentation has it; bf16-pure, weights and all in bf16.
Layouts: nchw, nhwc (channels last). Lists are separated by commas; `auto` for a layout tries both.
"""

import argparse
import itertools
import json
import os
import statistics
import subprocess
import sys
import time

import machine

PRECISIONS, LAYOUTS = ("f32", "bf16", "bf16-pure"), ("nchw", "nhwc")


def make_step(args):
    """A function that does one training step."""
    import torch
    import torch.nn.functional as F
    import torch_models

    torch.manual_seed(1)
    net = torch_models.create(args.model, args.image_size, 3, args.classes)
    images = torch.randn(args.batch, 3, args.image_size, args.image_size)
    labels = torch.randint(args.classes, (args.batch,))
    if args.precision == "bf16-pure":
        net, images = net.bfloat16(), images.bfloat16()
    if args.layout == "nhwc":
        net, images = net.to(memory_format=torch.channels_last), images.to(memory_format=torch.channels_last)
    if args.model.startswith("vit"):
        optimizer = torch.optim.AdamW(net.parameters(), 1e-3, weight_decay=0.05)
    else:
        optimizer = torch.optim.SGD(net.parameters(), 1e-3, 0.9, nesterov=True, weight_decay=1e-4)

    def step():
        optimizer.zero_grad(set_to_none=True)
        with torch.autocast("cpu", torch.bfloat16, enabled=args.precision == "bf16"):
            logits = net(images)
        F.cross_entropy(logits.float(), labels).backward()
        optimizer.step()

    return step


def measure(args):
    """One configuration, in this process."""
    import torch

    torch.set_num_threads(args.threads)
    torch.zeros(1).sum()
    machine.forget_peak()
    before = machine.status_bytes("VmRSS")
    step = make_step(args)
    for _ in range(args.warmup):
        step()
    seconds, cpu_seconds = [], []
    while len(seconds) < args.steps or sum(seconds) < args.seconds:
        start, cpu_start = time.perf_counter(), time.process_time()
        step()
        seconds.append(time.perf_counter() - start)
        cpu_seconds.append(time.process_time() - cpu_start)
    median = statistics.median(seconds)
    row = {key: getattr(args, key) for key in ("model", "precision", "layout", "threads", "batch")}
    row.update(
        program="pytorch " + torch.__version__,
        steps=len(seconds),
        seconds=median,
        cpu_seconds=statistics.median(cpu_seconds),
        images_per_s=args.batch / median,
        peak_bytes=machine.status_bytes("VmHWM") - before,
    )
    print(json.dumps(row), flush=True)


def parse():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--model", default="resnet32", help="resnet32, resnet18, vit-tiny, ...; a list")
    parser.add_argument("--precision", default="f32", help=", ".join(PRECISIONS) + "; a list")
    parser.add_argument("--layout", default="auto", help=", ".join(LAYOUTS) + ", auto; a list")
    parser.add_argument("--threads", default="2", help="a list")
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--image-size", type=int, default=32)
    parser.add_argument("--classes", type=int, default=10)
    parser.add_argument("--steps", type=int, default=5, help="at least so many are timed; the median counts")
    parser.add_argument("--seconds", type=float, default=0.0, help="and at least for so long")
    parser.add_argument("--warmup", type=int, default=2)
    parser.add_argument("--inner", action="store_true", help=argparse.SUPPRESS)
    return parser.parse_args()


def configurations(args):
    layouts = LAYOUTS if args.layout == "auto" else args.layout.split(",")
    for model, precision, threads in itertools.product(
        args.model.split(","), args.precision.split(","), args.threads.split(",")
    ):
        for layout in layouts[:1] if model.startswith("vit") else layouts:
            yield {"model": model, "precision": precision, "threads": threads, "layout": layout}


def main():
    args = parse()
    if args.inner:
        args.threads = int(args.threads)
        return measure(args)
    keep = ("batch", "image_size", "classes", "steps", "seconds", "warmup")
    common = [f"--{key.replace('_', '-')}={getattr(args, key)}" for key in keep]
    for config in configurations(args):
        command = [sys.executable, os.path.abspath(__file__), "--inner", *common]
        command += [f"--{key}={value}" for key, value in config.items()]
        subprocess.run(command, env=machine.torch_environment(config["threads"]), check=True)


if __name__ == "__main__":
    main()
