#!/usr/bin/python3
"""Makes the golden files that tests/gradient/parity_*_test.c compare Lamina with.

    /usr/bin/python3 tests/golden/make_golden.py [MODEL...]       (Debian's python3-torch; some minutes)

For each model: logits, loss and every parameter's gradient of one batch, evaluation logits with the running
statistics after that batch, and the losses of 20 steps of the optimizer. PyTorch computes all in double
precision, so that the files hold the truth and not one library's rounding; "float32" beside them says how far
PyTorch itself is from it in single precision. Gradients are kept as a norm, inner products with random signs,
and, where they are short, in full.

The batch for the gradients is searched for: one where no input of a ReLU comes near zero. Where one does,
rounding decides whether the ReLU is open, and one that is open in one library and shut in the other moves
gradients by 1e-3, which says nothing about either.
"""

import json
import os
import sys

import numpy as np
import torch
import torch.nn.functional as F

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "..", "bench", "peers"))
import torch_models  # noqa: E402
import values  # noqa: E402

STEPS, CHANNELS, CLASSES, IMAGE_SIZE, FULL = 20, 3, 10, 32, 256
WARMUP = 156  # one epoch of 20,000 images in batches of 128, as in the CIFAR-10 recipe
CANDIDATES = 500
MODELS = {
    "resnet32": {"gradient_batch": 4, "batch": 16, "optimizer": "sgd", "learning_rate": 0.1, "warmup": WARMUP},
    "resnet18": {"gradient_batch": 2, "batch": 8, "optimizer": "sgd", "learning_rate": 0.1, "warmup": WARMUP},
    "vit-tiny": {"gradient_batch": 8, "batch": 8, "optimizer": "adamw", "learning_rate": 1e-3, "warmup": 0},
}


def create(name, dtype):
    net = torch_models.create(name, IMAGE_SIZE, CHANNELS, CLASSES)
    with torch.no_grad():
        for key, p in net.named_parameters():
            shape = (p.shape[0], p.numel() // p.shape[0]) if p.dim() > 1 else tuple(p.shape)
            p.copy_(torch.from_numpy(values.parameter(key, shape)).reshape(p.shape))
    return net.to(dtype)


def load_batch(number, size, dtype):
    images, labels = values.batch(number, size, CHANNELS, IMAGE_SIZE, CLASSES)
    return torch.from_numpy(images).to(dtype), torch.from_numpy(labels)


def make_optimizer(net, spec):
    if spec["optimizer"] == "sgd":
        return torch.optim.SGD(net.parameters(), spec["learning_rate"], 0.9, nesterov=True, weight_decay=1e-4)
    plain = [p for k, p in net.named_parameters() if "norm" in k or "tokens" in k]
    decayed = [p for k, p in net.named_parameters() if not ("norm" in k or "tokens" in k)]
    groups = [{"params": decayed, "weight_decay": 0.05}, {"params": plain, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, spec["learning_rate"])


def set_learning_rate(optimizer, spec, step):
    share = min(1.0, (step + 1) / spec["warmup"]) if spec["warmup"] else 1.0
    for group in optimizer.param_groups:
        group["lr"] = spec["learning_rate"] * share


def relu_margin(net, images):
    """The smallest magnitude at the input of any ReLU; infinite without ReLUs."""
    smallest = [float("inf")]
    relu = F.relu

    def watch(x, inplace=False):
        smallest[0] = min(smallest[0], x.abs().min().item())
        return relu(x, inplace)

    torch_models.F.relu = watch
    with torch.no_grad():
        net(images)
    torch_models.F.relu = relu
    return smallest[0]


def find_batch(name, size):
    """Number of the batch whose ReLUs keep farthest from zero, and how far."""
    net = create(name, torch.float32)
    best, number = relu_margin(net, load_batch(0, size, torch.float32)[0]), 0
    for candidate in range(1, CANDIDATES if best < float("inf") else 1):
        margin = relu_margin(net, load_batch(candidate, size, torch.float32)[0])
        if margin > best:
            best, number = margin, candidate
    return number, best


def gradients(name, number, size, dtype):
    net = create(name, dtype)
    images, labels = load_batch(number, size, dtype)
    logits = net(images)
    loss = F.cross_entropy(logits, labels)
    loss.backward()
    net.eval()
    with torch.no_grad():
        eval_logits = net(images).numpy()
    return {
        "loss": loss.item(),
        "logits": logits.detach().numpy(),
        "eval_logits": eval_logits,
        "gradients": {k: p.grad.numpy() for k, p in net.named_parameters()},
    }


def losses(name, spec, dtype):
    net = create(name, dtype)
    optimizer = make_optimizer(net, spec)
    result = []
    for step in range(STEPS):
        images, labels = load_batch(step, spec["batch"], dtype)
        optimizer.zero_grad()
        set_learning_rate(optimizer, spec, step)
        loss = F.cross_entropy(net(images), labels)
        loss.backward()
        optimizer.step()
        result.append(loss.item())
    return result


def relative(a, b):
    return float(np.linalg.norm((a - b).ravel()) / np.linalg.norm(b.ravel()))


def digits(array):
    return [float(f"{x:.9g}") for x in np.asarray(array, np.float64).ravel()]


def describe(name, gradient, full=FULL):
    row = {
        "name": name,
        "count": int(gradient.size),
        "norm": float(np.linalg.norm(gradient.ravel())),
        "projections": digits(values.projections(name, gradient)),
    }
    if gradient.size <= full:
        row["values"] = digits(gradient)
    return row


def make(name, spec):
    number, margin = find_batch(name, spec["gradient_batch"])
    double, single = (gradients(name, number, spec["gradient_batch"], t) for t in (torch.float64, torch.float32))
    double_losses, single_losses = (losses(name, spec, t) for t in (torch.float64, torch.float32))
    worst = max(relative(single["gradients"][k], g) for k, g in double["gradients"].items())
    return {
        "model": name,
        "image_size": IMAGE_SIZE,
        "channels": CHANNELS,
        "classes": CLASSES,
        **spec,
        "gradient_batch_number": number,
        "float32": {
            "logits": relative(single["logits"], double["logits"]),
            "worst_gradient": worst,
            "worst_loss": max(abs(a - b) for a, b in zip(single_losses, double_losses)),
            "relu_margin": margin if margin < float("inf") else None,
        },
        "losses": digits(double_losses),
        "loss": double["loss"],
        "logits": digits(double["logits"]),
        "eval_logits": digits(double["eval_logits"]),
        "gradients": [describe(k, g) for k, g in double["gradients"].items()],
    }


def main():
    for name in sys.argv[1:] or MODELS:
        golden = make(name, MODELS[name])
        text = json.dumps(golden, separators=(",", ":")).replace('{"name"', '\n{"name"')
        with open(os.path.join(HERE, name + ".json"), "w") as file:
            file.write(text + "\n")
        print(name, "batch", golden["gradient_batch_number"], golden["float32"])


if __name__ == "__main__":
    main()
