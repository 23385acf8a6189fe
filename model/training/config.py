"""What every training is asked for. Standard library only, so that the command line can read the defaults."""

from typing import ClassVar, Literal, get_args

from maskmill.model.bert.config import ComputeDtype
from maskmill.tokenizer.errors import InputError
from maskmill.tokenizer.json_file import brief

Optimizer = Literal["google", "adamw", "lamb"]

MAX_BATCH_SIZE = 1_000_000  # sequences in a step; LAMB was used with 65,536
MAX_SEED = (1 << 63) - 1


class TrainingConfig:
    """What the configurations of a pre-training and of a fine-tuning share, and the checks of it.

    Each declares these fields among its own, in the order that its file has them, with defaults of its own.
    """

    learning_rate_of_bert: ClassVar[str]

    train_batch_size: int
    learning_rate: float
    num_train_steps: int | None
    weight_decay_rate: float
    precision: ComputeDtype
    save_checkpoints_steps: int
    keep_checkpoints: int
    random_seed: int

    def __post_init__(self) -> None:
        self.check_counts("train_batch_size", "save_checkpoints_steps", "keep_checkpoints")
        self.check("train_batch_size", self.train_batch_size <= MAX_BATCH_SIZE, f"at most {MAX_BATCH_SIZE:,}")
        self.check("precision", self.precision in get_args(ComputeDtype), "float32 or bfloat16")
        rates = f"1e-12 to 100 (BERT: {self.learning_rate_of_bert})"
        self.check("learning_rate", is_learning_rate(self.learning_rate), rates)
        self.check("weight_decay_rate", 0 <= self.weight_decay_rate < 1, "0 to less than 1 (BERT: 0.01)")
        self.check("random_seed", 0 <= self.random_seed <= MAX_SEED, "0 to 2^63 - 1")
        if self.num_train_steps is not None:
            self.check("num_train_steps", 1 <= self.num_train_steps < 1 << 31, "1 to 2^31 - 1 steps")

    def check_counts(self, *names: str) -> None:
        """Raises InputError unless these settings are numbers from 1 on."""
        for name in names:
            self.check(name, 1 <= getattr(self, name) < 1 << 31, "1 to 2^31 - 1")

    def check(self, name: str, holds: bool, expected: str) -> None:
        """Raises InputError with the value of a setting where something does not hold."""
        if not holds:
            raise InputError(f"{name} is {brief(getattr(self, name))}", expected=expected)


def is_learning_rate(rate: float) -> bool:
    """Whether a float32 can hold it, and weights can survive it."""
    return 1e-12 <= rate <= 100
