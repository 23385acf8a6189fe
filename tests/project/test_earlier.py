"""Folders that an earlier maskmill wrote are read, made again to the byte, and gone on with. tests/earlier has them."""

import shutil

import pytest
from command import run
from places import TESTS
from safetensors.numpy import load_file

EARLIER = TESTS / "earlier"
GENERATE = ("--max-seq-length", 32, "--dupe-factor", 2, "--eval-fraction", 0.2, "--shards-per-copy", 1)
TRAIN = (
    "--bert-config", EARLIER / "bert_config.json", "--num-train-steps", 4, "--train-batch-size", 4,
    "--save-checkpoints-steps", 2, "--eval-every", 2,
)  # fmt: skip
FINETUNE = ("--max-seq-length", 16, "--num-train-epochs", 2, "--train-batch-size", 8)


@pytest.fixture
def copied(tmp_path):
    """A folder of tests/earlier, without a checkpoint, as if it had been stopped before it was written."""

    def copy(name, without):
        folder = tmp_path / name
        shutil.copytree(EARLIER / name, folder)
        (folder / without).unlink()
        return folder

    return copy


def assert_close(path, expected):
    arrays, others = load_file(path), load_file(expected)
    assert arrays.keys() == others.keys()
    for name, values in others.items():
        assert arrays[name] == pytest.approx(values, rel=1e-4, abs=1e-6), name


def test_a_dataset_is_made_to_the_same_bytes_and_is_valid(tmp_path):
    run(
        "generate",
        EARLIER / "corpus.txt",
        "--vocab-file",
        EARLIER / "vocab.txt",
        "--output",
        tmp_path / "new",
        *GENERATE,
    )
    for path in (EARLIER / "dataset").iterdir():
        if path.name != "run.json":  # holds times
            assert (tmp_path / "new" / path.name).read_bytes() == path.read_bytes(), path.name
    run("validate", EARLIER / "dataset")


def test_a_training_goes_on_to_the_same_weights_and_the_model_is_evaluated(copied):
    folder = copied("model", "checkpoint-4.safetensors")
    run("train", EARLIER / "dataset", "--model-dir", folder, *TRAIN)
    assert_close(folder / "checkpoint-4.safetensors", EARLIER / "model" / "checkpoint-4.safetensors")
    assert "masked_lm_accuracy" in run("evaluate", EARLIER / "dataset", "--model-dir", folder)


def test_a_fine_tuning_goes_on_to_the_same_weights_and_predicts(copied, tmp_path):
    folder = copied("classifier", "checkpoint-10.safetensors")
    run("finetune", EARLIER / "rows.csv", "--model-dir", EARLIER / "model", "--output", folder, *FINETUNE)
    assert_close(folder / "checkpoint-10.safetensors", EARLIER / "classifier" / "checkpoint-10.safetensors")
    labels = tmp_path / "labels.csv"
    run("predict", EARLIER / "rows.csv", "--model-dir", EARLIER / "classifier", "--output", labels)
    assert len(labels.read_text().splitlines()) == 41
