"""Errors keep their kind and their fields on the way from a worker process, and under another name."""

import pickle

import pytest

from maskmill.tokenizer.errors import DamagedError, InputError, RecordError, WorkerLostError

ERRORS = [
    InputError("has no [MASK]", expected="one", way_out="train one", path="here/v.txt"),
    DamagedError("is cut off", path="here/a.gz"),
    RecordError("has no input_ids", record="record 3 of here", way_out="generate it again"),
    WorkerLostError(),
]


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
def test_an_error_keeps_its_kind_and_fields(error):
    for copy in (pickle.loads(pickle.dumps(error)), error.renamed("here", "gs://b").renamed("gs://b", "here")):
        assert (type(copy), str(copy), vars(copy)) == (type(error), str(error), vars(error))


def test_a_name_changes_in_the_sentence_and_the_fields():
    error = ERRORS[0].renamed("here", "gs://b")
    assert (str(error), error.path) == ("gs://b/v.txt has no [MASK]; expected one; train one", "gs://b/v.txt")
