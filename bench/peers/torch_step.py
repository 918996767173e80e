#!/usr/bin/python3
"""Times a whole training step of PyTorch (forward, loss, backward, optimizer; no data loading).

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


def size_of(text):
    """Width and height of "32" or "320x240"."""
    sides = [int(side) for side in text.split("x")]
    return sides[0], sides[-1]


def classifier(args):
    """A network, its input, the loss of what it gives, and its optimizer."""
    import torch
    import torch.nn.functional as F
    import torch_models

    width, height = size_of(args.image_size or "32")
    net = torch_models.create(args.model, width, 3, args.classes)
    labels = torch.randint(args.classes, (args.batch,))
    if args.model.startswith("vit"):
        optimizer = lambda parameters: torch.optim.AdamW(parameters, 1e-3, weight_decay=0.05)
    else:
        optimizer = lambda parameters: torch.optim.SGD(parameters, 1e-3, 0.9, nesterov=True, weight_decay=1e-4)
    loss = lambda logits: F.cross_entropy(logits.float(), labels)
    return net, torch.randn(args.batch, 3, height, width), loss, optimizer


def detector(args):
    """Boxes and classes are made up: 12 positives for each of 4 objects an image."""
    import torch
    import torch_models

    width, height = size_of(args.image_size or "320x320")
    net = torch_models.create_detector(args.model, args.classes)
    images = torch.randn(args.batch, 3, height, width)
    with torch.no_grad():
        anchor_count = net(images[:1])[0].shape[1]
    anchors = torch.rand(anchor_count, 4) * 100
    anchors[:, 2:] = anchors[:, :2] + 20 + anchors[:, 2:]
    labels = torch.full((args.batch, anchor_count), -1)
    labels[:, torch.randperm(anchor_count)[:48]] = torch.randint(args.classes, (args.batch, 48))
    corners = anchors.expand(args.batch, -1, -1) + 3
    loss = lambda out: torch_models.detection_loss(out[0].float(), out[1].float(), anchors, labels, corners)
    optimizer = lambda parameters: torch.optim.AdamW(parameters, 1e-3, weight_decay=1e-4)
    return net, images, loss, optimizer


def upscaler(args):
    """Twice as large; --image-size is that of the small images."""
    import torch
    import torch.nn.functional as F
    import torch_models

    width, height = size_of(args.image_size or "48")
    target = torch.rand(args.batch, 3, 2 * height, 2 * width)
    loss = lambda image: F.l1_loss(image.float(), target)
    optimizer = lambda parameters: torch.optim.Adam(parameters, 1e-4)
    return torch_models.create_sr(args.model), torch.rand(args.batch, 3, height, width), loss, optimizer


def task_of(model):
    return detector if model.startswith("retinanet") else upscaler if model.startswith("edsr") else classifier


def make_step(args):
    """A function that does one training step."""
    import torch

    torch.manual_seed(1)
    net, images, loss, optimizer = task_of(args.model)(args)
    if args.precision == "bf16-pure":
        net, images = net.bfloat16(), images.bfloat16()
    if args.layout == "nhwc":
        net, images = net.to(memory_format=torch.channels_last), images.to(memory_format=torch.channels_last)
    optimizer = optimizer(net.parameters())

    def step():
        optimizer.zero_grad(set_to_none=True)
        with torch.autocast("cpu", torch.bfloat16, enabled=args.precision == "bf16"):
            out = net(images)
        loss(out).backward()
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
    parser.add_argument("--model", default="resnet32", help="resnet32, vit-tiny, retinanet-tiny, edsr-baseline, ...; a list")
    parser.add_argument("--precision", default="f32", help=", ".join(PRECISIONS) + "; a list")
    parser.add_argument("--layout", default="auto", help=", ".join(LAYOUTS) + ", auto; a list")
    parser.add_argument("--threads", default="2", help="a list")
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--image-size", default="", help="32, 320x240; else the usual one")
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
