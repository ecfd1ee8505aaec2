"""Seeded draws that depend on their content alone: which titles are held out, and a number for a text."""

import math
from collections import Counter
from collections.abc import Sequence
from hashlib import blake2b

import numpy as np

__all__ = ()


def held_out_titles(titles: Sequence[str], seed: int, test_share: float) -> set[str]:
    """Return the titles to hold out: in the order of their seeded hashes, until nearest to `test_share` of all rows."""
    rows = Counter(titles)
    order = sorted(rows, key=lambda title: uniform(seed, "split", title))
    held_out = np.cumsum([rows[title] for title in order])
    return set(order[: int(np.abs(held_out - test_share * len(titles)).argmin()) + 1])


def uniform(seed: int, *content: str) -> float:
    """Return a number in [0, 1) that depends on its arguments alone, unlike Python's hash, which changes by process."""
    digest = blake2b("\0".join([str(seed), *content]).encode(), digest_size=8).digest()
    return math.ldexp(int.from_bytes(digest, "big") >> 11, -53)
