"""The same networks in PyTorch, trained and sampled member by member, as most published code does.

Each loop returns its seconds, after one step that is not counted. Needs the extra `bench`. Imported by `workloads`
alone, and only where PyTorch is installed; on a GPU where PyTorch sees one, in the precision of the architecture.
"""

import importlib
import time
from collections.abc import Callable, Sequence
from itertools import pairwise

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from collapse_jax.nets.transformer import Architecture

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"


def _turn(x: Tensor, places: Tensor) -> Tensor:
    half = x.shape[-1] // 2
    angles = places[:, None] * 10_000.0 ** (-torch.arange(half, device=x.device) / half)
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
        places = torch.arange(before, before + length, device=x.device)
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
    model = Network(sizes, vocabulary).to(DEVICE)
    data = torch.as_tensor(rows).long().to(DEVICE)

    def loss() -> Tensor:
        x = data[torch.randint(len(data), (batch,), device=DEVICE)]
        with _precision(sizes):
            logits = model(x[:, :-1]) @ model.embedding.weight.T
        return F.cross_entropy(logits.float().flatten(0, 1), x[:, 1:].flatten())

    return descend(model, loss, steps, clip=1.0)


@torch.no_grad()  # type: ignore[untyped-decorator, unused-ignore]
def sample_language_model(sizes: Architecture, vocabulary: int, n: int, length: int) -> float:
    """Return the seconds that writing n rows takes one model, with a cache of keys and values."""
    model = Network(sizes, vocabulary).eval().to(DEVICE)

    def write(length: int) -> None:
        caches: list[list[Tensor]] = [[] for _ in model.blocks]
        token = torch.zeros(n, 1, dtype=torch.long, device=DEVICE)
        for _ in range(length):
            with _precision(sizes):
                logits = model(token, caches)[:, -1] @ model.embedding.weight.T
            token = torch.multinomial(logits.float().softmax(-1), 1)

    write(1)
    return seconds_of(lambda: write(length))


@torch.no_grad()  # type: ignore[untyped-decorator, unused-ignore]
def generate_language_model(sizes: Architecture, vocabulary: int, n: int, length: int) -> float:
    """Return the seconds that `generate` of the transformers library takes to write n rows, with a GPT-2 of the sizes.

    Its weights are random.
    """
    transformers = importlib.import_module("transformers")
    known = {"n_embd": sizes.width, "n_layer": sizes.layers, "n_head": sizes.heads, "n_inner": None}
    config = transformers.GPT2Config(
        vocab_size=vocabulary, n_positions=length + 1, bos_token_id=0, eos_token_id=None, pad_token_id=0, **known
    )
    dtype = torch.bfloat16 if sizes.dtype == "bfloat16" else torch.float32
    model = transformers.GPT2LMHeadModel(config).eval().to(DEVICE, dtype)
    begin = torch.zeros(n, 1, dtype=torch.long, device=DEVICE)

    def write(length: int) -> None:
        options = {"min_new_tokens": length, "max_new_tokens": length, "do_sample": True, "top_k": 0}
        model.generate(begin, attention_mask=torch.ones_like(begin), **options)

    write(2)
    return seconds_of(lambda: write(length))


def train_reward_model(sizes: Architecture, vocabulary: int, tokens: np.ndarray, steps: int, batch: int) -> float:
    """Return the seconds that training one reward model takes, each completion (prompt, item, token) encoded once."""
    model = Network(sizes, vocabulary).to(DEVICE)
    data = torch.as_tensor(tokens).long().to(DEVICE)
    length = data.shape[-1]

    def rewards() -> Tensor:
        x = data[torch.randperm(len(data), device=DEVICE)[:batch]].reshape(-1, length)
        there = x >= 0
        with _precision(sizes):
            states = model(x.clamp(min=0), mask=there[:, None, None], causal=False).float()
        mean = (states * there[..., None]).sum(1) / there.sum(1, keepdim=True)
        return model.head(mean).reshape(batch, -1)

    return descend(model, lambda: _pair_loss(rewards()), steps, clip=2.0)


def train_reward_perceptron(features: np.ndarray, hidden: int, steps: int) -> float:
    """Return the seconds that training one reward perceptron takes, all prompts (prompt, item, feature) a step."""
    sizes = features.shape[-1], hidden, 1
    model = perceptron(sizes).to(DEVICE)
    data = torch.as_tensor(features).to(DEVICE)
    return descend(model, lambda: _pair_loss(model(data)[..., 0]), steps, clip=2.0)


def descend(model: nn.Module, loss: Callable[[], Tensor], steps: int, *, clip: float) -> float:
    """Return the seconds of so many steps of AdamW with a clipped norm."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=0.01)

    def descend_once() -> None:
        value = loss()
        optimizer.zero_grad()
        value.backward()
        nn.utils.clip_grad_norm_(model.parameters(), clip)
        optimizer.step()

    def all_steps() -> None:
        for _ in range(steps):
            descend_once()

    descend_once()
    return seconds_of(all_steps)


def seconds_of(work: Callable[[], None]) -> float:
    """Return the seconds that work takes, to its end on the device."""
    if DEVICE == "cuda":
        torch.cuda.synchronize()
    begin = time.perf_counter()
    work()
    if DEVICE == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - begin


def perceptron(sizes: Sequence[int]) -> nn.Sequential:
    """Return a perceptron with a GELU after each layer but the last."""
    layers: list[nn.Module] = []
    for before, after in pairwise(sizes):
        layers += [nn.Linear(before, after), nn.GELU(approximate="tanh")]
    return nn.Sequential(*layers[:-1])


def _pair_loss(scores: Tensor) -> Tensor:
    """Return the mean loss of all pairs of each prompt, from scores (prompt, item), best first; utility log."""
    rewards = torch.sigmoid(scores)
    better, worse = torch.triu_indices(scores.shape[1], scores.shape[1], 1, device=scores.device)
    return -torch.log((rewards[:, better] - rewards[:, worse]).clamp(min=0) + 0.1).mean()


def _precision(sizes: Architecture) -> torch.autocast:
    return torch.autocast(DEVICE, dtype=torch.bfloat16, enabled=sizes.dtype == "bfloat16")
