"""When a training is told that it learns nothing."""

from dataclasses import replace

import numpy as np

from maskmill.model.pretraining.config import TrainConfig
from maskmill.model.pretraining.plateau import MARGIN, PlateauWatch
from maskmill.model.training.meter import TrainProgress

CONFIG = TrainConfig(num_train_steps=1500, num_warmup_steps=150)
FIRST = 150 + 300
GUESS = 0.25


def watch_of(config=CONFIG, has_first_weights=True):
    """A watch that has seen a token in a quarter of all places."""
    watch = PlateauWatch(config, 10, has_first_weights)
    ids = np.array([[7, 7, 1, 2, 3, 4, 5, 6, 0, 0]], np.int32)
    watch.count({"masked_lm_ids": ids, "masked_lm_weights": (ids > 0).astype(np.float32)})
    return watch


def progress_at(step, accuracy):
    return TrainProgress(step, 1500, {"loss": 7.0, "masked_lm_accuracy": accuracy}, 1e-4, 9.0, 1152.0, 0.4, 60.0)


def look(watch, accuracies):
    """What is told over lines of the log with these accuracies, from the first line on that counts."""
    lines = (progress_at(FIRST + 10 + 20 * i, value) for i, value in enumerate(accuracies))
    return [said for said in map(watch.look, lines) if said]


def test_a_training_at_the_guess_is_told_once_with_what_helps():
    said = look(watch_of(), [GUESS + 0.01] * 30)
    assert said == [
        "after 540 steps masked_lm_accuracy is 0.260, and always guessing the most frequent token gives 0.250: the "
        "model has learned little more than how frequent tokens are. What helps, in a new folder: --first-weights "
        "neighbours, a higher --learning-rate such as 3e-4, more steps"
    ]


def test_one_that_learns_is_not_told_also_where_it_passes_the_guess():
    assert look(watch_of(), [GUESS, GUESS, GUESS + 0.01, GUESS + 0.04, *[GUESS] * 4, GUESS + 0.05]) == []
    assert look(watch_of(), [GUESS + 2 * MARGIN + 0.01, *[GUESS] * 30]) == []


def test_nothing_is_told_in_the_warm_up_and_soon_after_it():
    watch = watch_of()
    assert not any(watch.look(progress_at(step, GUESS)) for step in range(FIRST))
    slow = PlateauWatch(TrainConfig(num_train_steps=1_000_000, num_warmup_steps=10_000), 10, True)
    assert slow.first_step == 30_000


def test_what_helps_depends_on_the_training():
    high = replace(CONFIG, learning_rate=3e-3, first_weights="neighbours")
    assert look(watch_of(high), [GUESS] * 9)[0].endswith("a lower --learning-rate such as 0.001, more steps")
    assert "first-weights" not in look(watch_of(has_first_weights=False), [GUESS] * 9)[0]
