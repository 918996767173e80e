"""The networks of lib/nn in plain PyTorch, with the same parameter names in the same units.

Written from the papers, not for speed at any price but as a careful user of PyTorch would write them: in-place
ReLUs, no bias before batch norm, one product for query, key and value. Weights are initialised as lib/nn does.
"""

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


def create(name, image_size=32, channels=3, classes=10):
    if name in CIFAR:
        return resnet(channels, classes, [CIFAR[name]] * 3, (16, 32, 64))
    if name in IMAGENET:
        units, bottleneck = IMAGENET[name]
        return resnet(channels, classes, units, (64, 128, 256, 512), bottleneck, image_size > 64)
    return vit(channels, classes, image_size, *VIT[name])
