"""Transformers that read the text itself collapse onto the laws of their utilities; a prompt-aware utility cures them.

The main figure of Song, Cai, Lee, Su (arXiv 2305.17608) with transformers trained from scratch, for all five rows and
several seeds in one program. A causal transformer reads each prompt's longest completion once, and its state at the
last word of each shorter one, which is a prefix, gives that one's reward.

    python -m experiments.text_reward_collapse
    python -m experiments.text_reward_collapse --small

Expected: no separation of the types on training prompts under the strictly concave utilities, .186 under the
prompt-aware one; curves on their laws, but for U = x, where the sigmoid saturates before the fifth completion of every
prompt has come down to 0.

Larger transformers are a configuration: `--layers 12 --width 768 --heads 12 --source longform --steps 1000`, not run;
by its operations (about 1e16) some minutes on one large GPU. `--model text_encoder` encodes each completion by itself.
"""

from dataclasses import dataclass
from typing import Literal

from experiments import reward_collapse
from experiments.shared.launch import script


@dataclass(frozen=True)
class Config(reward_collapse.Config):
    """The five rows, read by transformers."""

    model: Literal["mlp", "prefix_encoder", "text_encoder"] = "prefix_encoder"
    seeds: int = 3
    steps: int = 800
    records: int = 5
    batch_size: int = 8
    learning_rate: float = 1e-3


SMALL = {"seeds": 2, "steps": 60, "records": 2, "layers": 1, "width": 32}

main = script(
    __name__,
    __file__,
    Config(),
    SMALL,
    reward_collapse.run,
    reward_collapse.draw,
    reward_collapse.table,
    reward_collapse.summary,
    description=__doc__,
)
