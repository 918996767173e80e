#!/usr/bin/python3
"""Trains PyTorch on CIFAR-10 (binary version) with the recipes that Lamina's accuracy is compared on.

    /usr/bin/python3 bench/peers/torch_accuracy.py --data /data/cifar10 --recipe resnet32 --seed 1

resnet32: batch 128, SGD Nesterov 0.9, learning rate 0.1, cosine after one epoch of linear warm-up, weight decay
1e-4. vit-tiny: batch 128, AdamW 1e-3, the same schedule, weight decay 0.05 on all but norms, class token and
positions, gradients clipped at norm 1. Both: reflect-pad 4, random crop, flip; the last uneven batch of an epoch
is left out. Prints one JSON line an epoch and a `result` line at the end.
"""

import argparse
import glob
import json
import math
import os
import sys
import time

import machine

RECIPES = {
    "resnet32": {"optimizer": "sgd", "learning_rate": 0.1, "weight_decay": 1e-4, "clip": 0.0},
    "vit-tiny": {"optimizer": "adamw", "learning_rate": 1e-3, "weight_decay": 0.05, "clip": 1.0},
    "vit-micro": {"optimizer": "adamw", "learning_rate": 1e-3, "weight_decay": 0.05, "clip": 1.0},
}
MEAN, DEVIATION = (0.49140, 0.48216, 0.44653), (0.24703, 0.24349, 0.26159)


def load(folder, pattern):
    """Images as normalised float32 [N, 3, 32, 32], and labels."""
    import numpy as np
    import torch

    paths = sorted(glob.glob(os.path.join(folder, pattern)))
    if not paths:
        raise SystemExit(f"{folder}: no {pattern}")
    records = np.concatenate([np.fromfile(path, np.uint8).reshape(-1, 3073) for path in paths])
    images = torch.from_numpy(records[:, 1:].reshape(-1, 3, 32, 32)).float().div_(255)
    images.sub_(torch.tensor(MEAN).view(1, 3, 1, 1)).div_(torch.tensor(DEVIATION).view(1, 3, 1, 1))
    return images, torch.from_numpy(records[:, 0].astype(np.int64))


def augment(images, generator):
    """Random crops of the reflect-padded images, half of them mirrored."""
    import torch
    import torch.nn.functional as F

    count = images.shape[0]
    padded = F.pad(images, (4, 4, 4, 4), mode="reflect")
    dx = torch.randint(9, (count, 1), generator=generator) + torch.arange(32)
    dy = torch.randint(9, (count, 1), generator=generator) + torch.arange(32)
    flip = torch.rand(count, generator=generator) < 0.5
    dx[flip] = dx[flip].flip(1)
    n = torch.arange(count)[:, None, None, None]
    return padded[n, torch.arange(3)[:, None, None], dy[:, None, :, None], dx[:, None, None, :]]


def make_optimizer(net, recipe):
    import torch

    if recipe["optimizer"] == "sgd":
        return torch.optim.SGD(
            net.parameters(), recipe["learning_rate"], 0.9, nesterov=True, weight_decay=recipe["weight_decay"]
        )
    plain = {k for k, _ in net.named_parameters() if "norm" in k or "tokens" in k}
    groups = [
        {"params": [p for k, p in net.named_parameters() if k not in plain], "weight_decay": recipe["weight_decay"]},
        {"params": [p for k, p in net.named_parameters() if k in plain], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, recipe["learning_rate"])


def learning_rate(base, step, warmup, steps):
    if step < warmup:
        return base * (step + 1) / warmup
    return base * 0.5 * (1 + math.cos(math.pi * (step - warmup) / (steps - warmup)))


def evaluate(net, images, labels, args):
    import torch

    net.eval()
    right = 0
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16, enabled=args.precision == "bf16"):
        for x, y in zip(images.split(500), labels.split(500)):
            right += (net(x).argmax(1) == y).sum().item()
    net.train()
    return right / len(labels)


def train(args):
    import torch
    import torch.nn.functional as F
    import torch_models

    torch.manual_seed(args.seed)
    generator = torch.Generator().manual_seed(args.seed)
    recipe = RECIPES[args.recipe]
    images, labels = load(args.data, "data_batch_*.bin")
    test_images, test_labels = load(args.data, "test_batch.bin")
    net = torch_models.create(args.recipe)
    optimizer = make_optimizer(net, recipe)
    per_epoch = len(images) // args.batch
    steps, step, accuracy, start = args.epochs * per_epoch, 0, 0.0, time.monotonic()
    for epoch in range(args.epochs):
        order, total = torch.randperm(len(images), generator=generator), 0.0
        for chosen in order[: per_epoch * args.batch].split(args.batch):
            for group in optimizer.param_groups:
                group["lr"] = learning_rate(recipe["learning_rate"], step, per_epoch, steps)
            optimizer.zero_grad(set_to_none=True)
            with torch.autocast("cpu", torch.bfloat16, enabled=args.precision == "bf16"):
                logits = net(augment(images[chosen], generator))
            loss = F.cross_entropy(logits.float(), labels[chosen])
            loss.backward()
            if recipe["clip"] > 0:
                torch.nn.utils.clip_grad_norm_(net.parameters(), recipe["clip"])
            optimizer.step()
            total, step = total + loss.item(), step + 1
        accuracy = evaluate(net, test_images, test_labels, args)
        row = {"epoch": epoch + 1, "loss": total / per_epoch, "accuracy": accuracy}
        print(json.dumps({**row, "seconds": time.monotonic() - start}), flush=True)
    print(f"result: accuracy={accuracy:.4f} seconds={time.monotonic() - start:.0f}", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data", required=True, help="folder of data_batch_*.bin and test_batch.bin")
    parser.add_argument("--recipe", choices=sorted(RECIPES), default="resnet32")
    parser.add_argument("--precision", choices=("f32", "bf16"), default="f32")
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--inner", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if not args.inner:
        program = [sys.executable, os.path.abspath(__file__), "--inner", *sys.argv[1:]]
        os.execve(sys.executable, program, machine.torch_environment(args.threads))
    train(args)


if __name__ == "__main__":
    main()
