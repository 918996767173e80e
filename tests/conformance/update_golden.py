#!/usr/bin/python3
"""Prints the golden table of update_test.c: parameters after five steps of PyTorch's optimizers.

Needs python3-torch. Parameter i begins as cos(i); its gradient in step t (from 1) is sin(1.3 i + 0.7 t)."""
import math
import torch

OPTIMIZERS = {
    "sgd": lambda p: torch.optim.SGD(p, lr=0.1),
    "sgd_decay": lambda p: torch.optim.SGD(p, lr=0.1, weight_decay=0.05),
    "sgd_momentum": lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9, weight_decay=0.05),
    "sgd_nesterov": lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9, weight_decay=0.05, nesterov=True),
    "adam": lambda p: torch.optim.Adam(p, lr=0.01, betas=(0.9, 0.95), weight_decay=0.1),
    "adamw": lambda p: torch.optim.AdamW(p, lr=0.01, betas=(0.9, 0.95), weight_decay=0.1),
}

for name, make in OPTIMIZERS.items():
    p = torch.tensor([math.cos(i) for i in range(4)], dtype=torch.float64, requires_grad=True)
    optimizer = make([p])
    for t in range(1, 6):
        p.grad = torch.tensor([math.sin(1.3 * i + 0.7 * t) for i in range(4)], dtype=torch.float64)
        optimizer.step()
    print(f"    /* {name} */ {{" + ", ".join(f"{v:.9f}" for v in p.tolist()) + "},")
