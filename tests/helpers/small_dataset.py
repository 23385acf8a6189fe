"""Small datasets of random examples, written by TensorFlow itself, for the tests of the model."""

import dataclasses
import hashlib
from pathlib import Path

import numpy as np
import tensorflow as tf

from maskmill.pipeline.dataset.dataset import Dataset
from maskmill.pipeline.dataset.schema import VOCAB, DatasetInfo, ShardInfo, features
from maskmill.tokenizer.vocab import SPECIAL_TOKENS

MAX_SEQ_LENGTH, MAX_PREDICTIONS_PER_SEQ, VOCAB_SIZE = 16, 3, 100
VOCAB_TEXT = "".join(
    f"{token}\n" for token in [*SPECIAL_TOKENS, *(f"token{id}" for id in range(len(SPECIAL_TOKENS), VOCAB_SIZE))]
)


def example(number, rng, max_seq_length=MAX_SEQ_LENGTH):
    """A random instance; input_ids[1] tells its number."""
    length = int(rng.integers(8, max_seq_length + 1))
    ids = [2, number, *rng.integers(5, VOCAB_SIZE, length - 3), 3]
    positions = sorted(rng.choice(np.arange(2, length - 1), rng.integers(1, 4), replace=False))
    values = {
        "input_ids": ids,
        "input_mask": [1] * length,
        "segment_ids": [0] * (length // 2) + [1] * (length - length // 2),
        "masked_lm_positions": positions,
        "masked_lm_ids": [ids[position] for position in positions],
        "masked_lm_weights": [1.0] * len(positions),
        "next_sentence_labels": [int(rng.integers(2))],
    }
    filled = {}
    for feature in features(max_seq_length, MAX_PREDICTIONS_PER_SEQ):
        padded = [*values[feature.name], *[0] * (feature.length - len(values[feature.name]))]
        if feature.dtype == "int64":
            filled[feature.name] = tf.train.Feature(int64_list=tf.train.Int64List(value=padded))
        else:
            filled[feature.name] = tf.train.Feature(float_list=tf.train.FloatList(value=padded))
    return tf.train.Example(features=tf.train.Features(feature=filled)).SerializeToString(deterministic=True)


def write_dataset(directory: Path, sizes, split="train", gzip=False, seed=0, max_seq_length=MAX_SEQ_LENGTH) -> Dataset:
    """A dataset whose shard (copy, pool) has `sizes[copy][pool]` examples, numbered from 0 within the whole."""
    rng = np.random.default_rng(seed)
    directory.mkdir(exist_ok=True)
    number, shards = 0, []
    for copy, pools in enumerate(sizes):
        for pool, examples in enumerate(pools):
            path = directory / f"{split}-{copy}-{pool}.tfrecord{'.gz' if gzip else ''}"
            with tf.io.TFRecordWriter(str(path), "GZIP" if gzip else "") as writer:
                for _ in range(examples):
                    writer.write(example(number, rng, max_seq_length))
                    number += 1
            content = path.read_bytes()
            digest = hashlib.sha256(content).hexdigest()
            shards.append(ShardInfo(path.name, split, copy, pool, examples, len(content), digest))
    (directory / VOCAB).write_text(VOCAB_TEXT)
    info = DatasetInfo(
        config={
            "max_seq_length": max_seq_length,
            "max_predictions_per_seq": MAX_PREDICTIONS_PER_SEQ,
            "masked_lm_prob": 0.15,
            "whole_word_mask": False,
            "cased": False,
        },
        vocab_size=VOCAB_SIZE,
        vocab_sha256=hashlib.sha256(VOCAB_TEXT.encode()).hexdigest(),
        counts={},
        shards=tuple(shards),
        maskmill_version="0",
    )
    info.save(directory)
    return Dataset(str(directory), info)


def write_both_splits(directory: Path, train_sizes, eval_sizes) -> Dataset:
    """A dataset with examples to train on, and others to evaluate on."""
    train = write_dataset(directory, train_sizes).info
    held_out = write_dataset(directory, eval_sizes, split="eval", seed=1).info
    info = dataclasses.replace(train, shards=train.shards + held_out.shards)
    info.save(directory)
    return Dataset(str(directory), info)
