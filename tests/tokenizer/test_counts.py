"""Words are counted right, whatever parts a corpus is counted in and however many distinct words it has."""

import random
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from maskmill.tokenizer import counts
from maskmill.tokenizer.basic import split_words
from maskmill.tokenizer.counts import Sketch, WordCounts, count_words
from maskmill.tokenizer.fast import WordSplitter


@pytest.mark.parametrize("cased", [False, True])
def test_words_are_those_of_the_readable_tokenizer(golden_lines, cased):
    lines = [case["text"] for case in golden_lines]
    assert count_words(WordSplitter(cased), lines) == Counter(
        word for line in lines for word in split_words(line, cased)
    )


@pytest.fixture(autouse=True, scope="module")
def small_sketches():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(counts, "BUCKET_BITS", 16)
        yield


words = st.dictionaries(st.text("abc", min_size=1, max_size=2), st.integers(1, 5))


@given(parts=st.lists(words, min_size=1), max_words=st.integers(1, 12), data=st.data())
def test_parts_and_their_order_change_nothing(parts, max_words, data):
    whole = WordCounts(max_words)
    for part in parts:
        whole.add(part)
    merged = WordCounts(max_words)
    for part in data.draw(st.permutations(parts)):
        other = WordCounts(max_words)
        other.add(part)
        merged.merge(other)
    assert merged.words == whole.words
    assert bool(merged.sketch) == bool(whole.sketch) == (len(Counter(word for p in parts for word in p)) > max_words)
    if merged.sketch:
        assert (merged.sketch.sums == whole.sketch.sums).all()


def test_every_frequent_word_passes_and_hardly_a_rare_one():
    rng = random.Random(0)
    words = {f"w{number}": min(int(1e6 / rng.uniform(1, 1e6)), 1000) for number in range(20_000)}
    sketch = Sketch()
    sketch.add(words)
    frequent = sketch.find_frequent(2_000)
    passing = frequent.select(words)
    at_floor = {word: count for word, count in words.items() if count >= frequent.floor}
    assert frequent.occurrences == sum(words.values())
    assert 1_000 < len(at_floor) <= 2_000
    assert at_floor.items() <= passing.items()
    assert len(passing) < 1.05 * len(at_floor)
    assert sum(count == frequent.floor - 1 for count in words.values())  # the next smaller floor would be too many
