"""A training that begins with the weights of another model."""

import json
import shutil

import numpy as np
import pytest
from command import refuse, run

from maskmill.model.bert.config import BertConfig

pytest.importorskip("tensorflow", reason="needs the [train] extra")

ONE_STEP = ["--num-train-steps", 1, "--learning-rate", 1e-9, "--train-batch-size", 8]


def weights_in(model_dir):
    from maskmill.model.formats.model_dir import load_model

    return {name: np.asarray(weight).copy() for name, weight in load_model(model_dir)[0].named_weights.items()}


@pytest.mark.parametrize("form", ["model", "export"])
def test_training_begins_with_a_model_in_our_form_or_hugging_faces(folder, tmp_path, form):
    source = folder / "model"
    if form == "export":
        source = tmp_path / "export"
        run("export", "--model-dir", folder / "model", "--output", source)
    model_dir = tmp_path / "model"
    command = ["train", folder / "shards", "--model-dir", model_dir, "--init-checkpoint", source, *ONE_STEP]
    assert "(1 layers of 16)" in run(*command)
    expected = weights_in(folder / "model")
    for name, weight in weights_in(model_dir).items():
        np.testing.assert_allclose(weight, expected[name], atol=1e-7, err_msg=name)
    assert json.loads((model_dir / "training.json").read_text())["init_checkpoint"] == str(source)


def test_a_training_that_began_with_a_checkpoint_goes_on_without_it(folder, tmp_path):
    (tmp_path / "source").mkdir()
    for path in (folder / "model").iterdir():
        (tmp_path / "source" / path.name).write_bytes(path.read_bytes())
    command = ["train", folder / "shards", "--model-dir", tmp_path / "model", *ONE_STEP]
    run(*command, "--init-checkpoint", tmp_path / "source")
    before = weights_in(tmp_path / "model")
    (tmp_path / "source").rename(tmp_path / "elsewhere")
    run(*command, "--init-checkpoint", tmp_path / "source")
    assert all(np.array_equal(weight, before[name]) for name, weight in weights_in(tmp_path / "model").items())
    assert "holds a training with init_checkpoint" in refuse(*command, "--init-checkpoint", tmp_path / "elsewhere")
    assert "holds a training with init_checkpoint" in refuse(*command, "--bert-config", folder / "bert.json")


def test_after_a_training_without_a_checkpoint_another_one_may_be_begun_with(folder, tmp_path):
    model_dir = tmp_path / "model"
    shutil.copytree(folder / "model", model_dir)
    for path in model_dir.glob("checkpoint-*"):
        path.unlink()
    values = json.loads((model_dir / "bert_config.json").read_text())
    (model_dir / "bert_config.json").write_text(json.dumps(values | {"hidden_size": 8}))
    run("train", folder / "shards", "--model-dir", model_dir, "--init-checkpoint", folder / "model", *ONE_STEP)
    assert BertConfig.load(model_dir, 36).hidden_size == 16


def test_another_vocabulary_needs_resized_embeddings(folder, tmp_path, corpus_file, small_vocab, caplog):
    tokens = [token for token in small_vocab.tokens if token not in ("cat", "[unused0]")] + ["zebra"]
    (tmp_path / "vocab.txt").write_text("".join(f"{token}\n" for token in tokens))
    run(
        "generate", corpus_file, "--vocab-file", tmp_path / "vocab.txt", "--output", tmp_path / "shards",
        "--max-seq-length", 40, "--max-predictions-per-seq", 5,
    )  # fmt: skip
    command = ["train", tmp_path / "shards", "--model-dir", tmp_path / "model", *ONE_STEP]
    command += ["--init-checkpoint", folder / "model"]
    assert f"has vocab_size 36, the dataset has {len(tokens)}; " in (message := refuse(*command))
    assert "with --resize-embeddings" in message
    assert not (tmp_path / "model").exists()
    run(*command, "--resize-embeddings")
    assert f"of {len(tokens)} tokens {len(tokens) - 1} begin as in {folder / 'model'} (by token)" in caplog.text
    assert "the first 32 positions begin as in" in caplog.text
    name = "bert/embeddings/word_embeddings"
    new, old = weights_in(tmp_path / "model")[name], weights_in(folder / "model")[name]
    assert new.shape == (len(tokens), 16)
    np.testing.assert_allclose(new[tokens.index("mat")], old[small_vocab.ids["mat"]], atol=1e-7)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--init-checkpoint", "nowhere"], "nowhere has neither bert_config.json nor config.json beside it, or is not"),
        (["--init-checkpoint", "nowhere", "--bert-config", "tiny"], "nowhere is no checkpoint, or is not there; give"),
        (["--init-checkpoint", "MODEL", "--bert-config", "tiny"], "has hidden_size 16, bert_config has 128; set it"),
    ],
)
def test_a_checkpoint_that_cannot_be_begun_with_is_refused_and_nothing_is_made(folder, tmp_path, arguments, sentence):
    arguments = [folder / "model" if argument == "MODEL" else argument for argument in arguments]
    assert sentence in refuse("train", folder / "shards", "--model-dir", tmp_path / "model", *arguments)
    assert not (tmp_path / "model").exists()


def test_resized_embeddings_need_a_checkpoint(folder, tmp_path):
    command = ["train", folder / "shards", "--model-dir", tmp_path / "model", "--resize-embeddings"]
    assert "without --init-checkpoint" in refuse(*command, exit_code=2)
