"""Trainings, and models that are used, which are refused in one sentence that says why."""

import json
import shutil
from dataclasses import replace

import pytest
from command import SMALL_BERT, SMALL_TRAIN, refuse, run

from maskmill.model.formats.model_dir import read_training
from maskmill.pipeline.dataset.schema import DatasetInfo
from maskmill.tokenizer.json_file import seal_versioned

pytest.importorskip("tensorflow", reason="needs the [train] extra")


def test_a_model_is_not_evaluated_on_text_of_another_case(folder, tmp_path, corpus_file):
    vocab_file = folder / "model" / "vocab.txt"
    cased = ["--cased", "--eval-fraction", 0.2, "--max-seq-length", 32, "--max-predictions-per-seq", 5]
    run("generate", corpus_file, "--vocab-file", vocab_file, "--output", tmp_path / "cased", *cased)
    assert "was trained with cased=False" in refuse("evaluate", tmp_path / "cased", "--model-dir", folder / "model")


@pytest.mark.parametrize(
    ("damage", "sentence"),
    [
        (lambda shards: (shards / "vocab.txt").write_text("[PAD]\n"), "vocab.txt has sha256"),
        (lambda shards: next(shards.glob("instances*")).write_bytes(b"cut"), "has 3 bytes, dataset_info.json says"),
        (lambda shards: (shards / "dataset_info.json").unlink(), "is no dataset"),
        (lambda shards: replace(DatasetInfo.load(shards), shards=()).save(shards), "has no examples to train on"),
    ],
)
def test_a_dataset_that_does_not_fit_its_manifest_is_refused(folder, tmp_path, damage, sentence):
    copy = tmp_path / "shards"
    copy.mkdir()
    for path in (folder / "shards").iterdir():
        (copy / path.name).write_bytes(path.read_bytes())
    damage(copy)
    assert sentence in refuse("train", copy, "--model-dir", tmp_path / "model", "--bert-config", folder / "bert.json")
    assert not (tmp_path / "model").exists()


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"vocab_size": 7}, "bert_config has vocab_size 7"),
        ({"max_position_embeddings": 16}, "has max_seq_length 32"),
        ({"type_vocab_size": 1}, "type_vocab_size is 1; expected 2 or more"),
        ({"hidden_dropout_prob": "0.1"}, "hidden_dropout_prob is '0.1'; expected a share"),
        ({"initializer_range": -1}, "initializer_range is -1; expected more than 0"),
        ({"num_attention_heads": 3}, "num_attention_heads is 3; expected a divisor of hidden_size"),
    ],
)
def test_a_model_that_does_not_fit_the_dataset_is_refused(folder, tmp_path, values, sentence):
    (tmp_path / "bert.json").write_text(json.dumps({**SMALL_BERT, **values}))
    arguments = ["--model-dir", tmp_path / "model", "--bert-config", tmp_path / "bert.json"]
    assert sentence in refuse("train", folder / "shards", *arguments)


def test_a_folder_without_permission_is_told(folder):
    arguments = ["--bert-config", folder / "bert.json", *SMALL_TRAIN]
    message = refuse("train", folder / "shards", "--model-dir", "/proc/model", *arguments)
    assert "/proc/model cannot be used (" in message
    assert message.endswith("; check the path, its permissions and the free space")


@pytest.mark.parametrize(
    ("arguments", "exit_code", "sentence"),
    [
        ([], 2, "expected a DATASET, or --phase DIR:STEPS once or more"),
        (["SHARDS", "--phase", "SHARDS:3"], 2, "expected a DATASET, or --phase DIR:STEPS once or more"),
        (["--phase", "SHARDS"], 2, "expected DIR:STEPS with 1 to 2,147,483,647 steps"),
        (["--phase", "SHARDS:3", "--num-train-steps", 3], 2, "which says the steps of each phase"),
        (["nowhere"], 1, "nowhere is no dataset"),
        (["SHARDS", "--bert-config", "huge"], 1, "bert_config huge is neither one of tiny, mini, small, medium, base"),
        (["SHARDS", "--bert-config", "SHARDS/vocab.txt"], 1, "vocab.txt is not JSON"),
        (["SHARDS", "--train-batch-size", 4096], 1, "train_batch_size is 4,096; expected"),
        (["SHARDS", "--train-batch-size", 10, "--gradient-accumulation-steps", 4], 1, "expected a multiple of 4"),
    ],
)
def test_what_cannot_be_trained_is_refused_and_nothing_is_made(folder, tmp_path, arguments, exit_code, sentence):
    arguments = [str(argument).replace("SHARDS", str(folder / "shards")) for argument in arguments]
    assert sentence in refuse("train", *arguments, "--model-dir", tmp_path / "model", exit_code=exit_code)
    assert not (tmp_path / "model").exists()


def test_wrong_values_are_wrong_usage(folder, tmp_path):
    arguments = ["--model-dir", tmp_path / "model", "--learning-rate", "-1"]
    assert "learning_rate is -1.0; expected 1e-12 to 100" in refuse("train", folder / "shards", *arguments, exit_code=2)


@pytest.mark.parametrize("option", ["--model-dir", "--bert-config", "--init-checkpoint"])
def test_an_option_that_an_unset_variable_left_empty_is_wrong_usage(folder, tmp_path, option):
    arguments = ["--model-dir", tmp_path / "model", option, ""]
    assert f"'{option}': it is empty; expected " in refuse("train", folder / "shards", *arguments, exit_code=2)


@pytest.mark.parametrize(
    "change", [{"bert_config": 3}, {"train_config": []}, {"phases": 1}, {"cased": "no"}, {"vocab_sha256": None}]
)
def test_a_value_in_training_json_that_is_none_is_refused(folder, tmp_path, change):
    training = read_training(folder / "model")
    (tmp_path / "training.json").write_text(seal_versioned(training | change))
    ((name, value),) = change.items()
    message = refuse("evaluate", folder / "shards", "--model-dir", tmp_path)
    assert f"training.json is damaged ({name} is {value!r}); restore it" in message


@pytest.mark.parametrize("content", ["{}", "[]", "{", ""])
def test_a_damaged_training_json_is_refused(folder, tmp_path, content):
    (tmp_path / "training.json").write_text(content)
    message = refuse("evaluate", folder / "shards", "--model-dir", tmp_path)
    assert "training.json" in message
    assert "train" in message.split(";")[-1]


@pytest.mark.parametrize("command", [["fill-mask", "a [MASK]"], ["export", "--output", "out"]])
@pytest.mark.parametrize("damage", [lambda path: path.write_bytes(path.read_bytes()[:100]), lambda path: path.unlink()])
def test_a_model_is_not_used_with_another_vocabulary(folder, tmp_path, monkeypatch, command, damage):
    monkeypatch.chdir(tmp_path)
    shutil.copytree(folder / "model", "model")
    damage(tmp_path / "model" / "vocab.txt")
    assert "model/vocab.txt " in refuse(*command, "--model-dir", "model")
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


@pytest.mark.parametrize("change", [{"num_hidden_layers": 2}, {"hidden_size": 32}])
def test_the_checkpoint_of_another_model_is_refused(folder, tmp_path, change):
    shutil.copytree(folder / "model", tmp_path / "model")
    path = tmp_path / "model" / "training.json"
    training = read_training(path.parent)
    path.write_text(seal_versioned(training | {"bert_config": training["bert_config"] | change}))
    message = refuse("evaluate", folder / "shards", "--model-dir", tmp_path / "model")
    assert "the checkpoint has " in message
    assert "put checkpoints back into the folder that they were trained in" in message


@pytest.mark.parametrize("command", [["evaluate", "shards"], ["export"]])
def test_a_folder_without_a_model_is_refused(folder, tmp_path, command):
    name, *arguments = command
    arguments = [folder / "shards" if argument == "shards" else argument for argument in arguments]
    output = ["--output", tmp_path / "out"] if name == "export" else []
    assert "holds no model" in refuse(name, *arguments, "--model-dir", tmp_path, *output)
