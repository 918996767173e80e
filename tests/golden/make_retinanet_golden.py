#!/usr/bin/python3
"""Makes tests/golden/retinanet-tiny.json, which tests/gradient/parity_retinanet_test.c compares Lamina with.

    /usr/bin/python3 tests/golden/make_retinanet_golden.py         (Debian's python3-torch; some minutes)

The plain RetinaNet of bench/peers/torch_models.py in double precision: for each box loss the outputs, the
loss and every parameter's gradient of one batch, evaluation outputs with the running statistics after that batch, and
the losses of some steps of an optimizer. Boxes are made, too, and anchors and their targets, by the definitions and
without thought of speed, so that assignment is compared with them.

As in make_golden.py the batch for the gradients is searched for: one where no input of a ReLU comes near zero.
In every batch overlaps keep away from what decides: the thresholds, and a tie for the best anchor of a box.
"""

import json
import os
import sys

import numpy as np
import torch
import torch.nn.functional as F

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)
import make_golden  # noqa: E402
import values  # noqa: E402
from make_golden import describe, digits, relative, torch_models  # noqa: E402

MODEL, WIDTH, HEIGHT, CLASSES, BOXES = "retinanet-tiny", 96, 64, 3, 3
CELL = 8  # pixels of a square of the images' coarse part
STRIDES, RATIOS = (8, 16, 32), (0.5, 1.0, 2.0)
SIZES = ((12, 15, 19), (24, 30, 38), (48, 60, 76))
POSITIVE, NEGATIVE, ALPHA, GAMMA, BETA = 0.5, 0.4, 0.25, 2.0, 1.0 / 9
GRADIENT_BATCH, BATCH, STEPS, CANDIDATES, FULL = 2, 4, 10, 400, 32
CASES = {
    "giou": {"optimizer": "adamw", "learning_rate": 2e-4, "weight_decay": 0.05},
    "smooth-l1": {"optimizer": "sgd", "learning_rate": 0.002, "weight_decay": 1e-4},
}


# ---- weights and batches ----


def parameter(name, shape):
    """values.parameter, but for the head: its convolutions are as wide as others but for the last ones of the
    subnets, and its classes start out as background."""
    value = values.parameter(name, shape)
    if name.startswith("head.") and name.endswith("weight") and ".out." not in name:
        value = value * np.float32(4)
    if name == "head.classes.out.bias":
        value = value - np.float32(4)
    return value


def boxes_of(number, index):
    """Corners in 64ths of a pixel, so that they are exact, and classes; the sides are 10 to 60 pixels."""
    words = values.words("boxes", number * 64 + index, 5 * BOXES).astype(np.int64).reshape(BOXES, 5)
    width, height = 640 + words[:, 2] % 2560, 640 + words[:, 3] % 2560
    x0, y0 = words[:, 0] % (64 * WIDTH - width), words[:, 1] % (64 * HEIGHT - height)
    return np.stack([x0, y0, x0 + width, y0 + height], 1) / 64.0, words[:, 4] % CLASSES


def image_of(number, index):
    """Coarse squares, boxes in a pattern of their class, and noise of each pixel."""
    coarse = values.uniform("coarse", number * 64 + index, 3 * (HEIGHT // CELL) * (WIDTH // CELL))
    image = coarse.reshape(3, HEIGHT // CELL, WIDTH // CELL).repeat(CELL, 1).repeat(CELL, 2)
    for box, label in zip(*boxes_of(number, index)):
        x0, y0, x1, y1 = (int(v) for v in box)
        pattern = values.uniform("pattern", int(label), 3 * 16).reshape(3, 4, 4)
        image[:, y0:y1, x0:x1] = pattern[:, np.arange(y1 - y0)[:, None] // 4 % 4, np.arange(x1 - x0) // 4 % 4]
    fine = values.uniform("fine", number * 64 + index, image.size).reshape(image.shape)
    return image + np.float32(0.25) * fine


def anchors():
    """[A, 4] corners: level, row, column, size, ratio."""
    rows = []
    for stride, sizes in zip(STRIDES, SIZES):
        for y in range(-(-HEIGHT // stride)):
            for x in range(-(-WIDTH // stride)):
                for size in sizes:
                    for ratio in RATIOS:
                        w, h = size / np.sqrt(ratio), size * np.sqrt(ratio)
                        cx, cy = (x + 0.5) * stride, (y + 0.5) * stride
                        rows.append((cx - w / 2, cy - h / 2, cx + w / 2, cy + h / 2))
    return np.array(rows)


def overlaps(a, b):
    """IoU of all of a with all of b."""
    low, high = np.maximum(a[:, None, :2], b[None, :, :2]), np.minimum(a[:, None, 2:], b[None, :, 2:])
    shared = np.prod(np.clip(high - low, 0, None), 2)
    area = [np.prod(v[:, 2:] - v[:, :2], 1) for v in (a, b)]
    return shared / (area[0][:, None] + area[1][None, :] - shared)


def assign(boxes):
    """The box of each anchor; -1 is background, -2 ignored; and how far all overlaps are from deciding otherwise."""
    iou = overlaps(ANCHORS, boxes)
    order, best = np.sort(iou, 1), iou.max(1)
    margin = min(np.abs(best - POSITIVE).min(), np.abs(best - NEGATIVE).min())
    near = best > NEGATIVE
    margin = min(margin, (order[near, -1] - order[near, -2]).min())
    chosen = np.where(best >= POSITIVE, iou.argmax(1), np.where(best >= NEGATIVE, -2, -1))
    for b in range(len(boxes)):
        column = np.sort(iou[:, b])
        margin = min(margin, column[-1] - column[-2])
        chosen[iou[:, b].argmax()] = b
    if len(set(iou.argmax(0))) < len(boxes):
        margin = 0  # a fight for an anchor: not here
    return chosen, margin


def encode(anchor, box):
    size = anchor[:, 2:] - anchor[:, :2]
    shift = ((box[:, :2] + box[:, 2:]) - (anchor[:, :2] + anchor[:, 2:])) / 2 / size
    return np.concatenate([shift, np.log((box[:, 2:] - box[:, :2]) / size)], 1)


def load_batch(number, size, dtype):
    images, classes, corners, deltas, weights = [], [], [], [], []
    for i in range(size):
        boxes, labels = boxes_of(number, i)
        chosen, margin = assign(boxes)
        if margin < 1e-5:
            return None
        positive = chosen >= 0
        weight = positive / max(1, positive.sum())
        images.append(image_of(number, i))
        classes.append(np.where(positive, labels[chosen], chosen))
        corners.append(boxes[chosen] * positive[:, None])
        deltas.append(encode(ANCHORS, boxes[chosen]) * positive[:, None])
        weights.append(weight)
    tensor = [torch.from_numpy(np.stack(v)).to(dtype) for v in (images, corners, deltas, weights)]
    return {
        "images": tensor[0],
        "classes": torch.from_numpy(np.stack(classes)),
        "corners": tensor[1],
        "deltas": tensor[2],
        "weights": tensor[3],
    }


# ---- the network ----


def create(dtype):
    net = torch_models.create_detector(MODEL, CLASSES)
    with torch.no_grad():
        for key, p in net.named_parameters():
            shape = (p.shape[0], p.numel() // p.shape[0]) if p.dim() > 1 else tuple(p.shape)
            p.copy_(torch.from_numpy(parameter(key, shape)).reshape(p.shape))
    return net.to(dtype)


# ---- losses: per image, then the mean over the batch ----


def giou_loss(deltas, batch):
    boxes = torch_models.decode(deltas, torch.from_numpy(ANCHORS).to(deltas.dtype))
    return (batch["weights"] * (1 - torch_models.giou(boxes, batch["corners"]))).sum(1).mean()


def smooth_l1_loss(deltas, batch):
    each = F.smooth_l1_loss(deltas, batch["deltas"], reduction="none", beta=BETA).sum(2)
    return (batch["weights"] * each).sum(1).mean()


def loss_of(kind, net, batch):
    classes, deltas = net(batch["images"])
    box_loss = {"giou": giou_loss, "smooth-l1": smooth_l1_loss}[kind]
    return torch_models.focal_loss(classes, batch["classes"], ALPHA, GAMMA) + box_loss(deltas, batch)


# ---- what is kept ----


def find_batch():
    net, best, number = create(torch.float32), -1.0, 0
    for candidate in range(CANDIDATES):
        batch = load_batch(candidate, GRADIENT_BATCH, torch.float32)
        margin = make_golden.relu_margin(net, batch["images"]) if batch else -1.0
        if margin > best:
            best, number = margin, candidate
    return number, best


def gradients(kind, number, dtype):
    net, batch = create(dtype), load_batch(number, GRADIENT_BATCH, dtype)
    loss = loss_of(kind, net, batch)
    loss.backward()
    net.eval()
    with torch.no_grad():
        classes, deltas = net(batch["images"])
    return {
        "loss": loss.item(),
        "outputs": {"classes": classes.numpy(), "deltas": deltas.numpy()},
        "gradients": {k: p.grad.numpy() for k, p in net.named_parameters()},
    }


def losses(kind, numbers, dtype):
    net, spec, result = create(dtype), CASES[kind], []
    if spec["optimizer"] == "sgd":
        step = torch.optim.SGD(net.parameters(), spec["learning_rate"], 0.9, nesterov=True)
        step.param_groups[0]["weight_decay"] = spec["weight_decay"]
    else:
        step = torch.optim.AdamW(net.parameters(), spec["learning_rate"], weight_decay=spec["weight_decay"])
    for number in numbers:
        step.zero_grad()
        loss = loss_of(kind, net, load_batch(number, BATCH, dtype))
        loss.backward()
        step.step()
        result.append(loss.item())
    return result


def make(kind, number, numbers):
    double, single = (gradients(kind, number, t) for t in (torch.float64, torch.float32))
    double_losses, single_losses = (losses(kind, numbers, t) for t in (torch.float64, torch.float32))
    worst = max((relative(single["gradients"][k], g), k) for k, g in double["gradients"].items())
    print(kind, "float32: worst gradient", worst, "losses", double_losses)
    return {
        "box_loss": kind,
        **CASES[kind],
        "float32": {
            "worst_gradient": worst[0],
            "worst_loss": max(abs(a / b - 1) for a, b in zip(single_losses, double_losses)),
        },
        "losses": digits(double_losses),
        "loss": double["loss"],
        "outputs": [describe(k, v, FULL) for k, v in double["outputs"].items()],
        "gradients": [describe(k, g, FULL) for k, g in double["gradients"].items()],
    }


def main():
    number, margin = find_batch()
    numbers = [n for n in range(100) if load_batch(n, BATCH, torch.float32)][:STEPS]
    golden = {
        "model": MODEL,
        "width": WIDTH,
        "height": HEIGHT,
        "classes": CLASSES,
        "anchors": "/".join(",".join(str(s) for s in level) for level in SIZES),
        "gradient_batch": GRADIENT_BATCH,
        "gradient_batch_number": number,
        "relu_margin": margin,
        "batch": BATCH,
        "batch_numbers": numbers,
        "cases": [make(kind, number, numbers) for kind in CASES],
    }
    text = json.dumps(golden, separators=(",", ":")).replace('{"name"', '\n{"name"').replace('{"box', '\n{"box')
    with open(os.path.join(HERE, MODEL + ".json"), "w") as file:
        file.write(text + "\n")
    print("batch", number, "margin", margin, "training batches", numbers)


ANCHORS = anchors()
if __name__ == "__main__":
    main()
