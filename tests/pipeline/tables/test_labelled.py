"""Rows with labels: as ids, divided by their content, and refused where nothing can be learned from them."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from maskmill.pipeline.reading.documents import Rejected
from maskmill.pipeline.tables.fields import Fields
from maskmill.pipeline.tables.labelled import (
    HeldOut,
    LabelledTexts,
    check_rejected,
    find_labels,
    read_labelled,
    split_off,
)
from maskmill.pipeline.tables.texts import encode_texts, truncate_pair
from maskmill.tokenizer.errors import InputError
from maskmill.tokenizer.fast import FastTokenizer

FIELDS = Fields(label_field="label")


def labelled(labels, texts=None, name="table.csv"):
    return LabelledTexts(name, FIELDS, texts or [f"text {i}" for i in range(len(labels))], None, labels)


@given(st.integers(0, 12), st.integers(0, 12), st.integers(1, 20))
def test_a_pair_is_cut_as_googles_script_does(length_a, length_b, longest):
    a, b = length_a, length_b
    while a + b > longest:
        if a > b:
            a -= 1
        else:
            b -= 1
    kept = truncate_pair(np.array([length_a]), np.array([length_b]), longest)
    assert (kept[0][0], kept[1][0]) == (a, b)


def test_texts_and_pairs_become_ids_with_segments(small_vocab):
    ids = small_vocab.ids
    tokenizer = FastTokenizer(small_vocab)
    words = [token for token in small_vocab.tokens if token.isalpha()][:6]
    single = encode_texts([" ".join(words), words[0]], None, tokenizer, small_vocab, 5)
    assert single.lengths.tolist() == [5, 3]
    features = single.features(np.array([1, 0]), 5, batch_size=3)
    expected = [[words[0]], words[:3]]
    for row, kept in enumerate(expected):
        tokens = ["[CLS]", *kept, "[SEP]"]
        assert features["input_ids"][row].tolist() == [*map(ids.get, tokens), *[0] * (5 - len(tokens))]
    assert features["input_mask"].sum(axis=1).tolist() == [3, 5, 0]
    assert all(values.dtype == np.int32 and values.shape == (3, 5) for values in features.values())
    pairs = encode_texts([" ".join(words)], [" ".join(words[:2])], tokenizer, small_vocab, 8)
    features = pairs.features(np.array([0]), 8)
    assert features["segment_ids"][0].tolist() == [0] * 5 + [1] * 3
    assert features["input_ids"][0].tolist() == [
        ids[token] for token in ["[CLS]", *words[:3], "[SEP]", *words[:2], "[SEP]"]
    ]


def test_rows_with_the_same_text_fall_on_the_same_side_whatever_their_label():
    texts = [f"text  {i % 50}" if i % 2 else f"text {i % 50} " for i in range(400)]
    train, held_out = split_off(labelled([str(i % 3) for i in range(400)], texts), 0.25, random_seed=3)
    assert len(train) + len(held_out) == 400
    assert 40 < len(held_out) < 160
    assert not {"".join(text.split()) for text in train.texts} & {"".join(text.split()) for text in held_out.texts}
    again, _ = split_off(labelled([str(i % 3) for i in range(400)], texts), 0.25, random_seed=3)
    assert again.sha256 == train.sha256 != held_out.sha256


def test_each_label_has_its_share_of_the_held_out_rows_wherever_they_stand():
    labels = ["a"] * 300 + ["b"] * 40 + ["c"] * 5 + ["d"] * 2 + ["e"]
    texts = [f"text {i}" for i in range(len(labels))]
    train, held_out = split_off(labelled(labels, texts), 0.1, random_seed=1)
    assert Counter(held_out.labels) == {"a": 30, "b": 4, "c": 1, "d": 1}
    assert Counter(train.labels) == {"a": 270, "b": 36, "c": 4, "d": 1, "e": 1}
    _, other = split_off(labelled(labels[::-1], texts[::-1]), 0.1, random_seed=1)
    assert set(other.texts) == set(held_out.texts)
    assert set(split_off(labelled(labels, texts), 0.1, random_seed=2)[1].texts) != set(held_out.texts)


def test_a_text_with_several_labels_counts_for_the_rarest():
    for seed in range(20):  # else "b" would at times be in the held-out part alone
        train, _ = split_off(labelled(["a"] * 9 + ["b"], [*map(str, range(9)), "0"]), 0.5, seed)
        assert "b" in train.labels


def test_the_split_of_folders_that_began_without_strata_is_still_made():
    found = labelled([str(i % 2) for i in range(200)])
    train, held_out = split_off(found, 0.1, random_seed=12345, stratified=False)
    assert held_out.split == HeldOut(eval_fraction=0.1, random_seed=12345)
    expected = [5, 11, 17, 34, 68, 75, 84, 86, 89, 136, 139, 144, 148, 159, 162, 176]
    assert held_out.texts == [f"text {i}" for i in expected]
    assert len(train) == 200 - len(expected)


def test_labels_are_in_order_and_those_of_the_rows_to_train_on():
    assert find_labels(labelled(["10", "9"]), labelled(["9"])) == ["9", "10"]
    with pytest.raises(InputError, match=r"^table.csv has one label alone in the rows to train on, 'a'"):
        find_labels(labelled(["a", "a"]), labelled(["a"]))
    with pytest.raises(InputError, match=r"^label 'c' is in the held-out part alone \(2 of its 3 rows\)"):
        find_labels(labelled(["a", "b"]), labelled(["c", "a", "c"]))
    for labels in (["a", "b"], ["a" * 9000]):  # a column of texts, taken for that of labels
        with pytest.raises(InputError, match=r"^.{200,500}$"):
            find_labels(labelled(labels), labelled(["c" * 9000]))


def test_what_cannot_be_the_names_of_classes_is_refused(monkeypatch):
    with pytest.raises(
        InputError, match=r"^table.csv has a label of 1,001 characters, 'a{200}'; expected at most 1,000"
    ):
        find_labels(labelled(["a" * 1001, "b"]), labelled(["b"]))
    monkeypatch.setattr("maskmill.pipeline.tables.labelled.MAX_LABELS", 5)
    with pytest.raises(
        InputError, match=r"^table.csv has 6 different labels in 7 rows to train on; expected at most 5"
    ):
        find_labels(labelled([*"abcdef", "a"]), labelled(["a"]))


def test_rows_that_cannot_be_used_are_counted_by_reason(tmp_path):
    path = tmp_path / "table.csv"
    path.write_text("text,label\na,1\n,1\nb\nc,2\n")
    found, rejected = read_labelled(str(path), FIELDS)
    assert (found.texts, found.labels) == (["a", "c"], ["1", "2"])
    sentence = (
        r"2 of 4 rows of .* cannot be used, 50.0%: 1 field 'text' is empty; 1 not as many fields as the first line"
    )
    with pytest.raises(InputError, match=sentence):
        check_rejected(found, rejected, 0.01)
    check_rejected(found, rejected, 0.5)
    with pytest.raises(InputError, match=r"holds no rows"):
        check_rejected(labelled([]), [], 0.5)
    with pytest.raises(InputError, match=r"has no row that can be used \(1 field 'text' is empty\)"):
        check_rejected(labelled([]), [Rejected(1, "field 'text' is empty")], 1)
    with pytest.raises(
        InputError, match=r"which leaves no row held out of 2 rows of .*, as no label has two different"
    ):
        split_off(labelled(["1", "2"]), 0.5, 1)
    for fraction in (0, 1, float("nan")):
        with pytest.raises(InputError, match=rf"^eval_fraction is {fraction}; expected more than 0 and less than 1"):
            split_off(labelled(["1"] * 9), fraction, 1)
