"""Tells when a training has learned nothing but how frequent tokens are."""

import numpy as np

from maskmill.model.pretraining.config import TrainConfig
from maskmill.model.pretraining.examples import Features
from maskmill.model.training.meter import TrainProgress

MARGIN = 0.03  # above the guess: what a model reaches that knows the frequencies, and a little of the punctuation
_LINES = 5  # of metrics.jsonl in turn
_LEAST_STEPS, _SHARE_OF_STEPS = 300, 0.02  # after the warm-up, whichever is more


class PlateauWatch:
    """Compares the accuracy of a training with always guessing the most frequent token, and tells once.

    `config` is that of the training, with its number of steps; `has_first_weights` says that it began with new weights.
    """

    def __init__(self, config: TrainConfig, vocab_size: int, has_first_weights: bool):
        assert config.num_train_steps is not None
        assert config.num_warmup_steps is not None
        self.config = config
        self.has_first_weights = has_first_weights
        self.first_step = config.num_warmup_steps + max(_LEAST_STEPS, int(_SHARE_OF_STEPS * config.num_train_steps))
        self.counts = np.zeros(vocab_size, np.int64)
        self.lines = 0
        self.is_over = False

    def count(self, batch: Features) -> None:
        """Takes account of the masked tokens of a batch, as it is on this host."""
        if not self.is_over:
            ids = batch["masked_lm_ids"][batch["masked_lm_weights"] > 0]
            self.counts += np.bincount(ids, minlength=len(self.counts))

    def look(self, now: TrainProgress) -> str | None:
        """What to tell the user at a step, if anything."""
        if self.is_over or now.step < self.first_step or now.step % self.config.save_summary_steps:
            return None
        accuracy = now.metrics["masked_lm_accuracy"]
        guess = float(self.counts.max() / max(1, self.counts.sum()))
        self.lines = self.lines + 1 if accuracy < guess + MARGIN else 0
        if self.lines < _LINES:
            # Once it has learned more, it will not forget it.
            self.is_over = accuracy > guess + 2 * MARGIN
            return None
        self.is_over = True
        return (
            f"after {now.step:,} steps masked_lm_accuracy is {accuracy:.3f}, and always guessing the "
            f"most frequent token gives {guess:.3f}: the model has learned little more than how frequent tokens are. "
            f"What helps, in a new folder: {', '.join(self._ways_out())}"
        )

    def _ways_out(self) -> list[str]:
        rate = self.config.learning_rate
        ways = []
        if self.has_first_weights and self.config.first_weights == "bert":
            ways.append("--first-weights neighbours")
        if rate >= 5e-4:
            ways.append(f"a lower --learning-rate such as {rate / 3:.1g}")
        elif rate <= 1e-4:
            ways.append("a higher --learning-rate such as 3e-4")
        return [*ways, "more steps"]
