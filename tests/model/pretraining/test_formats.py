"""The same batches from records, from columns, and drawn from tokens."""

import itertools
from contextlib import closing
from dataclasses import replace

import numpy as np
import pytest
from damage import make_dataset
from small_text import WORDS

from maskmill.model.pretraining import examples as examples_of
from maskmill.model.pretraining.batches import eval_batches, name_examples, train_batches
from maskmill.model.pretraining.examples import SHUFFLE_WINDOW
from maskmill.pipeline.dataset.config import InstanceConfig
from maskmill.pipeline.dataset.dataset import Dataset

COPIES = 4
CONFIGS = {
    "nsp": InstanceConfig(dupe_factor=COPIES, shards_per_copy=5, eval_fraction=0.3),
    "sop": InstanceConfig(dupe_factor=COPIES, shards_per_copy=5, eval_fraction=0.3, objective="sop", dedup=True),
    "mlm": InstanceConfig(
        dupe_factor=COPIES, shards_per_copy=5, eval_fraction=0.3, objective="mlm", whole_word_mask=True,
        min_sentence_tokens=3,
    ),
}  # fmt: skip
BATCH = 7


@pytest.fixture(scope="module", params=CONFIGS)
def datasets(request, tmp_path_factory, small_vocab):
    """The same documents as records, as columns and as tokens."""
    rng = np.random.default_rng(5)
    documents = [
        [" ".join(rng.choice(WORDS, rng.integers(2, 12))) for _ in range(rng.integers(1, 9))] for _ in range(120)
    ]
    config = replace(CONFIGS[request.param].with_length(32), random_seed=7)
    folder = tmp_path_factory.mktemp(request.param)
    return {
        one: Dataset.open(
            make_dataset(folder / one, documents + documents[:5], replace(config, format=one), small_vocab)
        )
        for one in ("tfrecord", "parquet", "tokens")
    }


@pytest.fixture(autouse=True)
def small_window(monkeypatch):
    monkeypatch.setattr(examples_of, "SHUFFLE_WINDOW", 50)


def batches_of(dataset, steps, start=0, **rest):
    """The batches of some steps."""
    with closing(train_batches(dataset, BATCH, 3, start, **rest)) as batches:
        return list(itertools.islice(batches, steps))


def assert_equal(found, expected):
    assert len(found) == len(expected)
    for ours, theirs in zip(found, expected):
        assert ours.keys() == theirs.keys()
        for name, values in theirs.items():
            np.testing.assert_array_equal(ours[name], values)
            assert ours[name].dtype == values.dtype


def test_training_sees_the_same_batches(datasets):
    examples = datasets["tfrecord"].info.examples_of("train")
    expected = batches_of(datasets["tfrecord"], examples // BATCH + 30)
    assert_equal(batches_of(datasets["parquet"], examples // BATCH + 30), expected)
    steps = examples // 50 * 50 // BATCH  # the last window of records has fewer, where that of tokens goes on
    assert steps * BATCH > (COPIES - 1) * examples // COPIES
    assert_equal(batches_of(datasets["tokens"], steps), expected[:steps])


def test_copies_of_tokens_have_no_end(datasets):
    one_pass = datasets["tfrecord"].info.examples_of("train") // BATCH
    with closing(train_batches(datasets["tokens"], BATCH, 3, one_pass + 5)) as batches:
        later = next(batches)
    assert later["input_mask"].any(axis=1).all()


def test_any_step_goes_on_with_a_bookmark_and_without(datasets):
    steps = datasets["tfrecord"].info.examples_of("train") // BATCH
    expected = batches_of(datasets["tokens"], steps)
    bookmarks = {}
    batches_of(datasets["tokens"], steps, bookmarks=bookmarks)
    assert max(bookmarks) >= steps * BATCH // 50
    for start in (1, 6, 8, steps // 2, steps - 2):
        assert_equal(batches_of(datasets["tokens"], 2, start), expected[start : start + 2])
        known = {number: mark for number, mark in bookmarks.items() if number <= start * BATCH // 50}
        assert_equal(batches_of(datasets["tokens"], 2, start, bookmarks=known), expected[start : start + 2])


def test_with_a_bookmark_nothing_before_it_is_counted(datasets, monkeypatch):
    bookmarks = {}
    batches_of(datasets["tokens"], 60, bookmarks=bookmarks)
    monkeypatch.setattr("maskmill.pipeline.instances.token_dataset.TokenDataset.count", None)
    last = max(bookmarks)
    batches_of(datasets["tokens"], 2, last * 50 // BATCH + 1, bookmarks=bookmarks)


@pytest.mark.parametrize("num_hosts", [7])
def test_the_hosts_together_get_the_batches_of_one(datasets, num_hosts):
    expected = batches_of(datasets["tfrecord"], 12, 3)
    for name in ("parquet", "tokens"):
        parts = [batches_of(datasets[name], 12, 3, host=host, num_hosts=num_hosts) for host in range(num_hosts)]
        together = [{name: np.concatenate([part[name] for part in step]) for name in step[0]} for step in zip(*parts)]
        assert_equal(together, expected)


@pytest.mark.parametrize("split", ["eval", "train"])
def test_evaluation_sees_the_same_batches(datasets, split):
    expected = list(eval_batches(datasets["tfrecord"], BATCH, split))
    assert_equal(list(eval_batches(datasets["parquet"], BATCH, split)), expected)
    found = list(eval_batches(datasets["tokens"], BATCH, split))
    if split == "train":  # a single copy of endless ones
        assert len(found) == -(-datasets["tokens"].info.examples_of("train") // BATCH)
        found, expected = found[:-1], expected[: len(found) - 1]
    assert_equal(found, expected)


def test_examples_are_named_by_their_shard(datasets):
    for name, pattern in (("tfrecord", ".tfrecord, record "), ("parquet", ".parquet, record "), ("tokens", ", copy ")):
        names = name_examples(datasets[name], BATCH, 3, 12)
        assert len(set(names)) == BATCH
        assert all(pattern in one for one in names)


def test_manifests_say_the_same_but_for_masks(datasets):
    records, columns, tokens = (datasets[name].info for name in ("tfrecord", "parquet", "tokens"))
    assert {**columns.config, "format": "tfrecord"} == {**records.config, "format": "tfrecord"}
    assert columns.counts == records.counts
    assert tokens.examples_of("eval") == records.examples_of("eval")
    assert [shard.examples for shard in tokens.shards_of("train")] == [
        shard.examples for shard in records.shards_of("train") if shard.copy == 0
    ]
    for name in ("documents", "eval_lengths"):
        assert tokens.counts[name] == records.counts[name]
    assert tokens.counts["eval"].items() <= records.counts["eval"].items()
    assert SHUFFLE_WINDOW  # the real one is the default of every training
