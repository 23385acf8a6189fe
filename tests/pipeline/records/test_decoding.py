"""Examples decoded together are those of the readable decoder and of TensorFlow's parser, whoever wrote them."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from small_instances import random_instances

from maskmill.pipeline.dataset.schema import Feature, features
from maskmill.pipeline.records import decoding
from maskmill.pipeline.records.decoding import ExampleDecoder
from maskmill.pipeline.records.examples import ExampleEncoder, decode_example
from maskmill.tokenizer.errors import InputError

tf = pytest.importorskip("tensorflow", reason="needs the [train] extra")

SHAPES = st.sampled_from([(8, 1), (32, 5), (128, 20), (512, 76)])
FEW = [Feature("flag", "int64", 1), Feature("ids", "int64", 3), Feature("weights", "float32", 2)]
VALUES = {"flag": [1], "ids": [0, 127, 30_521], "weights": [0.5, -1.0]}


def parsed_by_tensorflow(described, records):
    spec = {feature.name: tf.io.FixedLenFeature([feature.length], feature.dtype) for feature in described}
    return {name: values.numpy() for name, values in tf.io.parse_example(records, spec).items()}


def assert_same(decoded, expected, described):
    assert set(decoded) == {feature.name for feature in described}
    for feature in described:
        assert decoded[feature.name].dtype == ("float32" if feature.dtype == "float32" else "int32")
        assert decoded[feature.name].shape == (len(expected[feature.name]), feature.length)
        np.testing.assert_array_equal(decoded[feature.name], expected[feature.name])


def example(values, order=None, packed=True):
    """A serialised example with its features in some order, written by hand."""
    entries = b""
    for name in order or values:
        if isinstance(values[name][0], float):
            kind, wire_type, parts = 2, 5, [np.float32(value).tobytes() for value in values[name]]
        else:
            kind, wire_type, parts = 3, 0, [varint(value % 2**64) for value in values[name]]
        numbers = field(1, b"".join(parts)) if packed else b"".join(bytes([1 << 3 | wire_type]) + x for x in parts)
        entries += field(1, field(1, name.encode()) + field(2, field(kind, numbers)))
    return field(1, entries)


def field(number, content):
    return bytes([number << 3 | 2]) + varint(len(content)) + content


def varint(value):
    return bytes([value & 127 | 128]) + varint(value >> 7) if value > 127 else bytes([value])


def refusal(records):
    with pytest.raises(InputError) as refused:
        ExampleDecoder(FEW).decode(records)
    return str(refused.value)


@given(
    st.integers(0, 2**32),
    SHAPES,
    st.sampled_from([1, 127, 128, 30_521, 3_000_000, 2**28 - 1]),
    st.sampled_from([0, 1, 2, 9]),
)
def test_examples_of_ours_are_those_of_tensorflows_parser(seed, shape, largest_id, count):
    described = features(*shape)
    records = ExampleEncoder(described).encode(random_instances(seed, count, *shape, largest_id))
    decoded = ExampleDecoder(described).decode(records)
    assert_same(decoded, parsed_by_tensorflow(described, records) if count else decoded, described)
    for row, record in enumerate(records):
        assert {name: values[row].tolist() for name, values in decoded.items()} == decode_example(record)


@given(
    st.lists(
        st.tuples(
            st.lists(st.one_of(st.integers(0, 300), st.integers(0, 2**31 - 1)), min_size=3, max_size=3),
            st.permutations([*VALUES, "other"]),
            st.booleans(),
        ),
        max_size=12,
    )
)
def test_examples_of_others_are_too_in_any_order_packed_or_not_with_what_else_they_have(rows):
    records = [example({**VALUES, "ids": ids, "other": [ids[0]]}, order, packed=packed) for ids, order, packed in rows]
    decoded = ExampleDecoder(FEW[::-1]).decode(records)
    assert_same(decoded, parsed_by_tensorflow(FEW, records) if rows else decoded, FEW)


@given(st.integers(0, 2**32), st.floats(0, 1), st.integers(0, 7), st.booleans())
def test_damage_is_read_as_the_readable_decoder_reads_it_or_refused_by_both(seed, share, bit, is_cut):
    described = features(16, 3)
    records = ExampleEncoder(described).encode(random_instances(seed, 3, 16, 3, 30_521))
    place = int(share * (len(records[1]) - 1))
    flipped = bytes([records[1][place] ^ 1 << bit])
    records[1] = records[1][:place] + (b"" if is_cut else flipped + records[1][place + 1 :])

    def decode():
        decoded = ExampleDecoder(described).decode(records)
        for name, values in decoded.items():
            assert [values[row].tolist() for row in (0, 2)] == [decode_example(records[row])[name] for row in (0, 2)]
        return {name: values[1].tolist() for name, values in decoded.items()}

    def decode_readably():
        found = decoding._decode_readably(records[1], "record 2", described)
        return {feature.name: found[feature.name] for feature in described}

    assert outcome(decode) == outcome(decode_readably)


def outcome(function):
    """What comes out, or the error, as text: a NaN is not equal to itself."""
    try:
        return repr(function())
    except InputError as error:
        return str(error)


def test_no_record_of_ours_takes_the_slow_way(monkeypatch):
    monkeypatch.setattr(decoding, "decode_example", None)
    described = features(128, 20)
    instances = random_instances(0, 3000, 128, 20, 2**28 - 1)
    assert_same(ExampleDecoder(described).decode(ExampleEncoder(described).encode(instances)), instances, described)


def test_of_others_one_record_alone_tells_the_order_of_all(monkeypatch):
    read = []
    monkeypatch.setattr(decoding, "decode_example", lambda record: read.append(record) or decode_example(record))
    decoder = ExampleDecoder(FEW)
    for _ in range(2):
        decoder.decode([example(VALUES, ["weights", "flag", "ids"])] * 5000)
    assert len(read) == 1


def test_what_stands_in_a_record_of_another_order_does_not_reach_the_next():
    described = [Feature("ids", "int64", 3), Feature("mask", "int64", 24)]
    values = {"ids": [2**27] * 3, "mask": [1] * 24}  # byte 23 of such a record is within a number
    records = [example(values), example(values, ["mask", "ids"]), example(values)]
    assert ExampleDecoder(described).decode(records)["mask"].tolist() == [[1] * 24] * 3


def test_records_are_decoded_in_blocks_and_errors_count_through(monkeypatch):
    monkeypatch.setattr(decoding, "BLOCK_VALUES", 9)
    records = [example({**VALUES, "ids": [n, 200 * n, 0]}) for n in range(20)]
    decoded = ExampleDecoder(FEW).decode(records)
    assert decoded["ids"].tolist() == [[n, 200 * n, 0] for n in range(20)]
    assert refusal([*records[:7], b"", *records]).startswith("record 8: ")


@pytest.mark.parametrize(
    ("values", "what"),
    [
        ({"ids": [1, 2, -3]}, "ids holds -3, expected 0 to 2147483647"),
        ({"ids": [1, 2**31, 3]}, "ids holds 2147483648, expected 0 to 2147483647"),
        ({"ids": [1, 2]}, "ids has 2 values, expected 3"),
        ({"ids": [1, 2, 3, 4]}, "ids has 4 values, expected 3"),
        ({"ids": [300, 2]}, "ids has 2 values, expected 3"),  # as many bytes as three
        ({"ids": [1.0, 2.0, 3.0]}, "ids holds 1.0, expected int64"),
        ({"weights": [1, 0]}, "weights holds 1, expected float32"),
        ({"weights": [1.0]}, "weights has 1 values, expected 2"),
    ],
)
@pytest.mark.parametrize("packed", [True, False])
def test_values_that_do_not_fit_are_refused_in_one_sentence(values, what, packed):
    records = [example(VALUES), example({**VALUES, **values}, packed=packed), example(VALUES)]
    assert refusal(records) == f"record 2: {what}; generate the dataset again"


def test_a_missing_feature_and_bytes_that_are_no_example_are_refused():
    assert refusal([example({"flag": [1]})]) == "record 1: has no ids; generate the dataset again"
    for data in (b"", b"\x0a\xff", b"\xff" * 20, example(VALUES)[:-1], example(VALUES) + b"\x0a"):
        assert refusal([data]).startswith("record 1: ")


def test_errors_call_a_record_as_they_are_told_to():
    with pytest.raises(InputError, match=r"^shard\.tfrecord, record 12: no tf\.train\.Example; generate"):
        ExampleDecoder(FEW).decode([example(VALUES), b"\xff"], lambda row: f"shard.tfrecord, record {11 + row}")
