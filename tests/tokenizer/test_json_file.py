"""A JSON file from anybody is read, or refused in one sentence; a changed bit of one of ours is noticed."""

import json
from dataclasses import dataclass

import pytest

from maskmill.tokenizer.errors import InputError
from maskmill.tokenizer.json_file import (
    MAX_DEPTH,
    brief,
    make,
    parse_json,
    parse_object,
    parse_sealed,
    require_types,
    seal,
    seal_versioned,
)

VALUES = {"labels": ["neg", "pös"], "share": 0.1, "size": 12, "none": None, "deep": {"a": [True, '\\ " é']}}


@dataclass(frozen=True)
class Thing:
    name: str
    sizes: tuple[int, ...] = ()
    share: float | None = None

    def __post_init__(self):
        if self.share is not None and not 0 <= self.share <= 1:
            raise InputError(f"share is {self.share}; expected 0 to 1")


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"", "is not JSON"),
        (b"\x00", "is not JSON"),
        (b"\xff\xff", "is not JSON"),
        (b'{"a": 1', "is not JSON"),
        (b"[1]", "holds no JSON object"),
        (b'"text"', "holds no JSON object"),
        (b"[" * 200_000 + b"]" * 200_000, "nested more than 64 deep"),
        (b'{"a":' * 200_000, "nested more than 64 deep"),
        (b"[" * 200_000, "nested more than 64 deep"),
        (b'{"a": %s1%s}' % (b"[" * MAX_DEPTH, b"]" * MAX_DEPTH), "nested more than 64 deep"),
        (b'{"a": NaN}', "NaN is no JSON number"),
        (b'{"a": -Infinity}', "-Infinity is no JSON number"),
        (b'{"a": 1e999}', "the number 1e999 is too large"),
        (b'{"a": %s}' % (b"9" * 5000), "is damaged"),
        (b'{"a": 1, "b": {"c": 1, "c": 2}}', "two members have the name 'c'"),
        (b'{"a": "\\ud800"}', "half a surrogate pair"),
        (b'{"a": "' + b"x" * (16 << 20) + b'"}', "has more than 16 MiB"),
    ],
    ids=range(17),
)
def test_what_is_no_json_object_is_one_sentence(content, sentence):
    with pytest.raises(InputError, match=sentence) as caught:
        parse_object(content, "dir/a.json", "copy it again")
    assert str(caught.value).startswith("dir/a.json ")
    assert str(caught.value).endswith("; copy it again")
    assert len(str(caught.value)) < 300


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_an_object_is_read_in_the_encodings_of_json(encoding):
    assert parse_object(json.dumps(VALUES, ensure_ascii=False).encode(encoding), "a", "b") == VALUES
    assert parse_json('{"model_max_length": 1000000000000000019884624838656}') == {"model_max_length": int(1e30)}


def test_a_dataclass_is_made_of_members_of_its_types():
    assert make(Thing, {"name": "a", "sizes": [1, 2], "share": 1}, "f", "w") == Thing("a", (1, 2), 1)
    for values, sentence in (
        ([], r"f is damaged \(\[\] where an object is expected\); w"),
        ({}, "it has no name"),
        ({"name": "a", "nam": 1}, "an unknown member 'nam'"),
        ({"name": 1}, "name is 1"),
        ({"name": "a", "sizes": [1, True]}, r"sizes is \[1, True\]"),
        ({"name": "a", "share": "1"}, "share is '1'"),
        ({"name": "a", "share": 10**400}, "share is 1000"),
        ({"name": "a", "share": 2}, "share is 2; expected 0 to 1"),
    ):
        with pytest.raises(InputError, match=sentence):
            make(Thing, values, "f", "w")


def test_members_are_checked_and_others_may_be_there():
    require_types({"a": {"b": [1]}, "c": 3}, {"a": dict[str, list[int]]}, "f", "w")
    for types, sentence in (({"d": int}, "it has no d"), ({"a": dict[str, int]}, "a is {'b': ")):
        with pytest.raises(InputError, match=sentence):
            require_types({"a": {"b": [1]}}, types, "f", "w")


def test_a_value_of_any_size_is_quoted_in_few_characters():
    for value in ("x" * 10**6, 10**10**4, [[1] * 1000] * 3, dict.fromkeys(map(str, range(1000)))):
        assert len(brief(value)) < 70


def test_every_bit_of_a_sealed_file_counts():
    good = seal_versioned(VALUES).encode()
    assert parse_sealed(good, "f", "w") == VALUES
    for bit in range(8 * len(good)):
        bad = bytearray(good)
        bad[bit // 8] ^= 1 << bit % 8
        with pytest.raises(InputError, match=r"^f "):
            parse_sealed(bytes(bad), "f", "w")
    for end in range(len(good)):
        with pytest.raises(InputError, match=r"^f "):
            parse_sealed(good[:end], "f", "w")


def test_a_file_of_an_older_maskmill_is_read_and_one_of_a_later_is_refused():
    assert parse_sealed(json.dumps(VALUES).encode(), "f", "w") == VALUES
    with pytest.raises(
        InputError, match="f has format_version 2, this maskmill reads 1; use the maskmill that wrote it"
    ):
        parse_sealed(seal({"format_version": 2, **VALUES}).encode(), "f", "w")
