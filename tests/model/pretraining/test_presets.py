"""What a training uses where an option is not given, by the size of the model."""

import json
from dataclasses import asdict, replace

import pytest
from command import refuse, run
from fake_steps import at, learn, preempt
from fake_steps import datasets as datasets  # a fixture
from fake_steps import steps as steps  # a fixture

from maskmill.model.bert.config import PRESETS, BertConfig
from maskmill.model.pretraining.config import TrainConfig
from maskmill.model.pretraining.description import recorded_recipe
from maskmill.model.pretraining.recipes import GOOGLE, OF_FILE, RECIPES, choose_recipe, settle
from maskmill.tokenizer.errors import InputError
from maskmill.tokenizer.json_file import SEAL, VERSION

pytest.importorskip("tensorflow", reason="needs the [train] extra")


@pytest.mark.parametrize("name", PRESETS)
def test_googles_recipe_is_googles_for_every_preset(name):
    config, changes = settle({}, choose_recipe(name, "google", has_init_checkpoint=False))
    assert config == TrainConfig()
    shape = BertConfig.preset(name, 100)
    assert {name: getattr(shape, name) for name in changes} == changes


def test_presets_below_base_have_recipes_and_others_googles():
    assert list(RECIPES) == ["tiny", "mini", "small", "medium"]
    for name in RECIPES:
        assert choose_recipe(name, "preset", has_init_checkpoint=False) == RECIPES[name]
        assert RECIPES[name].first_weights == "neighbours"
    for name in ("base", "large", None):
        assert choose_recipe(name, "preset", has_init_checkpoint=False) == GOOGLE


def test_a_file_says_its_own_dropout_and_initializer_range():
    assert settle({}, choose_recipe("bert.json", "preset", has_init_checkpoint=False)) == (TrainConfig(), {})


def test_weights_of_a_checkpoint_are_trained_by_googles_recipe():
    assert choose_recipe("tiny", "preset", has_init_checkpoint=True) == GOOGLE
    assert choose_recipe(None, "preset", has_init_checkpoint=True) == OF_FILE


def test_what_is_given_is_taken_as_it_is():
    given = {"learning_rate": 2e-4, "first_weights": "bert", "dropout": 0.2, "adam_beta2": 0.98}
    config, changes = settle(given, RECIPES["tiny"])
    assert (config.learning_rate, config.first_weights, config.adam_beta2) == (2e-4, "bert", 0.98)
    assert changes == {
        "hidden_dropout_prob": 0.2,
        "attention_probs_dropout_prob": 0.2,
        "initializer_range": RECIPES["tiny"].initializer_range,
    }


@pytest.mark.parametrize("given", [{"dropout": 1}, {"initializer_range": 0.0}, {"adam_beta2": 1.0}, {"clip_norm": 0.0}])
def test_values_that_make_no_sense_are_refused(given):
    with pytest.raises(InputError, match="expected"):
        settle(given, GOOGLE)


def test_a_preset_says_what_it_sets_and_it_is_recorded(tmp_path, corpus_file, small_vocab_file):
    shards = tmp_path / "shards"
    run("generate", corpus_file, "--vocab-file", small_vocab_file, "--output", shards, "--dupe-factor", 1)
    arguments = ["train", shards, "--bert-config", "tiny", "--num-train-steps", 1, "--learning-rate", 2e-3]
    output = run(*arguments, "--train-batch-size", 8, "--model-dir", tmp_path / "model")
    assert "tiny sets first_weights neighbours, adam_beta2 0.999" in output
    training = json.loads((tmp_path / "model" / "training.json").read_text())
    recipe = asdict(RECIPES["tiny"]) | {"learning_rate": 2e-3, "train_batch_size": 8}
    dropout, initializer_range = recipe.pop("dropout"), recipe.pop("initializer_range")
    assert {name: training["train_config"][name] for name in recipe} == recipe
    assert training["bert_config"]["initializer_range"] == initializer_range
    assert training["bert_config"]["hidden_dropout_prob"] == dropout
    assert recorded_recipe(tmp_path / "model") == replace(RECIPES["tiny"], learning_rate=2e-3, train_batch_size=8)


def test_a_preset_that_an_older_maskmill_trained_goes_on_as_it_began_again_and_again(steps, datasets, tmp_path):
    steps.in_step = at(2, preempt)
    learn(datasets, tmp_path, learning_rate=TrainConfig.learning_rate, train_batch_size=32)
    path = tmp_path / "training.json"
    for _ in range(2):
        training = json.loads(path.read_text())
        for name in ("first_weights", "adam_beta2", "clip_norm", "max_time"):
            training["train_config"].pop(name, None)
        training["train_config"]["optimizer"] = "adamw"  # so it was called, though it never corrected the bias
        del training[SEAL], training[VERSION]
        path.write_text(json.dumps(training))
        assert recorded_recipe(tmp_path) == GOOGLE
        steps.in_step = at(3, preempt)
        learn(datasets, tmp_path, learning_rate=TrainConfig.learning_rate, train_batch_size=32)
        assert recorded_recipe(tmp_path) == GOOGLE


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--max-time", "5m", "--num-train-steps", "5"], "--max-time is given beside --num-train-steps, and both say"),
        (["--max-time", "5"], "'--max-time': 5 is given; expected a time such as 90s, 30m, 1h30m or 2d."),
        (["--first-weights", "neighbours", "--init-checkpoint", "x"], "neighbours is given beside --init-checkpoint"),
        (["--dropout", "1"], "'--dropout': 1 is given; expected a number of at least 0 and at most 0.999."),
    ],
)
def test_options_that_do_not_go_together_are_wrong_usage(tmp_path, arguments, sentence):
    output = refuse("train", tmp_path, "--model-dir", tmp_path / "model", *arguments, exit_code=2)
    assert sentence in " ".join(output.split())
    assert not (tmp_path / "model").exists()
