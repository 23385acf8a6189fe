"""Examples are chosen as asked: the first, a uniform sample, those that hold a word."""

from collections import Counter

import numpy as np
import pytest
from look import MASK_ID, random_examples, write_shard

from maskmill.pipeline.analysis.example_selection import Word, choose_examples, choose_shards, restore
from maskmill.pipeline.analysis.opened_datasets import open_dataset
from maskmill.tokenizer.errors import InputError
from maskmill.tokenizer.vocab import SPECIAL_TOKENS, Vocab

VOCAB = Vocab(
    [*SPECIAL_TOKENS, *(f"w{id}" for id in range(5, 40)), "un", "##able", *(f"##p{id}" for id in range(42, 60))]
)


@pytest.fixture
def opened(tmp_path):
    """Two shards, of 40 and 30 examples, with a vocabulary and without a manifest."""
    for name, seed, count in (("a", 1, 40), ("b", 2, 30)):
        write_shard(tmp_path / f"{name}.tfrecord", random_examples(seed, count))
    (tmp_path / "vocab.txt").write_text(VOCAB.to_text())
    return open_dataset(tmp_path)


def places(chosen):
    return [(example.shard.name, example.record) for example in chosen]


def words_of(arrays, row=0):
    """The tokens before masking, read one by one."""
    ids = arrays["input_ids"][row].tolist()
    for place, id, weight in zip(*(arrays[f"masked_lm_{what}"][row] for what in ("positions", "ids", "weights"))):
        if weight:
            ids[place] = int(id)
    return [VOCAB.tokens[id] for id in ids[: arrays["input_mask"][row].sum()]]


def test_the_first_examples_are_the_first(opened):
    chosen = choose_examples(opened, opened.shards, 42)
    assert places(chosen) == [("a.tfrecord", n) for n in range(1, 41)] + [("b.tfrecord", 1), ("b.tfrecord", 2)]
    np.testing.assert_array_equal(chosen[41].arrays["input_ids"], random_examples(2, 30)["input_ids"][1:2])
    assert choose_examples(opened, opened.shards, 0) == []


def test_masked_tokens_are_restored():
    arrays = random_examples(5, 30)
    restored = restore(arrays)
    assert MASK_ID in arrays["input_ids"]
    for row in range(30):
        assert [VOCAB.tokens[id] for id in restored[row, : arrays["input_mask"][row].sum()]] == words_of(arrays, row)


@pytest.mark.parametrize("has_manifest", [False, True])
def test_a_sample_is_uniform_over_all_shards_and_the_same_for_a_seed(opened, has_manifest):
    shards = opened.shards
    if has_manifest:
        shards = [type(shard)(**{**vars(shard), "examples": n}) for shard, n in zip(shards, (40, 30))]
    assert places(choose_examples(opened, shards, 5, 3)) == places(choose_examples(opened, shards, 5, 3))
    assert places(choose_examples(opened, shards, 99, 3)) == places(choose_examples(opened, shards, 70))
    drawn = Counter(place for seed in range(150) for place in places(choose_examples(opened, shards, 7, seed)))
    expected = 150 * 7 / 70
    assert sum(drawn.values()) == 150 * 7
    chi_square = sum((drawn[place] - expected) ** 2 / expected for place in places(choose_examples(opened, shards, 70)))
    assert chi_square < 110  # 69 degrees of freedom: one in a thousand


def test_a_sample_holds_what_stands_there(opened):
    for example in choose_examples(opened, opened.shards, 9, random_seed=1):
        whole = random_examples(1, 40) if example.shard.name == "a.tfrecord" else random_examples(2, 30)
        for name, values in example.arrays.items():
            np.testing.assert_array_equal(values, whole[name][example.record - 1 : example.record])


@pytest.mark.parametrize("text", ["w7", "unable", "un", "w9 w12", "[UNK]"])
def test_words_are_found_whole_and_masked_ones_by_their_originals(opened, text):
    pieces = {"unable": ["un", "##able"], "w9 w12": ["w9", "w12"]}.get(text, [text])
    expected = set()
    for name, seed, count in (("a", 1, 40), ("b", 2, 30)):
        arrays = random_examples(seed, count)
        for row in range(count):
            words = words_of(arrays, row)
            for place in range(len(words)):
                after = words[place + len(pieces) : place + len(pieces) + 1]
                goes_on = after and after[0].startswith("##")
                if words[place : place + len(pieces)] == pieces and not goes_on:
                    expected.add((f"{name}.tfrecord", row + 1))
    chosen = choose_examples(opened, opened.shards, 99, word=Word.parse(text, VOCAB, cased=False))
    assert set(places(chosen)) == expected
    if text in ("w7", "un"):
        assert expected
    for example in chosen:
        found = [words_of(example.arrays)[place] for place in example.found]
        assert found == pieces * (len(found) // len(pieces)) != []
    drawn = places(choose_examples(opened, opened.shards, 2, 5, Word.parse(text, VOCAB, cased=False)))
    assert set(drawn) <= expected
    assert len(drawn) == min(2, len(expected))


def test_a_word_is_not_found_within_a_longer_one(tmp_path):
    arrays = random_examples(1, 3)
    un, able = VOCAB.ids["un"], VOCAB.ids["##able"]
    for row, ids in enumerate(([2, un, able, 3], [2, un, 3], [2, 7, able, 3])):
        for name in arrays:
            arrays[name][row] = 0
        arrays["input_ids"][row, : len(ids)] = ids
        arrays["input_mask"][row, : len(ids)] = 1

    def rows(text):
        return np.flatnonzero(Word.parse(text, VOCAB, cased=False).find(arrays).any(axis=1)).tolist()

    assert rows("un") == [1]
    assert rows("UNABLE") == [0]
    assert rows("w7") == []


@pytest.mark.parametrize(
    ("text", "sentence"),
    [("漢字", "no pieces for it, so that it becomes"), ("", "no characters"), ("  ", "give a word")],
)
def test_a_word_that_cannot_be_is_refused(text, sentence):
    with pytest.raises(InputError, match=sentence):
        Word.parse(text, VOCAB, cased=False)


def test_shards_are_called_by_name_or_path(opened):
    (shard,) = choose_shards(opened, "b.tfrecord")
    assert choose_shards(opened, shard.path) == [shard]
    with pytest.raises(InputError, match=r"--shard c is not in .*; its 2 shards are called such as a.tfrecord"):
        choose_shards(opened, "c")
