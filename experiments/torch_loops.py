"""The same transformer in PyTorch, trained and sampled member by member, as most published code does.

Needs the extra `bench`. Imported by `throughput` alone, and only where PyTorch is installed.
"""

import time

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from collapse_jax.transformer import Architecture


def _turn(x: Tensor, places: Tensor) -> Tensor:
    half = x.shape[-1] // 2
    angles = places[:, None] * 10_000.0 ** (-torch.arange(half) / half)
    cosine, sine = angles.cos(), angles.sin()
    first, second = x[..., :half], x[..., half:]
    return torch.cat([first * cosine - second * sine, second * cosine + first * sine], -1)


class Block(nn.Module):  # type: ignore[misc, unused-ignore]
    """A pre-norm block with rotary positions, causal or not."""

    def __init__(self, sizes: Architecture) -> None:
        super().__init__()
        width, self.sizes = sizes.width, sizes
        self.attention_norm, self.mlp_norm = nn.RMSNorm(width), nn.RMSNorm(width)
        self.qkv = nn.Linear(width, 3 * width, bias=False)
        self.out = nn.Linear(width, width, bias=False)
        self.up = nn.Linear(width, sizes.expansion * width, bias=False)
        self.down = nn.Linear(sizes.expansion * width, width, bias=False)

    def forward(self, x: Tensor, cache: list[Tensor] | None, mask: Tensor | None, *, causal: bool) -> Tensor:
        """Return the states after the block; a cache is appended to in place."""
        n, length, width = x.shape
        heads = self.sizes.heads
        qkv = self.qkv(self.attention_norm(x)).view(n, length, 3, heads, width // heads).permute(2, 0, 3, 1, 4)
        before = cache[0].shape[2] if cache else 0
        places = torch.arange(before, before + length)
        q, k, v = _turn(qkv[0], places), _turn(qkv[1], places), qkv[2]
        if cache is not None:
            cache[:] = [torch.cat([old, new], 2) for old, new in zip(cache, (k, v), strict=True)] if cache else [k, v]
            k, v = cache
        y = F.scaled_dot_product_attention(q, k, v, attn_mask=mask, is_causal=causal and length > 1)
        x = x + self.out(y.transpose(1, 2).reshape(n, length, width))
        return x + self.down(F.gelu(self.up(self.mlp_norm(x)), approximate="tanh"))


class Network(nn.Module):  # type: ignore[misc, unused-ignore]
    """The transformer, its embedding tied to its last layer, and a scalar head."""

    def __init__(self, sizes: Architecture, vocabulary: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(vocabulary, sizes.width)
        self.blocks = nn.ModuleList(Block(sizes) for _ in range(sizes.layers))
        self.norm, self.head = nn.RMSNorm(sizes.width), nn.Linear(sizes.width, 1)

    def forward(
        self,
        tokens: Tensor,
        caches: list[list[Tensor]] | None = None,
        mask: Tensor | None = None,
        *,
        causal: bool = True,
    ) -> Tensor:
        """Return the hidden states."""
        x = self.embedding(tokens)
        for number, block in enumerate(self.blocks):
            x = block(x, None if caches is None else caches[number], mask, causal=causal)
        states: Tensor = self.norm(x)
        return states


def train_language_model(sizes: Architecture, vocabulary: int, rows: np.ndarray, steps: int, batch: int) -> float:
    """Return the seconds that training one model takes."""
    model = Network(sizes, vocabulary)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=0.01)
    data = torch.as_tensor(rows).long()
    begin = time.perf_counter()
    for _ in range(steps):
        x = data[torch.randint(len(data), (batch,))]
        logits = model(x[:, :-1]) @ model.embedding.weight.T
        loss = F.cross_entropy(logits.flatten(0, 1), x[:, 1:].flatten())
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
    return time.perf_counter() - begin


@torch.no_grad()  # type: ignore[untyped-decorator, unused-ignore]
def sample_language_model(sizes: Architecture, vocabulary: int, n: int, length: int) -> float:
    """Return the seconds that writing n rows takes one model, with a cache of keys and values."""
    model = Network(sizes, vocabulary).eval()
    begin = time.perf_counter()
    caches: list[list[Tensor]] = [[] for _ in model.blocks]
    token = torch.zeros(n, 1, dtype=torch.long)
    for _ in range(length):
        logits = model(token, caches)[:, -1] @ model.embedding.weight.T
        token = torch.multinomial(logits.softmax(-1), 1)
    return time.perf_counter() - begin


def train_reward_model(sizes: Architecture, vocabulary: int, tokens: np.ndarray, steps: int, batch: int) -> float:
    """Return the seconds that training one reward model takes, each completion (prompt, item, token) encoded once."""
    model = Network(sizes, vocabulary)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=0.01)
    data = torch.as_tensor(tokens).long()
    items, length = data.shape[1:]
    better, worse = torch.triu_indices(items, items, 1)
    begin = time.perf_counter()
    for _ in range(steps):
        x = data[torch.randint(len(data), (batch,))].reshape(-1, length)
        there = x >= 0
        states = model(x.clamp(min=0), mask=there[:, None, None], causal=False)
        mean = (states * there[..., None]).sum(1) / there.sum(1, keepdim=True)
        rewards = torch.sigmoid(model.head(mean)).reshape(-1, items)
        loss = -torch.log((rewards[:, better] - rewards[:, worse]).clamp(min=0) + 0.1).mean()
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 2.0)
        optimizer.step()
    return time.perf_counter() - begin
