"""The same variational autoencoder and flow in PyTorch, trained and sampled member by member; see `torch_loops`."""

from collections.abc import Callable, Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from experiments.benchmark.torch_loops import DEVICE, descend, perceptron, seconds_of

_FREQUENCIES, _HIGHEST, _DROP, _DEVIATION = 16, 64.0, 0.1, 0.15


class Velocity(nn.Module):  # type: ignore[misc, unused-ignore]
    """The flow's residual perceptron: a block for each hidden width, conditional on time and class."""

    def __init__(self, pixels: int, classes: int, hidden: Sequence[int]) -> None:
        super().__init__()
        width = hidden[0]
        self.known, self.enter = nn.Linear(2 * _FREQUENCIES + classes, width), nn.Linear(pixels, width)
        self.norms = nn.ModuleList(nn.RMSNorm(width) for _ in (*hidden, pixels))
        self.state = nn.ModuleList(nn.Linear(width, size) for size in hidden)
        self.given = nn.ModuleList(nn.Linear(width, size, bias=False) for size in hidden)
        self.back = nn.ModuleList(nn.Linear(size, width) for size in hidden)
        self.leave = nn.Linear(width, pixels)

    def forward(self, x: Tensor, time: Tensor, label: Tensor) -> Tensor:
        """Return the velocity at x (n, pixel)."""
        angles = time[:, None] * torch.logspace(0, np.log10(_HIGHEST), _FREQUENCIES, device=x.device)
        known = F.gelu(self.known(torch.cat([angles.cos(), angles.sin(), label], 1)), approximate="tanh")
        hidden = self.enter(x)
        for norm, state, given, back in zip(self.norms, self.state, self.given, self.back, strict=False):
            hidden = hidden + back(F.gelu(state(norm(hidden)) + given(known), approximate="tanh"))
        velocity: Tensor = self.leave(self.norms[-1](hidden))
        return velocity


def train_vae(
    images: np.ndarray, labels: np.ndarray, classes: int, hidden: Sequence[int], latent: int, steps: int, batch: int
) -> float:
    """Return the seconds that training one autoencoder takes."""
    draw, pixels = _batches(images, labels, classes, batch)
    encoder = perceptron((pixels + classes, *hidden, 2 * latent)).to(DEVICE)
    decoder = perceptron((latent + classes, *reversed(hidden), pixels)).to(DEVICE)

    def loss() -> Tensor:
        x, label = draw()
        mean, log_variance = encoder(torch.cat([x - 0.5, label], 1)).chunk(2, 1)
        z = mean + (0.5 * log_variance).exp() * torch.randn_like(mean)
        apart = (x - torch.sigmoid(decoder(torch.cat([z, label], 1)))) / _DEVIATION
        divergence = 0.5 * (mean**2 + log_variance.exp() - 1 - log_variance).sum(1)
        return (0.5 * (apart**2).sum(1) + divergence).mean() / pixels

    return descend(nn.ModuleList([encoder, decoder]), loss, steps, clip=1.0)


@torch.no_grad()  # type: ignore[untyped-decorator, unused-ignore]
def sample_vae(images: np.ndarray, classes: int, hidden: Sequence[int], latent: int, n: int) -> float:
    """Return the seconds that sampling n images takes one autoencoder."""
    decoder = perceptron((latent + classes, *reversed(hidden), images[0].size)).to(DEVICE)

    def sample() -> None:
        label = F.one_hot(torch.randint(classes, (n,), device=DEVICE), classes).float()
        torch.sigmoid(decoder(torch.cat([torch.randn(n, latent, device=DEVICE), label], 1)))

    sample()
    return seconds_of(sample)


def train_flow(
    images: np.ndarray, labels: np.ndarray, classes: int, hidden: Sequence[int], latent: int, steps: int, batch: int
) -> float:
    """Return the seconds that training one flow takes; it has no latent variable."""
    draw, pixels = _batches(images, labels, classes, batch)
    velocity = Velocity(pixels, classes, hidden).to(DEVICE)

    def loss() -> Tensor:
        x, label = draw()
        x = 2 * x - 1
        noise, time = torch.randn_like(x), torch.rand(batch, device=DEVICE)
        kept = (torch.rand(batch, 1, device=DEVICE) >= _DROP).float()
        there = (1 - time)[:, None] * noise + time[:, None] * x
        return F.mse_loss(velocity(there, time, kept * label), x - noise)

    return descend(velocity, loss, steps, clip=1.0)


@torch.no_grad()  # type: ignore[untyped-decorator, unused-ignore]
def sample_flow(images: np.ndarray, classes: int, hidden: Sequence[int], latent: int, n: int, steps: int = 12) -> float:
    """Return the seconds that sampling n images takes one flow, by Heun's method."""
    pixels = images[0].size
    velocity = Velocity(pixels, classes, hidden).to(DEVICE)

    def sample() -> None:
        label = F.one_hot(torch.randint(classes, (n,), device=DEVICE), classes).float()
        x = torch.randn(n, pixels, device=DEVICE)
        for step in range(steps):
            time = torch.full((n,), step / steps, device=DEVICE)
            here = velocity(x, time, label)
            there = velocity(x + here / steps, time + 1 / steps, label)
            x = x + 0.5 / steps * (here + there)

    sample()
    return seconds_of(sample)


def _batches(
    images: np.ndarray, labels: np.ndarray, classes: int, batch: int
) -> tuple[Callable[[], tuple[Tensor, Tensor]], int]:
    """Return what draws a batch of images (n, pixel) and their classes as indicators, and the number of pixels."""
    x = torch.as_tensor(images).flatten(1).to(DEVICE)
    given = F.one_hot(torch.as_tensor(labels).long(), classes).float().to(DEVICE)

    def draw() -> tuple[Tensor, Tensor]:
        chosen = torch.randint(len(x), (batch,), device=DEVICE)
        return x[chosen], given[chosen]

    return draw, x.shape[1]
