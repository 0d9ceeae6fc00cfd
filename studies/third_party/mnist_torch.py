"""The two MNIST networks as modules of PyTorch, whose names are those of the files."""

import torch
from torch import nn


class Stage(nn.Module):
    def __init__(self, before, after, kernel):
        super().__init__()
        self.net = nn.Sequential(
            nn.Conv2d(before, after, kernel, padding=kernel // 2),
            nn.LayerNorm([after, 28, 28]),
            nn.GELU(),
        )

    def forward(self, x):
        return self.net(x)


class Convolutions(nn.Module):
    def __init__(self):
        super().__init__()
        self.register_buffer("frequencies", torch.zeros(16))
        layers = [nn.Linear(32, 128), nn.GELU(), nn.Linear(128, 128), nn.GELU()]
        layers += [nn.Linear(128, 128), nn.GELU(), nn.Linear(128, 16)]
        self.time_embed = nn.Sequential(*layers)
        stages = [Stage(1, 16, 7), Stage(16, 32, 7), Stage(32, 32, 7), Stage(32, 16, 7)]
        self.blocks = nn.ModuleList([*stages, nn.Conv2d(16, 1, 3, padding=1)])

    def forward(self, x, t):
        phases = t[:, None] * self.frequencies
        time = self.time_embed(torch.cat([torch.sin(phases), torch.cos(phases) - 1.0], dim=1))
        for number, block in enumerate(self.blocks):
            x = block(x)
            if number == 0:
                x = x + time[:, :, None, None]
        return x


class Cnn(nn.Module):
    """Noise at time t in [0, 1]."""

    def __init__(self):
        super().__init__()
        for name in ("alpha_t", "beta_t"):
            self.register_buffer(name, torch.zeros(1001))
        self.gt = Convolutions()

    def forward(self, x, t):
        return self.gt(x, t)


class Block(nn.Module):
    def __init__(self, before, after, side):
        super().__init__()
        self.ln = nn.LayerNorm([before, side, side])
        self.conv1 = nn.Conv2d(before, after, 3, padding=1)
        self.conv2 = nn.Conv2d(after, after, 3, padding=1)
        self.residual_conv = nn.Conv2d(before, after, 1) if before != after else nn.Identity()

    def forward(self, x):
        out = self.conv2(torch.relu(self.conv1(self.ln(x))))
        return torch.relu(out + self.residual_conv(x))


def twice(before, after, side):
    return nn.Sequential(Block(before, after, side), Block(after, after, side))


class Table(nn.Module):
    def __init__(self):
        super().__init__()
        self.embedding = nn.Embedding(1000, 128)


class Unet(nn.Module):
    """Noise at the whole index t of 0 to 999."""

    def __init__(self):
        super().__init__()
        widths, sides = (10, 20, 40), (28, 14, 7)
        into = (1, 10, 20)
        self.pe = Table()
        self.pe_linears_en = nn.ModuleList(
            nn.Sequential(nn.Linear(128, c), nn.ReLU(), nn.Linear(c, c)) for c in into
        )
        self.encoders = nn.ModuleList(map(twice, into, widths, sides))
        self.downs = nn.ModuleList(nn.Conv2d(c, c, 2, stride=2) for c in widths)
        self.pe_mid, self.mid = nn.Linear(128, 40), twice(40, 80, 3)
        deep = (80, 40, 20)
        self.ups = nn.ModuleList(nn.ConvTranspose2d(c, c // 2, 2, stride=2) for c in deep)
        self.pe_linears_de = nn.ModuleList(nn.Linear(128, c) for c in deep)
        self.decoders = nn.ModuleList(
            twice(c, c // 2, s) for c, s in zip(deep, sides[::-1], strict=True)
        )
        self.conv_out = nn.Conv2d(10, 1, 3, padding=1)

    def forward(self, x, t):
        embedding, kept = self.pe.embedding(t), []
        for time, encode, down in zip(self.pe_linears_en, self.encoders, self.downs, strict=True):
            x = encode(x + time(embedding)[:, :, None, None])
            kept.append(x)
            x = down(x)
        x = self.mid(x + self.pe_mid(embedding)[:, :, None, None])
        for up, time, decode in zip(self.ups, self.pe_linears_de, self.decoders, strict=True):
            skip, x = kept.pop(), up(x)
            short = skip.shape[-1] - x.shape[-1]
            x = torch.cat([skip, nn.functional.pad(x, (0, short, 0, short))], dim=1)
            x = decode(x + time(embedding)[:, :, None, None])
        return self.conv_out(x)
