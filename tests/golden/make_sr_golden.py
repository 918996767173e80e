#!/usr/bin/python3
"""Makes tests/golden/edsr-small.json, which tests/gradient/parity_edsr_test.c compares Lamina with.

    /usr/bin/python3 tests/golden/make_sr_golden.py       (Debian's python3-torch; a minute)

As make_golden.py does for classifiers: loss and every parameter's gradient of one batch in double precision, and the losses
of the first 20 steps of Adam. The network is the plain EDSR of bench/peers/torch_models.py, with the input's nearest upscaling
added; weights and batches come from values.py: a batch's images are the large ones, every second pixel of them is the small one.

The batch for the gradients is searched for: one where no input of a ReLU, and no difference from the target, comes
near zero.
"""

import json
import os

import numpy as np
import torch
import torch.nn.functional as F

import values
from make_golden import describe, digits, relative, torch_models

HERE = os.path.dirname(os.path.abspath(__file__))
MODEL, SCALE, SIZE, CLASSES = "edsr-small", 2, 32, 10
STEPS, GRADIENT_BATCH, BATCH, LEARNING_RATE, CANDIDATES = 20, 1, 4, 1e-3, 200


margins = []


def note_margin(module, inputs, output):
    margins.append(output.detach().abs().min().item())


def create(dtype):
    net = torch_models.create_sr(MODEL, SCALE)
    for unit in net.body:
        unit.conv1.register_forward_hook(note_margin)
    with torch.no_grad():
        for key, p in net.named_parameters():
            shape = (p.shape[0], p.numel() // p.shape[0]) if p.dim() > 1 else tuple(p.shape)
            p.copy_(torch.from_numpy(values.parameter(key, shape)).reshape(p.shape))
            if key.endswith("conv2.weight") or key.endswith("out.weight"):
                p *= 0.25  # well conditioned, as values.py says
    return net.to(dtype)


def load_batch(number, size, dtype):
    images, _ = values.batch(number, size, 3, SIZE, CLASSES)
    target = torch.from_numpy(images).to(dtype)
    return target[:, :, ::SCALE, ::SCALE].contiguous(), target


def margin(number):
    margins.clear()
    image, target = load_batch(number, GRADIENT_BATCH, torch.float32)
    with torch.no_grad():
        margins.append((create.net(image) - target).abs().min().item())
    return min(margins)


def gradients(number, dtype):
    net = create(dtype)
    image, target = load_batch(number, GRADIENT_BATCH, dtype)
    loss = F.l1_loss(net(image), target)
    loss.backward()
    return loss.item(), {k: p.grad.numpy() for k, p in net.named_parameters()}


def losses(dtype):
    net = create(dtype)
    optimizer = torch.optim.Adam(net.parameters(), LEARNING_RATE)
    result = []
    for step in range(STEPS):
        image, target = load_batch(step, BATCH, dtype)
        optimizer.zero_grad()
        loss = F.l1_loss(net(image), target)
        loss.backward()
        optimizer.step()
        result.append(loss.item())
    return result


def main():
    create.net = create(torch.float32)
    number = max(range(CANDIDATES), key=margin)
    loss, double = gradients(number, torch.float64)
    _, single = gradients(number, torch.float32)
    double_losses, single_losses = losses(torch.float64), losses(torch.float32)
    golden = {
        "model": MODEL,
        "scale": SCALE,
        "image_size": SIZE,
        "classes": CLASSES,
        "gradient_batch": GRADIENT_BATCH,
        "gradient_batch_number": number,
        "batch": BATCH,
        "learning_rate": LEARNING_RATE,
        "float32": {
            "worst_gradient": max(relative(single[k], g) for k, g in double.items()),
            "worst_loss": max(abs(a / b - 1) for a, b in zip(single_losses, double_losses)),
            "margin": margin(number),
        },
        "losses": digits(double_losses),
        "loss": loss,
        "gradients": [describe(k, g) for k, g in double.items()],
    }
    text = json.dumps(golden, separators=(",", ":")).replace('{"name"', '\n{"name"')
    with open(os.path.join(HERE, "edsr-small.json"), "w") as file:
        file.write(text + "\n")
    print("batch", number, golden["float32"])


if __name__ == "__main__":
    main()
