"""What shapes a fine-tuning. Standard library only, so that the command line can read the defaults."""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, get_args

from maskmill.model.bert.config import ComputeDtype
from maskmill.model.training.config import TrainingConfig
from maskmill.tokenizer.errors import InputError

NO_WEIGHTS, BALANCED = "none", "balanced"
MAX_CLASS_WEIGHT = 1_000_000  # sums of the loss are float32

# As `maskmill.model.training.config.Optimizer` has them: Adam, and Adam without bias correction.
FinetuneOptimizer = Literal["adamw", "google"]


@dataclass(frozen=True)
class FinetuneConfig(TrainingConfig):
    """How a classifier is trained: names and defaults of Google's `run_classifier.py`, but for the optimizer.

    With adamw the learning rate and the first weights of the classifier are those of transformers, too. Without bias
    correction the first 290 updates are two to six times as long, and a short fine-tuning may end at the most frequent
    label (Zhang et al. 2021, arXiv 2006.05987; Mosbach et al. 2021, arXiv 2006.04884).

    Raises InputError where a value makes no sense.
    """

    learning_rate_of_bert: ClassVar[str] = "5e-5"

    train_batch_size: int = 32  # rows in a step
    learning_rate: float = 5e-5  # the peak, at the end of the warm-up
    num_train_epochs: int = 3
    num_train_steps: int | None = None  # in place of num_train_epochs
    warmup_proportion: float = 0.1  # of all steps
    max_seq_length: int = 128
    classifier_dropout_prob: float = 0.1  # of the pooled output
    weight_decay_rate: float = 0.01
    optimizer: FinetuneOptimizer = "adamw"  # google: without bias correction
    schedule: Literal["google"] | None = (
        None  # google: as a maskmill of before began with adamw; None: by the optimizer
    )
    class_weights: str = NO_WEIGHTS  # or "balanced", or "neg=1,pos=3.5"
    precision: ComputeDtype = "float32"  # of activations and matrix products; weights are float32
    save_checkpoints_steps: int = 1000
    keep_checkpoints: int = 3
    random_seed: int = 12345

    def __post_init__(self) -> None:
        super().__post_init__()
        self.check_counts("num_train_epochs")
        self.check("warmup_proportion", 0 <= self.warmup_proportion < 1, "0 to less than 1 (BERT: 0.1)")
        self.check("max_seq_length", self.max_seq_length >= 8, "8 tokens or more (BERT: 128)")
        self.check("classifier_dropout_prob", 0 <= self.classifier_dropout_prob < 1, "0 to less than 1 (BERT: 0.1)")
        self.check("optimizer", self.optimizer in get_args(FinetuneOptimizer), "adamw or google")
        if self.class_weights not in (NO_WEIGHTS, BALANCED):
            parse_class_weights(self.class_weights)

    @property
    def is_as_transformers(self) -> bool:
        """Whether the classifier begins as with transformers, and the learning rate falls from its peak as there."""
        return self.optimizer == "adamw" and self.schedule is None

    def steps_for(self, rows: int) -> int:
        """The steps of a training on so many rows.

        >>> FinetuneConfig(train_batch_size=32, num_train_epochs=3).steps_for(100)
        12
        """
        if self.num_train_steps is not None:
            return self.num_train_steps
        steps = self.num_train_epochs * math.ceil(rows / self.train_batch_size)
        self.check(
            "num_train_epochs", steps < 1 << 31, f"fewer: {rows:,} rows make {steps:,} steps, more than 2^31 - 1"
        )
        return steps


def as_today(config: Mapping[str, Any]) -> dict[str, Any]:
    """The settings in a `finetuning.json`, with the optimizer and schedule that an older maskmill did not write."""
    return {"optimizer": "google", "schedule": "google" if "optimizer" in config else None, **config}


def parse_class_weights(text: str) -> dict[str, float]:
    """Weights by label, from what the command line is given.

    >>> parse_class_weights("neg=1,pos=3.5")
    {'neg': 1.0, 'pos': 3.5}
    """
    weights: dict[str, float] = {}
    for part in text.split(","):
        label, equals, number = part.rpartition("=")
        is_number = re.fullmatch(r"([0-9]+\.?[0-9]*|\.[0-9]+)(e[+-]?[0-9]+)?", number, re.IGNORECASE)
        weight = float(number) if is_number else math.nan
        if not equals or not label or label in weights or not 0 <= weight <= MAX_CLASS_WEIGHT:
            raise InputError(
                f"class_weights is {text!r}",
                expected=(
                    "none, balanced, or LABEL=NUMBER,... such as a=1,b=3.5, each label once, and each number "
                    f"from 0 to {MAX_CLASS_WEIGHT:,}"
                ),
            )
        weights[label] = weight
    if not any(weights.values()):
        raise InputError(f"class_weights is {text!r}, by which nothing is learned", expected="a number above 0")
    return weights


def choose_class_weights(class_weights: str, labels: Sequence[str], counts: Mapping[str, int]) -> list[float]:
    """The weight of each label in the loss, given how many rows have it.

    Balanced, all rows of a label weigh as much as all of another, and a row weighs 1 on average.

    >>> choose_class_weights("balanced", ["neg", "pos"], {"neg": 30, "pos": 10})
    [0.6666666666666666, 2.0]
    """
    if class_weights == NO_WEIGHTS:
        return [1.0] * len(labels)
    if class_weights == BALANCED:
        total = sum(counts[label] for label in labels)
        return [total / len(labels) / counts[label] for label in labels]
    given = parse_class_weights(class_weights)
    if wrong := sorted(given.keys() ^ set(labels)):
        what = "which no row to train on has" if wrong[0] in given else "which has no weight"
        raise InputError(
            f"class_weights is {class_weights!r}",
            expected=f"a weight for each label and no other: mend that of {wrong[0]!r}, {what}",
        )
    return [given[label] for label in labels]
