"""What `evaluate` says of the numbers; tests/deploy/training/test_models.py runs the command itself."""

import pytest

pytest.importorskip("tensorflow", reason="needs the [train] extra")

from maskmill.deploy.training.evaluation import find_warnings
from maskmill.model.pretraining.evaluate import Evaluation

GUESSES = {"masked_lm_accuracy": 0.068, "next_sentence_accuracy": 0.521}
TRAINING = {"train_config": {"first_weights": "bert"}, "init_checkpoint": None}


def warnings_at(masked_lm, next_sentence, objective="nsp", training=TRAINING):
    metrics = {"masked_lm_accuracy": masked_lm, "next_sentence_accuracy": next_sentence}
    found = Evaluation(metrics, masked_tokens=18_000, examples=1_000, random_next=0.5, guess=0.068, bands=[])
    guesses = GUESSES if objective != "mlm" else {"masked_lm_accuracy": 0.068}
    return list(find_warnings(found, guesses, 1_044, objective, training))


def test_an_accuracy_that_rests_at_its_guess_is_said_with_what_helps():
    tokens, pairs = warnings_at(0.0681, 0.5211)
    assert tokens.metric == "masked_lm_accuracy"
    assert tokens.found == (
        "masked_lm_accuracy 0.0681 is not clearly above the 0.0680 of guessing: the model has learned little more than "
        "how frequent tokens are"
    )
    assert tokens.remedy == (
        "Train longer (--num-train-steps or --max-time), at the preset's own learning rate (without --learning-rate), "
        "or with --first-weights neighbours"
    )
    assert pairs.metric == "next_sentence_accuracy"
    assert pairs.found.endswith("the model cannot tell an actual next sentence from a random one yet")
    assert pairs.remedy == "Train longer (--num-train-steps or --max-time): pairs are learned later than tokens"


def test_a_model_that_has_learned_gets_no_warning():
    assert warnings_at(0.3, 0.7) == []
    assert [warning.metric for warning in warnings_at(0.3, 0.53)] == ["next_sentence_accuracy"]


def test_warnings_of_pairs_name_what_the_pairs_are():
    _, pairs = warnings_at(0.06, 0.52, "sop")
    assert "two segments in order from two that are swapped" in pairs.found
    assert [warning.metric for warning in warnings_at(0.06, 0.52, "mlm")] == ["masked_lm_accuracy"]


@pytest.mark.parametrize(
    "training",
    [
        {"train_config": {"first_weights": "neighbours"}, "init_checkpoint": None},
        {"train_config": {"first_weights": "bert"}, "init_checkpoint": "bert_model.ckpt"},
    ],
)
def test_first_weights_are_not_advised_where_they_were_chosen_or_cannot_be(training):
    assert warnings_at(0.0681, 0.7, training=training)[0].remedy == (
        "Train longer (--num-train-steps or --max-time) or at the preset's own learning rate (without --learning-rate)"
    )
