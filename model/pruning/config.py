"""What is removed from a model. Standard library only, so that the command line can read the defaults."""

from dataclasses import dataclass
from typing import Literal, get_args

from maskmill.tokenizer.errors import InputError
from maskmill.tokenizer.json_file import brief

Importance = Literal["taylor", "magnitude", "random"]


@dataclass(frozen=True)
class PruneConfig:
    """What `maskmill prune` removes from a model, and by what it chooses.

    Raises InputError where a value makes no sense.
    """

    heads: float = 0.0  # share of all attention heads to remove
    ffn: float = 0.0  # share of all feed-forward units to remove
    importance: Importance = "taylor"
    rounds: int = 8  # in which taylor removes a part each, and measures anew
    num_examples: int = 1024  # of the train split, that it measures on in each
    random_seed: int = 12345  # of the order of those, and of importance random

    def __post_init__(self) -> None:
        for name in ("heads", "ffn"):
            self._check(name, 0 <= getattr(self, name) < 1, "a share from 0 to less than 1, such as 0.5")
        if not self.heads and not self.ffn:
            raise InputError("heads and ffn are both 0", expected="a share of one of them to remove, such as 0.5")
        self._check("importance", self.importance in get_args(Importance), "taylor, magnitude or random")
        self._check("rounds", 1 <= self.rounds <= 10_000, "1 to 10000")
        self._check("num_examples", 1 <= self.num_examples < 1 << 31, "1 to 2^31 - 1")
        self._check("random_seed", 0 <= self.random_seed < 1 << 63, "0 to 2^63 - 1")

    def _check(self, name: str, holds: bool, expected: str) -> None:
        if not holds:
            raise InputError(f"{name} is {brief(getattr(self, name))}", expected=expected)
