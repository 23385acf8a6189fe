"""Stats are what plain Python counts, and those of the parts add up to those of the whole."""

import json
from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from look import MASK_ID, random_examples, serialise

from maskmill.pipeline.analysis.stats import DatasetStats
from maskmill.pipeline.records.examples import decode_example

SHAPE = (24, 4)


def measure(arrays, vocab_size=60):
    stats = DatasetStats.empty(*SHAPE, MASK_ID, vocab_size)
    stats.add(arrays)
    return stats


def count_plainly(records, vocab_size):
    """The same counts, one record and one token at a time."""
    counts = {name: Counter() for name in DatasetStats.empty(*SHAPE, MASK_ID).to_values() if name != "mask_id"}
    for record in map(decode_example, records):
        ids = record["input_ids"][: sum(record["input_mask"])]
        in_b = sum(record["segment_ids"])
        predictions = [
            (position, original)
            for position, original, weight in zip(
                record["masked_lm_positions"], record["masked_lm_ids"], record["masked_lm_weights"]
            )
            if weight
        ]
        counts["lengths"][len(ids)] += 1
        counts["lengths_a"][len(ids) - in_b - 2] += 1
        counts["lengths_b"][max(in_b - 1, 0)] += 1
        counts["labels"][record["next_sentence_labels"][0]] += 1
        counts["predictions"][len(predictions)] += 1
        for position, original in predictions:
            counts["positions"][position] += 1
            if ids[position] == MASK_ID:
                counts["kinds"][0] += 1
            elif ids[position] == original:
                counts["kinds"][1] += 1
            else:
                counts["kinds"][2] += 1
                counts["random_words"][ids[position]] += 1
            ids[position] = original
        counts["token_counts"].update(ids)
    return {name: dict(counter) for name, counter in counts.items()}


def as_dicts(stats):
    values = stats.to_values()
    del values["mask_id"]
    return {name: {place: count for place, count in enumerate(counts) if count} for name, counts in values.items()}


@given(st.integers(0, 2**32), st.integers(0, 40), st.sampled_from([0, 60]))
def test_stats_are_what_plain_python_counts(seed, count, vocab_size):
    arrays = random_examples(seed, count)
    assert as_dicts(measure(arrays, vocab_size)) == count_plainly(serialise(arrays), vocab_size)


@given(st.integers(0, 2**32), st.lists(st.integers(0, 30), max_size=3))
def test_the_stats_of_parts_add_up_to_those_of_the_whole(seed, cuts):
    arrays = random_examples(seed, 30)
    parts = [
        {name: values[start:end] for name, values in arrays.items()}
        for start, end in zip([0, *sorted(cuts)], [*sorted(cuts), 30])
    ]
    total = measure(parts[0], vocab_size=0)
    for part in parts[1:]:
        total = total + measure(part, vocab_size=0)
    at_once = measure(arrays, vocab_size=0)
    for _ in parts:
        at_once = at_once + DatasetStats.empty(*SHAPE, MASK_ID)
    assert as_dicts(total) == as_dicts(at_once) == as_dicts(measure(arrays))


def test_examples_tokens_padding_and_masks_are_told_by_the_histograms():
    arrays = random_examples(3, 50)
    stats = measure(arrays)
    assert stats.examples == 50
    assert stats.tokens == arrays["input_mask"].sum() == stats.token_counts.sum()
    assert stats.padding == (arrays["input_mask"] == 0).sum()
    assert stats.masked == arrays["masked_lm_weights"].sum() == stats.kinds.sum()


def test_adding_leaves_the_batch_as_it_was():
    arrays = random_examples(3, 50)
    measure(arrays)
    for name, values in random_examples(3, 50).items():
        np.testing.assert_array_equal(arrays[name], values)


def test_stats_go_through_json():
    stats = measure(random_examples(3, 50))
    again = DatasetStats.from_values(json.loads(json.dumps(stats.to_values())))
    assert again.to_values() == stats.to_values()
    assert (again + stats).examples == 100


@pytest.mark.parametrize(
    ("feature", "value"),
    [
        ("next_sentence_labels", 7),
        ("masked_lm_positions", 2**31 - 1),
        ("input_ids", 2**31 - 1),
        ("masked_lm_ids", 2**31 - 1),
        ("input_mask", 3),
        ("segment_ids", 2),
    ],
)
def test_values_against_the_rules_are_counted_and_do_no_harm(feature, value):
    arrays = random_examples(3, 50)
    arrays[feature][:, -1] = value
    stats = measure(arrays)
    assert stats.examples == 50
    assert len(stats.token_counts) == 60
