"""Trainings on one dataset of tokens, with other lengths in each phase, that are stopped and go on."""

import itertools
from contextlib import closing
from dataclasses import replace

import numpy as np
import pytest
from damage import make_dataset
from fake_steps import BERT_CONFIG, CONFIG, at, die, preempt
from fake_steps import steps as steps  # a fixture
from small_text import WORDS

from maskmill.model.pretraining import examples
from maskmill.model.pretraining.batches import train_batches
from maskmill.model.pretraining.config import PhaseRequest
from maskmill.model.pretraining.train import train
from maskmill.model.training.checkpoint import list_checkpoints, read_numbers
from maskmill.pipeline.dataset.config import InstanceConfig
from maskmill.pipeline.dataset.dataset import Dataset
from maskmill.pipeline.instances.token_dataset import TokenDataset
from maskmill.tokenizer.errors import InputError

SHORT = {"max_seq_length": 16, "objective": "mlm"}
LAST = 40


@pytest.fixture(scope="module")
def made(tmp_path_factory, small_vocab):
    """The same documents as tokens, and as records of both lengths."""
    rng = np.random.default_rng(5)
    documents = [[" ".join(rng.choice(WORDS, rng.integers(2, 9))) for _ in range(6)] for _ in range(90)]
    config = InstanceConfig(dupe_factor=9, shards_per_copy=4, eval_fraction=0.2, objective="mlm").with_length(24)
    folder = tmp_path_factory.mktemp("tokens")
    configs = {
        "tokens": replace(config, format="tokens"),
        "long": config,
        "short": config.with_length(16),
    }
    for name, one in configs.items():
        make_dataset(folder / name, documents, one, small_vocab)
    return folder, replace(BERT_CONFIG, vocab_size=len(small_vocab))


@pytest.fixture(autouse=True)
def small_window(monkeypatch):
    monkeypatch.setattr(examples, "SHUFFLE_WINDOW", 30)


@pytest.fixture
def phases(made):
    folder, _ = made
    tokens = folder / "tokens"
    return [PhaseRequest(tokens, 15, SHORT), PhaseRequest(tokens, 10), PhaseRequest(tokens, 15, SHORT)]


def learn(made, phases, model_dir):
    return train(phases, model_dir, made[1], replace(CONFIG, save_checkpoints_steps=6))


def batches_of(folder, count):
    with closing(train_batches(Dataset.open(folder), CONFIG.train_batch_size, CONFIG.random_seed)) as batches:
        return [batch["input_ids"] for batch in itertools.islice(batches, count)]


@pytest.mark.parametrize("stop", [preempt, die])
@pytest.mark.parametrize("step", [None, 3, 13, 22, 33])
def test_phases_of_other_lengths_are_those_of_records_and_go_on(steps, made, phases, tmp_path, step, stop):
    short, long = batches_of(made[0] / "short", 30), batches_of(made[0] / "long", 10)
    expected = [*short[:15], *long, *short[15:]]  # the third phase goes on where the first ended
    if step:
        steps.in_step = at(step, stop)
        if stop is die:
            with pytest.raises(SystemExit):
                learn(made, phases, tmp_path)
        else:
            assert learn(made, phases, tmp_path) == step
        began = list_checkpoints(tmp_path)[0][0] if list_checkpoints(tmp_path) else 0
        assert began == (step if stop is preempt else step // 6 * 6)
        steps.in_step = lambda step: None
        del steps.batches[began:]
    assert learn(made, phases, tmp_path) == LAST
    assert len(steps.batches) == LAST
    for found, ids in zip(steps.batches, expected):
        np.testing.assert_array_equal(found["input_ids"], ids)


def test_what_a_checkpoint_holds_is_not_counted_again(steps, made, phases, tmp_path, monkeypatch):
    steps.in_step = at(28, preempt)
    learn(made, phases, tmp_path)
    names = read_numbers(tmp_path, 28)
    assert {name.split("/")[1] for name in names if name.startswith("bookmark/")} == {"0", "1"}
    monkeypatch.setattr(TokenDataset, "count", lambda self, shard, copy: 100)  # for the estimate of its examples alone
    counted = []
    monkeypatch.setattr(examples, "_find_bookmark", spy(examples._find_bookmark, counted))
    steps.in_step = lambda step: None
    assert learn(made, phases, tmp_path) == LAST
    assert counted == [True]


def spy(find, counted):
    """Notes whether the window that is asked for is in the bookmarks."""

    def found(tokens, random_seed, window, bookmarks):
        counted.append(window in bookmarks)
        return find(tokens, random_seed, window, bookmarks)

    return found


def test_records_cannot_be_drawn_in_another_way(steps, made, tmp_path):
    with pytest.raises(InputError, match="holds instances, whose max_seq_length cannot be changed; leave the option"):
        learn(made, [PhaseRequest(made[0] / "long", 3, SHORT)], tmp_path)
