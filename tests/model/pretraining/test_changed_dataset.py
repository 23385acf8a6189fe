"""Datasets that another process replaces while they are read: whatever reads them notices."""

import os
import shutil
from dataclasses import replace

import pytest
from damage import make_dataset
from fake_steps import at, learn
from fake_steps import datasets as datasets  # a fixture
from fake_steps import steps as steps  # a fixture
from small_dataset import write_dataset

from maskmill.model.pretraining import examples as examples_of
from maskmill.model.pretraining.batches import train_batches
from maskmill.model.pretraining.dynamic_masking import MaskingRules
from maskmill.model.training.checkpoint import list_checkpoints
from maskmill.pipeline.analysis.collecting_stats import measure_dataset
from maskmill.pipeline.analysis.comparing import compare_datasets
from maskmill.pipeline.analysis.example_selection import choose_examples
from maskmill.pipeline.analysis.opened_datasets import open_dataset
from maskmill.pipeline.dataset.config import InstanceConfig
from maskmill.pipeline.dataset.dataset import Dataset
from maskmill.pipeline.dataset.schema import MANIFEST
from maskmill.pipeline.records.tfrecord import read_records, write_records
from maskmill.pipeline.validation.dataset import validate_dataset
from maskmill.tokenizer.errors import InputError

CONFIG = InstanceConfig(max_seq_length=32, max_predictions_per_seq=5, dupe_factor=1, shards_per_copy=2)
CHANGED = "the dataset .* changed while it was read; run this again when nothing writes to it"


@pytest.fixture(scope="module")
def made(tmp_path_factory, corpus_lines, small_vocab):
    """Two datasets of other random seeds."""
    folder = tmp_path_factory.mktemp("made")
    for seed in (1, 2):
        make_dataset(folder / str(seed), corpus_lines, replace(CONFIG, random_seed=seed), small_vocab)
    return folder


@pytest.fixture
def folder(made, tmp_path):
    """A copy of the first."""
    return shutil.copytree(made / "1", tmp_path / "out")


@pytest.fixture
def replace_it(made, folder):
    """What `generate --overwrite` does to the copy."""

    def replace_files():
        shutil.rmtree(folder)
        shutil.copytree(made / "2", folder)

    return replace_files


@pytest.mark.parametrize(
    "read",
    [
        lambda opened: choose_examples(opened, opened.shards, 3),
        lambda opened: choose_examples(opened, opened.shards, 3, random_seed=1),
        lambda opened: measure_dataset(opened, num_workers=1),
        lambda opened: compare_datasets(opened, opened),
    ],
    ids=["first examples", "a sample", "statistics", "comparison"],
)
def test_what_looks_at_a_dataset_notices_another_one(folder, replace_it, read):
    opened = open_dataset(folder)
    read(opened)
    replace_it()
    with pytest.raises(InputError, match=CHANGED):
        read(opened)


def test_a_shard_that_is_gone_because_the_dataset_is_replaced_is_not_called_damage(folder):
    opened = open_dataset(folder)
    (folder / MANIFEST).unlink()
    (folder / opened.shards[0].name).unlink()
    with pytest.raises(InputError, match=CHANGED):
        measure_dataset(opened, num_workers=1)


def test_validate_does_not_judge_a_mixture(folder, replace_it):
    def read_shards(standard, shards):
        replace_it()
        return []

    with pytest.raises(InputError, match=CHANGED):
        validate_dataset(str(folder), read_shards)


def test_batches_end_where_the_dataset_is_replaced(folder, replace_it, monkeypatch):
    monkeypatch.setattr(examples_of, "SHUFFLE_WINDOW", 8)
    dataset = Dataset.open(folder, sealed=True)
    dataset.check_files()
    batches = train_batches(dataset, 4, random_seed=1)
    next(batches)
    replace_it()
    with pytest.raises(InputError, match=CHANGED):
        list(zip(batches, range(10_000)))


def test_batches_end_where_one_shard_is_replaced_after_its_check(tmp_path):
    write_dataset(tmp_path, [[8, 8]])
    dataset = Dataset.open(tmp_path)
    dataset.check_files()
    path = tmp_path / dataset.info.shards[0].path
    write_records(path, [list(read_records(path))[::-1]])
    with pytest.raises(InputError, match="changed while it was read"):
        list(zip(train_batches(dataset, 4, random_seed=1), range(10)))


def test_the_same_manifest_under_a_new_date_is_no_change(folder):
    dataset = Dataset.open(folder)
    os.utime(folder / MANIFEST, ns=(0, 0))
    dataset.require_unchanged()
    assert Dataset.open(folder) == dataset


def test_another_vocabulary_than_the_manifests_is_refused(folder):
    dataset = Dataset.open(folder)
    (folder / "vocab.txt").write_text("[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\n")
    with pytest.raises(InputError, match=r"vocab\.txt has sha256 .* dataset_info\.json says"):
        MaskingRules.load(dataset)


def test_no_checkpoint_is_saved_of_a_training_whose_dataset_was_replaced(steps, datasets, tmp_path):
    (directory, count), (other, _) = datasets
    copy = shutil.copytree(directory, tmp_path / "copy")

    def replace_it():
        for name in os.listdir(copy):
            os.unlink(copy / name)
        shutil.copytree(other, copy, dirs_exist_ok=True)

    steps.in_step = at(3, replace_it)
    with pytest.raises(InputError, match=CHANGED):
        learn([(copy, count)], tmp_path / "model", save_checkpoints_steps=1)
    assert [step for step, _ in list_checkpoints(tmp_path / "model")] == [2, 1]
