"""For the tests of what looks at datasets: small ones of random examples, also under the names of other programs."""

import gzip

import numpy as np

from maskmill.pipeline.dataset.schema import Feature, features
from maskmill.pipeline.records.examples import ExampleEncoder
from maskmill.pipeline.records.tfrecord import write_records

MASK_ID = 4
MODEL_GARDEN = {"input_ids": "input_word_ids", "segment_ids": "input_type_ids"}


def random_examples(seed, count, max_seq_length=24, max_predictions_per_seq=4, vocab_size=60):
    """Examples as the rules want them, but for meaning: arrays by feature."""
    rng = np.random.default_rng(seed)
    arrays = {
        one.name: np.zeros((count, one.length), np.float32 if one.dtype == "float32" else np.int32)
        for one in features(max_seq_length, max_predictions_per_seq)
    }
    for row in range(count):
        length = int(rng.integers(5, max_seq_length + 1))
        end_of_a = int(rng.integers(2, length - 2))
        ids = rng.integers(5, vocab_size, length)
        ids[0], ids[end_of_a], ids[-1] = 2, 3, 3
        candidates = [place for place in range(1, length - 1) if place != end_of_a]
        wanted = int(rng.integers(1, min(max_predictions_per_seq, len(candidates)) + 1))
        positions = np.sort(rng.choice(candidates, wanted, replace=False))
        arrays["masked_lm_positions"][row, :wanted] = positions
        arrays["masked_lm_ids"][row, :wanted] = ids[positions]
        arrays["masked_lm_weights"][row, :wanted] = 1.0
        kinds = rng.random(wanted)
        ids[positions] = np.where(
            kinds < 0.8, MASK_ID, np.where(kinds < 0.9, ids[positions], rng.integers(5, vocab_size))
        )
        arrays["input_ids"][row, :length] = ids
        arrays["input_mask"][row, :length] = 1
        arrays["segment_ids"][row, end_of_a + 1 : length] = 1
        arrays["next_sentence_labels"][row] = rng.integers(2)
    return arrays


def serialise(arrays, names=None):
    """Arrays by feature to records, the features called as `names` says."""
    names = names or {}
    described = sorted(
        (
            Feature(names.get(name, name), "float32" if values.dtype == np.float32 else "int64", values.shape[1])
            for name, values in arrays.items()
        ),
        key=lambda one: one.name,
    )
    return ExampleEncoder(described).encode({names.get(name, name): values for name, values in arrays.items()})


def write_shard(path, arrays, names=None, compress=False):
    """A TFRecord file of the examples."""
    write_records(path, [serialise(arrays, names)])
    if compress:
        path.write_bytes(gzip.compress(path.read_bytes()))
