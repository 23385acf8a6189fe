"""Encoded examples are byte-equal to protocol buffers' deterministic form, and TensorFlow reads them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from small_instances import random_instances

from maskmill.pipeline.dataset.schema import features
from maskmill.pipeline.records.examples import ExampleEncoder, decode_example
from maskmill.tokenizer.errors import InputError

tf = pytest.importorskip("tensorflow", reason="needs the [train] extra")


@given(
    st.integers(0, 2**32),
    st.sampled_from([(8, 1), (32, 5), (128, 20), (512, 76)]),
    st.sampled_from([1, 127, 128, 30_521, 3_000_000, 2**28 - 1]),
)
def test_bytes_equal_those_of_deterministic_protocol_buffers(seed, shape, largest_id):
    instances = random_instances(seed, 4, *shape, largest_id)
    encoded = ExampleEncoder(features(*shape)).encode(instances)
    for row, record in enumerate(encoded):
        message = tf.train.Example()
        for feature in features(*shape):
            values = instances[feature.name][row].tolist()
            target = message.features.feature[feature.name]
            (target.float_list if feature.dtype == "float32" else target.int64_list).value.extend(values)
        assert record == message.SerializeToString(deterministic=True)
        decoded = decode_example(record)
        assert decoded == {name: values[row].tolist() for name, values in instances.items()}


def test_a_batch_of_none_is_none():
    assert ExampleEncoder(features(8, 1)).encode(random_instances(0, 0, 8, 1, 30_521)) == []


def test_an_id_that_four_bytes_do_not_hold_is_a_mistake_of_ours():
    instances = random_instances(0, 2, 8, 1, 30_521)
    instances["input_ids"][1, 3] = 2**28
    with pytest.raises(AssertionError):
        ExampleEncoder(features(8, 1)).encode(instances)


def test_tensorflow_parses_them_in_batches():
    instances = random_instances(0, 50, 32, 5, 30_521)
    description = {feature.name: tf.io.FixedLenFeature([feature.length], feature.dtype) for feature in features(32, 5)}
    parsed = tf.io.parse_example(ExampleEncoder(features(32, 5)).encode(instances), description)
    for name, values in instances.items():
        assert (parsed[name].numpy() == values).all()


def test_examples_of_others_are_decoded_too():
    message = tf.train.Example()
    message.features.feature["b"].int64_list.value.extend([1, 2**40])
    message.features.feature["a"].float_list.value.extend([0.5])
    message.features.feature["empty"].int64_list.SetInParent()
    assert decode_example(message.SerializeToString()) == {"b": [1, 2**40], "a": [0.5], "empty": []}


@pytest.mark.parametrize("data", [b"\x0a\xff", b"\xff" * 20, b"some text that is no message"])
def test_bytes_that_are_no_example_are_refused(data):
    with pytest.raises(InputError, match=r"no tf\.train\.Example"):
        decode_example(data)
