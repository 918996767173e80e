#!/usr/bin/python3
"""Trains PyTorch on CIFAR-10 (binary version) with one of Lamina's recipes, to compare accuracy.

    /usr/bin/python3 bench/peers/torch_accuracy.py --recipe assets/recipes/cifar10-resnet32.ini \
        --data data/cifar10 --seed 1

The recipe is the very file that classify-train reads. Where it says nothing, Lamina's defaults hold; what this
script cannot do is refused. Norms of transformers, class token and positions have no weight decay, as in
lib/graph. Prints one JSON line an epoch and a `result` line at the end.
"""

import argparse
import configparser
import glob
import json
import math
import os
import sys
import time

import machine

DEFAULTS = {
    "data": "",
    "model": "resnet32",
    "batch": 128,
    "last-batch": "keep",
    "epochs": 10,
    "optimizer": "sgd",
    "lr": 0.0,
    "momentum": 0.9,
    "nesterov": "no",
    "weight-decay": 1e-4,
    "lr-schedule": "cosine",
    "warmup-epochs": 0.0,
    "clip-norm": 0.0,
    "label-smoothing": 0.0,
    "crop-pad": 0,
    "pad-mode": "reflect",
    "flip": "no",
}
ONLY = {"lr-schedule": ["cosine"], "pad-mode": ["reflect"], "optimizer": ["sgd", "adamw"]}
USUAL_RATE = {"sgd": 0.1, "adamw": 1e-3}
MEAN, DEVIATION = (0.49140, 0.48216, 0.44653), (0.24703, 0.24349, 0.26159)


def read_recipe(path):
    parser = configparser.ConfigParser()
    with open(path) as file:
        parser.read_file(file)
    recipe = dict(DEFAULTS)
    for section in parser.sections():
        for key, value in parser[section].items():
            if key not in DEFAULTS or value not in ONLY.get(key, [value]):
                raise SystemExit(f"{path}: this script cannot do {key} = {value}")
            recipe[key] = type(DEFAULTS[key])(value)
    recipe["lr"] = recipe["lr"] or USUAL_RATE[recipe["optimizer"]]
    return recipe


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


def augment(images, pad, flip, generator):
    """Random crops of the reflect-padded images, half of them mirrored if `flip`."""
    import torch
    import torch.nn.functional as F

    count, size = images.shape[0], images.shape[-1]
    padded = F.pad(images, (pad, pad, pad, pad), mode="reflect")
    dx = torch.randint(2 * pad + 1, (count, 1), generator=generator) + torch.arange(size)
    dy = torch.randint(2 * pad + 1, (count, 1), generator=generator) + torch.arange(size)
    mirrored = torch.rand(count, generator=generator) < (0.5 if flip else 0.0)
    dx[mirrored] = dx[mirrored].flip(1)
    n = torch.arange(count)[:, None, None, None]
    return padded[n, torch.arange(images.shape[1])[:, None, None], dy[:, None, :, None], dx[:, None, None, :]]


def make_optimizer(net, recipe):
    import torch

    plain = {k for k, _ in net.named_parameters() if "norm" in k or "tokens" in k}
    groups = [
        {"params": [p for k, p in net.named_parameters() if k not in plain], "weight_decay": recipe["weight-decay"]},
        {"params": [p for k, p in net.named_parameters() if k in plain], "weight_decay": 0.0},
    ]
    if recipe["optimizer"] == "sgd":
        return torch.optim.SGD(groups, recipe["lr"], recipe["momentum"], nesterov=recipe["nesterov"] == "yes")
    return torch.optim.AdamW(groups, recipe["lr"])


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


def train_step(net, optimizer, images, labels, recipe, args):
    import torch
    import torch.nn.functional as F

    optimizer.zero_grad(set_to_none=True)
    with torch.autocast("cpu", torch.bfloat16, enabled=args.precision == "bf16"):
        logits = net(images)
    loss = F.cross_entropy(logits.float(), labels, label_smoothing=recipe["label-smoothing"])
    loss.backward()
    if recipe["clip-norm"] > 0:
        torch.nn.utils.clip_grad_norm_(net.parameters(), recipe["clip-norm"])
    optimizer.step()
    return loss.item()


def train(args):
    import torch
    import torch_models

    torch.manual_seed(args.seed)
    generator = torch.Generator().manual_seed(args.seed)
    recipe = read_recipe(args.recipe)
    images, labels = load(args.data, "data_batch_*.bin")
    test_images, test_labels = load(args.data, "test_batch.bin")
    net = torch_models.create(recipe["model"])
    optimizer = make_optimizer(net, recipe)
    epochs, batch = args.epochs or recipe["epochs"], recipe["batch"]
    used = len(images) - (len(images) % batch if recipe["last-batch"] == "drop" else 0)
    per_epoch = math.ceil(used / batch)
    warmup = round(recipe["warmup-epochs"] * per_epoch)
    step, accuracy, start = 0, 0.0, time.monotonic()
    for epoch in range(epochs):
        order, total = torch.randperm(len(images), generator=generator), 0.0
        for chosen in order[:used].split(batch):
            for group in optimizer.param_groups:
                group["lr"] = learning_rate(recipe["lr"], step, warmup, epochs * per_epoch)
            x = augment(images[chosen], recipe["crop-pad"], recipe["flip"] == "yes", generator)
            total += train_step(net, optimizer, x, labels[chosen], recipe, args)
            step += 1
        accuracy = evaluate(net, test_images, test_labels, args)
        row = {"epoch": epoch + 1, "loss": total / per_epoch, "accuracy": accuracy}
        print(json.dumps({**row, "seconds": time.monotonic() - start}), flush=True)
    print(f"result: accuracy={accuracy:.4f} seconds={time.monotonic() - start:.0f}", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--recipe", required=True, help="one of assets/recipes for CIFAR-10")
    parser.add_argument("--data", required=True, help="folder of data_batch_*.bin and test_batch.bin")
    parser.add_argument("--precision", choices=("f32", "bf16"), default="f32")
    parser.add_argument("--epochs", type=int, help="instead of the recipe's")
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
