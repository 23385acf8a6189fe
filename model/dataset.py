"""The shards of a dataset -> batches of features, in an order that is a function of seed and epoch alone."""

import itertools
import os
import re
from collections.abc import Iterator

import numpy as np
import tensorflow as tf

from pipeline.schema import DatasetInfo, Feature, ShardInfo, Split
from pipeline.storage import is_remote
from pipeline.tfrecord import read_records
from tokenizer.errors import InputError, first_line

# Records shuffled at a time: enough to mix the documents of a pool, and some 20 MB at 128 tokens.
SHUFFLE_WINDOW = 1 << 14
CHUNK = 1 << 10  # records that pass from Python to TensorFlow at a time

Features = dict[str, np.ndarray]  # by name, [batch, length], int32 and float32


def train_batches(
    info: DatasetInfo, directory: str | os.PathLike[str], batch_size: int, random_seed: int, start_step: int = 0
) -> Iterator[Features]:
    """Batches of the train split for ever, from those of step `start_step` on.

    An epoch holds every example once, copy by copy; the shards of a copy are in random order, and the records are
    shuffled in windows. A batch may reach into the next epoch, so none is smaller and no example is left out.
    """
    require_examples(info, directory, "train")
    records = tf.data.Dataset.from_generator(
        lambda: _shuffled_records(info, directory, random_seed, start_step * batch_size),
        output_signature=tf.TensorSpec([None], tf.string),
    )
    batches = records.rebatch(batch_size, drop_remainder=True)
    yield from _one_sentence(_parsed(batches, info.features).as_numpy_iterator())


def eval_batches(
    info: DatasetInfo, directory: str | os.PathLike[str], batch_size: int, split: Split
) -> Iterator[Features]:
    """Batches of a split, every example once in the order of the shards; the last is filled up with rows of zeros."""
    require_examples(info, directory, split)
    batches = _records(info.shards_of(split), directory).batch(batch_size)
    for batch in _one_sentence(_parsed(batches, info.features).as_numpy_iterator()):
        missing = batch_size - len(batch["input_ids"])
        yield {name: np.pad(values, ((0, missing), (0, 0))) for name, values in batch.items()}


def require_examples(info: DatasetInfo, directory: str | os.PathLike[str], split: Split) -> None:
    """Raises InputError when a split is empty."""
    if info.examples_of(split):
        return
    if split == "eval":
        raise InputError(
            f"{directory} has no eval split; generate it with --eval-fraction 0.05, or evaluate with --split train"
        )
    raise InputError(f"{directory} has no examples to train on; generate it from more documents")


def shards_of_epoch(info: DatasetInfo, random_seed: int, epoch: int) -> list[ShardInfo]:
    """The train shards in the order of an epoch: the copies in turn, each with its pools shuffled."""
    order = []
    for copy, shards in itertools.groupby(info.shards_of("train"), key=lambda shard: shard.copy):
        pools = list(shards)
        permutation = np.random.default_rng([random_seed, epoch, 0, copy]).permutation(len(pools))
        order += [pools[i] for i in permutation]
    return order


def _shuffled_records(
    info: DatasetInfo, directory: str | os.PathLike[str], random_seed: int, start: int
) -> Iterator[np.ndarray]:
    """Serialised examples for ever, from the `start`-th on, in arrays of up to SHUFFLE_WINDOW."""
    first_epoch, skip = divmod(start, info.examples_of("train"))
    for epoch in itertools.count(first_epoch):
        first_window, skip = divmod(skip, SHUFFLE_WINDOW)
        records = _records(shards_of_epoch(info, random_seed, epoch), directory, first_window * SHUFFLE_WINDOW)
        windows = records.batch(SHUFFLE_WINDOW).as_numpy_iterator()
        for window, examples in enumerate(windows, start=first_window):
            order = np.random.default_rng([random_seed, epoch, 1, window]).permutation(len(examples))
            yield examples[order[skip:]]
            skip = 0


def _records(shards: list[ShardInfo], directory: str | os.PathLike[str], skip: int = 0) -> tf.data.Dataset:
    """The records of the shards in turn, without the first `skip`; whole shards are skipped unread."""
    shards = list(shards)
    while shards and skip >= shards[0].examples:
        skip -= shards.pop(0).examples
    paths = [os.path.join(directory, shard.path) for shard in shards]
    if is_remote(directory):  # of which TensorFlow has a client of its own, with other credentials and retries
        chunks = tf.data.Dataset.from_generator(
            lambda: _chunks(itertools.chain.from_iterable(map(read_records, paths))),
            output_signature=tf.TensorSpec([None], tf.string),
        )
        return chunks.unbatch().skip(skip)
    is_gzip = any(path.endswith(".gz") for path in paths)
    return tf.data.TFRecordDataset(paths, "GZIP" if is_gzip else "", buffer_size=1 << 20).skip(skip)


def _one_sentence(batches: Iterator[Features]) -> Iterator[Features]:
    """Batches; an error of ours comes as what it was before TensorFlow passed it on."""
    try:
        yield from batches
    except tf.errors.OpError as error:
        sentence = re.search(r"InputError: (.*)", str(error))
        raise InputError(sentence[1] if sentence else first_line(error)) from error


def _chunks(records: Iterator[bytes]) -> Iterator[list[bytes]]:
    return iter(lambda: list(itertools.islice(records, CHUNK)), [])


def _parsed(batches: tf.data.Dataset, features: list[Feature]) -> tf.data.Dataset:
    """Parses whole batches, which is five times as fast as example by example."""
    spec = {feature.name: tf.io.FixedLenFeature([feature.length], feature.dtype) for feature in features}

    def parse(serialized: tf.Tensor) -> dict[str, tf.Tensor]:
        parsed = tf.io.parse_example(serialized, spec)
        return {name: tf.cast(x, tf.int32) if x.dtype == tf.int64 else x for name, x in parsed.items()}

    return batches.map(parse).prefetch(8)
