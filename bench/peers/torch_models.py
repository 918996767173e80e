"""The networks of lib/nn in plain PyTorch, with the same parameter names in the same units.

Written from the papers, not for speed at any price but as a careful user of PyTorch would write them: in-place
ReLUs, no bias before batch norm, one product for query, key and value. Weights are initialised as lib/nn does.
"""

import math

import torch
from torch import nn
import torch.nn.functional as F


def conv(inputs, outputs, kernel, stride=1):
    layer = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, bias=False)
    nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")
    return layer


class Residual(nn.Module):
    """A basic or a bottleneck unit; a shortcut that changes shape is a projection."""

    def __init__(self, inputs, width, stride, bottleneck):
        super().__init__()
        outputs = 4 * width if bottleneck else width
        if bottleneck:
            self.conv1, self.conv2 = conv(inputs, width, 1), conv(width, width, 3, stride)
            self.conv3, self.bn3 = conv(width, outputs, 1), nn.BatchNorm2d(outputs)
        else:
            self.conv1, self.conv2 = conv(inputs, width, 3, stride), conv(width, width, 3)
        self.bn1, self.bn2 = nn.BatchNorm2d(width), nn.BatchNorm2d(width)
        self.bottleneck = bottleneck
        if stride != 1 or inputs != outputs:
            self.downsample = nn.Sequential(conv(inputs, outputs, 1, stride), nn.BatchNorm2d(outputs))
        else:
            self.downsample = nn.Identity()

    def forward(self, x):
        y = F.relu(self.bn1(self.conv1(x)), inplace=True)
        y = self.bn2(self.conv2(y))
        if self.bottleneck:
            y = self.bn3(self.conv3(F.relu(y, inplace=True)))
        return F.relu(y + self.downsample(x), inplace=True)


class ConvStem(nn.Module):
    def __init__(self, channels, width, large):
        super().__init__()
        self.conv1 = conv(channels, width, 7, 2) if large else conv(channels, width, 3)
        self.bn1 = nn.BatchNorm2d(width)
        self.large = large

    def forward(self, x):
        x = F.relu(self.bn1(self.conv1(x)), inplace=True)
        return F.max_pool2d(x, 3, 2, 1) if self.large else x


class PoolHead(nn.Module):
    def __init__(self, width, classes):
        super().__init__()
        self.fc = nn.Linear(width, classes)

    def forward(self, x):
        return self.fc(x.mean((2, 3)))


def resnet(channels, classes, units, widths, bottleneck=False, large=False):
    net = nn.Sequential()
    net.add_module("stem", ConvStem(channels, widths[0], large))
    inputs = widths[0]
    for s, (count, width) in enumerate(zip(units, widths)):
        stage = nn.Sequential()
        for i in range(count):
            stage.add_module(str(i), Residual(inputs, width, 2 if s > 0 and i == 0 else 1, bottleneck))
            inputs = 4 * width if bottleneck else width
        net.add_module(f"layer{s + 1}", stage)
    net.add_module("head", PoolHead(inputs, classes))
    return net


class Tokens(nn.Module):
    def __init__(self, patches, width):
        super().__init__()
        self.cls_token = nn.Parameter(torch.zeros(width))
        self.pos_embed = nn.Parameter(torch.zeros(patches + 1, width))
        nn.init.trunc_normal_(self.pos_embed, std=0.02)
        nn.init.trunc_normal_(self.cls_token, std=0.02)

    def forward(self, x):
        cls = self.cls_token.expand(x.shape[0], 1, -1)
        return torch.cat((cls.to(x.dtype), x), 1) + self.pos_embed


class PatchStem(nn.Module):
    def __init__(self, channels, image_size, patch, width):
        super().__init__()
        self.patch = nn.Conv2d(channels, width, patch, patch)
        self.tokens = Tokens((image_size // patch) ** 2, width)

    def forward(self, x):
        return self.tokens(self.patch(x).flatten(2).transpose(1, 2))


class Attention(nn.Module):
    def __init__(self, width, heads):
        super().__init__()
        self.heads = heads
        self.qkv, self.proj = nn.Linear(width, 3 * width), nn.Linear(width, width)

    def forward(self, x):
        n, t, d = x.shape
        q, k, v = self.qkv(x).reshape(n, t, 3, self.heads, d // self.heads).permute(2, 0, 3, 1, 4)
        scores = (q * (d // self.heads) ** -0.5) @ k.transpose(-2, -1)
        return self.proj((scores.softmax(-1) @ v).transpose(1, 2).reshape(n, t, d))


class Mlp(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, x):
        return self.fc2(F.gelu(self.fc1(x)))


class Layer(nn.Module):
    def __init__(self, width, heads):
        super().__init__()
        self.norm1, self.attn = nn.LayerNorm(width, eps=1e-6), Attention(width, heads)
        self.norm2, self.mlp = nn.LayerNorm(width, eps=1e-6), Mlp(width)

    def forward(self, x):
        x = x + self.attn(self.norm1(x))
        return x + self.mlp(self.norm2(x))


class TokenHead(nn.Module):
    def __init__(self, width, classes):
        super().__init__()
        self.norm, self.fc = nn.LayerNorm(width, eps=1e-6), nn.Linear(width, classes)

    def forward(self, x):
        return self.fc(self.norm(x[:, 0]))


def vit(channels, classes, image_size, width, heads, layers):
    patch = 4 if image_size <= 64 else 16
    net = nn.Sequential()
    net.add_module("stem", PatchStem(channels, image_size, patch, width))
    stack = nn.Sequential(*(Layer(width, heads) for _ in range(layers)))
    net.add_module("layers", stack)
    net.add_module("head", TokenHead(width, classes))
    for module in net.modules():
        if isinstance(module, nn.Linear):
            nn.init.trunc_normal_(module.weight, std=0.02)
            nn.init.zeros_(module.bias)
    return net


CIFAR = {"resnet20": 3, "resnet32": 5, "resnet44": 7, "resnet56": 9, "resnet110": 18}
IMAGENET = {
    "resnet18": ((2, 2, 2, 2), False),
    "resnet34": ((3, 4, 6, 3), False),
    "resnet50": ((3, 4, 6, 3), True),
    "resnet101": ((3, 4, 23, 3), True),
}
VIT = {"vit-micro": (64, 2, 4), "vit-tiny": (192, 3, 12), "vit-small": (384, 6, 12), "vit-base": (768, 12, 12)}


class Subnet(nn.Module):
    """Classes or boxes of all anchors, the same for each level: [N, A, k]."""

    def __init__(self, width, depth, per_cell, k):
        super().__init__()
        for i in range(depth):
            self.add_module(f"conv{i + 1}", nn.Conv2d(width, width, 3, 1, 1))
        self.out = nn.Conv2d(width, per_cell * k, 3, 1, 1)
        nn.init.normal_(self.out.weight, std=0.01)
        self.depth, self.k = depth, k

    def forward(self, levels):
        rows = []
        for x in levels:
            for i in range(self.depth):
                x = F.relu(getattr(self, f"conv{i + 1}")(x), inplace=True)
            rows.append(self.out(x).permute(0, 2, 3, 1).reshape(x.shape[0], -1, self.k))
        return torch.cat(rows, 1)


class RetinaHead(nn.Module):
    """Pyramid and subnets, on C3, C4, C5."""

    def __init__(self, inputs, width, depth, levels, per_cell, classes):
        super().__init__()
        for i, channels in enumerate(inputs):
            self.add_module(f"lateral{i + 3}", nn.Conv2d(channels, width, 1))
            self.add_module(f"output{i + 3}", nn.Conv2d(width, width, 3, 1, 1))
        self.levels = levels
        if levels > 3:
            self.p6, self.p7 = nn.Conv2d(inputs[2], width, 3, 2, 1), nn.Conv2d(width, width, 3, 2, 1)
        self.classes, self.boxes = Subnet(width, depth, per_cell, classes), Subnet(width, depth, per_cell, 4)
        nn.init.constant_(self.classes.out.bias, -math.log(99))

    def forward(self, c):
        p5 = self.lateral5(c[2])
        p4 = self.lateral4(c[1])
        p4 = p4 + F.interpolate(p5, size=p4.shape[2:], mode="nearest")
        p3 = self.lateral3(c[0])
        p3 = p3 + F.interpolate(p4, size=p3.shape[2:], mode="nearest")
        p = [self.output3(p3), self.output4(p4), self.output5(p5)]
        if self.levels > 3:
            p.append(self.p6(c[2]))
            p.append(self.p7(F.relu(p[3])))
        return self.classes(p), self.boxes(p)


class RetinaNet(nn.Module):
    def __init__(self, units, widths, bottleneck, width, depth, levels, per_cell, classes):
        super().__init__()
        backbone = resnet(3, classes, units, widths, bottleneck, True)
        for name, module in list(backbone.named_children())[:-1]:
            self.add_module(name, module)
        scale = 4 if bottleneck else 1
        self.head = RetinaHead([scale * w for w in widths[1:]], width, depth, levels, per_cell, classes)

    def forward(self, x):
        c2 = self.layer1(self.stem(x))
        c3 = self.layer2(c2)
        c4 = self.layer3(c3)
        return self.head((c3, c4, self.layer4(c4)))


def decode(deltas, anchors):
    """Corners of the boxes that deltas [N, A, 4] make of anchors [A, 4]."""
    size = anchors[:, 2:] - anchors[:, :2]
    centre = anchors[:, :2] + size / 2 + deltas[..., :2] * size
    half = size * deltas[..., 2:].clamp(max=math.log(1000 / 16)).exp() / 2
    return torch.cat((centre - half, centre + half), -1)


def giou(a, b):
    shared = (torch.min(a[..., 2:], b[..., 2:]) - torch.max(a[..., :2], b[..., :2])).clamp(min=0).prod(-1)
    union = (a[..., 2:] - a[..., :2]).prod(-1) + (b[..., 2:] - b[..., :2]).prod(-1) - shared
    around = (torch.max(a[..., 2:], b[..., 2:]) - torch.min(a[..., :2], b[..., :2])).prod(-1)
    return shared / (union + 1e-7) - (around - union) / (around + 1e-7)


def focal_loss(logits, labels, alpha=0.25, gamma=2):
    """Over each image's positives, at least 1. labels: class, -1 background, -2 ignored."""
    positive = labels >= 0
    target = torch.zeros_like(logits)
    target[positive] = F.one_hot(labels[positive], logits.shape[2]).to(logits.dtype)
    p = logits.sigmoid()
    right = p * target + (1 - p) * (1 - target)
    weight = alpha * target + (1 - alpha) * (1 - target)
    focal = weight * (1 - right) ** gamma * F.binary_cross_entropy_with_logits(logits, target, reduction="none")
    return ((focal.sum(2) * (labels >= -1)).sum(1) / positive.sum(1).clamp(min=1)).mean()


def detection_loss(logits, deltas, anchors, labels, corners):
    """Focal loss and GIoU, of the positives alone."""
    positive = labels >= 0
    image, anchor = positive.nonzero(as_tuple=True)
    overlap = giou(decode(deltas[image, anchor].unsqueeze(0), anchors[anchor])[0], corners[image, anchor])
    boxes = ((1 - overlap) / positive.sum(1)[image]).sum() / logits.shape[0]
    return focal_loss(logits, labels) + boxes


RETINANET = {
    "retinanet-tiny": ("resnet18", (32, 64, 128, 256), 64, 2, 3),
    "retinanet-r18": ("resnet18", (64, 128, 256, 512), 256, 4, 5),
    "retinanet-r34": ("resnet34", (64, 128, 256, 512), 256, 4, 5),
    "retinanet-r50": ("resnet50", (64, 128, 256, 512), 256, 4, 5),
}


def create_detector(name, classes, per_cell=9):
    backbone, widths, width, depth, levels = RETINANET[name]
    units, bottleneck = IMAGENET[backbone]
    return RetinaNet(units, widths, bottleneck, width, depth, levels, per_cell, classes)


class EdsrUnit(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(width, width, 3, 1, 1), nn.Conv2d(width, width, 3, 1, 1)

    def forward(self, x):
        return x + self.conv2(F.relu(self.conv1(x), inplace=True))


class EdsrTail(nn.Module):
    """The long skip, the upsampler, and the input, each pixel repeated, added to what it gives."""

    def __init__(self, width, scale):
        super().__init__()
        self.steps = [2, 2] if scale == 4 else [scale]
        self.conv = nn.Conv2d(width, width, 3, 1, 1)
        for i, step in enumerate(self.steps):
            self.add_module(f"up{i + 1}", nn.Conv2d(width, width * step**2, 3, 1, 1))
        self.out = nn.Conv2d(width, 3, 3, 1, 1)
        self.scale = scale

    def forward(self, x, skip, image):
        x = self.conv(x) + skip
        for i, step in enumerate(self.steps):
            x = F.pixel_shuffle(getattr(self, f"up{i + 1}")(x), step)
        return self.out(x) + F.interpolate(image, scale_factor=self.scale, mode="nearest")


class Edsr(nn.Module):
    def __init__(self, width, units, scale):
        super().__init__()
        self.head = nn.ModuleDict({"conv": nn.Conv2d(3, width, 3, 1, 1)})
        self.body = nn.Sequential(*(EdsrUnit(width) for _ in range(units)))
        self.tail = EdsrTail(width, scale)

    def forward(self, image):
        skip = self.head["conv"](image)
        return self.tail(self.body(skip), skip, image)


EDSR = {"edsr-small": (32, 8), "edsr-baseline": (64, 16)}


def create_sr(name, scale=2):
    return Edsr(*EDSR[name], scale)


def create(name, image_size=32, channels=3, classes=10):
    if name in CIFAR:
        return resnet(channels, classes, [CIFAR[name]] * 3, (16, 32, 64))
    if name in IMAGENET:
        units, bottleneck = IMAGENET[name]
        return resnet(channels, classes, units, (64, 128, 256, 512), bottleneck, image_size > 64)
    return vit(channels, classes, image_size, *VIT[name])
