"""What shapes a pre-training. Standard library only, so that the command line can read the defaults."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal, NamedTuple, get_args

from maskmill.model.bert.config import ComputeDtype
from maskmill.model.training.config import Optimizer, TrainingConfig

if TYPE_CHECKING:
    from maskmill.pipeline.dataset.dataset import Dataset

FirstWeights = Literal["neighbours", "bert"]


@dataclass(frozen=True)
class TrainConfig(TrainingConfig):
    """How a model is trained: names of Google's `run_pretraining.py`, its defaults where they do not depend on data.

    Raises InputError where a value makes no sense.
    """

    learning_rate_of_bert: ClassVar[str] = "1e-4"

    train_batch_size: int = 32  # sequences in a step
    learning_rate: float = 1e-4  # the peak, at the end of the warm-up
    num_train_steps: int | None = None  # None: one pass over all shards, every copy once
    num_warmup_steps: int | None = None  # None: see `choose_warmup`
    max_time: float | None = None  # seconds; as many steps as fit in them, in place of num_train_steps
    weight_decay_rate: float = 0.01
    optimizer: Optimizer = "google"  # Adam without bias correction; adamw corrects it
    adam_beta2: float = 0.999
    clip_norm: float = 1.0  # the largest norm of all gradients together
    first_weights: FirstWeights = "bert"
    precision: ComputeDtype = "float32"  # of activations and matrix products; weights are float32
    gradient_accumulation_steps: int = 1  # parts in which a batch is worked on, one after the other
    dynamic_masking: bool = False
    eval_every: int | None = None  # steps between two evaluations
    save_checkpoints_steps: int = 1000
    keep_checkpoints: int = 3
    save_summary_steps: int = 20  # steps between two lines of metrics.jsonl
    random_seed: int = 12345

    def __post_init__(self) -> None:
        super().__post_init__()
        self.check_counts("gradient_accumulation_steps", "save_summary_steps")
        self.check("optimizer", self.optimizer in get_args(Optimizer), "google, adamw or lamb")
        self.check("first_weights", self.first_weights in get_args(FirstWeights), "neighbours or bert")
        self.check("adam_beta2", 0 < self.adam_beta2 < 1, "more than 0 and less than 1 (BERT: 0.999)")
        self.check("clip_norm", 1e-6 <= self.clip_norm <= 1e6, "1e-6 to 1e6 (BERT: 1)")
        if self.eval_every is not None:
            self.check("eval_every", 1 <= self.eval_every < 1 << 31, "1 to 2^31 - 1 steps")
        if self.max_time is not None:
            self.check("max_time", 1 <= self.max_time <= 1e9, "1 second or more, and less than 32 years")
        if self.num_warmup_steps is not None:
            self.check("num_warmup_steps", 0 <= self.num_warmup_steps < 1 << 31, "0 to 2^31 - 1 steps")
            steps = self.num_train_steps
            holds = steps is None or self.num_warmup_steps <= steps
            self.check("num_warmup_steps", holds, f"at most num_train_steps, which is {steps}")


class PhaseRequest(NamedTuple):
    """A dataset, and how it is trained on."""

    directory: str | os.PathLike[str]
    num_train_steps: int | None = None  # None: one pass over its train split
    changes: Mapping[str, Any] = {}  # of the configuration of a dataset of tokens, see `with_changes`

    def open(self) -> "Dataset":
        """The dataset by its manifest. Raises InputError where it is none, is damaged, or cannot be so changed."""
        from maskmill.pipeline.dataset.dataset import Dataset

        dataset = Dataset.open(self.directory, sealed=True)
        if not self.changes:
            return dataset
        from maskmill.pipeline.instances.token_dataset import with_changes

        return with_changes(dataset, self.changes)
