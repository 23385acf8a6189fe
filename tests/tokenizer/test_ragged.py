"""Rows of different lengths in flat arrays behave as a list of lists would."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from maskmill.tokenizer.ragged import Ragged

rows_of_text = st.lists(st.text(st.characters(exclude_categories=()), max_size=3))


@given(strings=rows_of_text, data=st.data())
def test_rows_are_taken_by_number_any_number_of_times(strings, data):
    numbers = data.draw(st.lists(st.integers(0, len(strings) - 1))) if strings else []
    taken = Ragged.from_strings(strings).take(np.array(numbers, np.int32))
    assert taken.to_strings() == [strings[number] for number in numbers]


@given(strings=rows_of_text)
def test_distinct_rows_come_in_order_of_appearance_and_give_all_rows_back(strings):
    rows = Ragged.from_strings(strings)
    distinct, numbers = rows.distinct()
    assert distinct.to_strings() == list(dict.fromkeys(strings))
    assert distinct.take(numbers).to_strings() == strings
