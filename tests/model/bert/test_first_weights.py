"""The neighbour start: where the heads of the first layer look at step 0, and that nothing else is changed."""

import numpy as np
import pytest
from checkpoints_of_others import CONFIG, TOKENS, write_hugging_face

from maskmill.model.bert.config import PRESETS, BertConfig
from maskmill.model.bert.encoder import BertPretrainer
from maskmill.model.bert.first_weights import NeighbourStart, begin_with_neighbours
from maskmill.model.formats.checkpoint_formats import read_init_checkpoint
from maskmill.model.formats.export import hugging_face_weights
from maskmill.model.formats.init_checkpoint import initialize
from maskmill.model.pretraining.recipes import RECIPES
from maskmill.tokenizer.errors import InputError

START = NeighbourStart()


def shape(hidden_size, heads, layers=1, **others):
    return BertConfig(
        vocab_size=300,
        hidden_size=hidden_size,
        num_attention_heads=heads,
        num_hidden_layers=layers,
        intermediate_size=32,
        **others,
    )


def attention(model, length):
    """Of the first layer, on random tokens: [heads, from_seq, to_seq], the mean of two sequences."""
    ids = np.random.default_rng(0).integers(5, 300, (2, length)).astype("int32")
    mask = np.ones_like(ids)
    _, probs = model.encoder.all_layers(ids, mask, np.repeat([[0, 1]], length // 2, axis=1) * mask)
    return np.asarray(probs[0]).mean(axis=0)


SHAPES = {
    **{
        name: BertConfig.preset(name, 300).with_layers((width // 64,) * layers, (32,) * layers)
        for name, (layers, width) in PRESETS.items()
        if name in RECIPES
    },
    "four heads of 32": shape(128, 4),
    "one head": shape(64, 1),
    "heads narrower than a quarter of the width": shape(512, 16),
    "pruned heads": shape(256, 4, num_attention_heads_per_layer=(3,)),
}


@pytest.mark.parametrize("name", SHAPES)
def test_each_head_of_the_first_layer_looks_at_its_neighbour(name):
    config = SHAPES[name]
    model = BertPretrainer(config)
    begin_with_neighbours(model)
    for length in (32, 512):
        probs = attention(model, length)
        assert len(probs) == config.heads[0]
        for head, of_head in enumerate(probs):
            offset = START.offsets[head % len(START.offsets)]
            looked_at = np.diagonal(of_head, offset)
            # With few dimensions some of the far positions look like near ones.
            assert looked_at.mean() > (0.7 if length == 32 else 0.35), (head, offset)


def test_without_it_attention_is_nearly_even():
    assert attention(BertPretrainer(SHAPES["tiny"]), 32).max() < 0.1


def test_nothing_else_is_changed():
    config = shape(128, 4, layers=2)
    with_bert, with_neighbours = BertPretrainer(config), BertPretrainer(config)
    begin_with_neighbours(with_neighbours)
    count = START.num_dimensions(config)
    assert count == 16
    changed = {
        "bert/embeddings/word_embeddings", "bert/embeddings/token_type_embeddings",
        "bert/embeddings/position_embeddings", "bert/layer_0/query/kernel", "bert/layer_0/key/kernel",
    }  # fmt: skip
    for name, weight in with_neighbours.named_weights.items():
        before, after = np.asarray(with_bert.named_weights[name]), np.asarray(weight)
        if name not in changed:
            np.testing.assert_array_equal(after, before, err_msg=name)
        elif name.endswith(("word_embeddings", "token_type_embeddings")):
            np.testing.assert_array_equal(after[:, count:], before[:, count:])
            assert not after[:, :count].any()
        elif name.endswith("kernel"):
            np.testing.assert_array_equal(after[count:], before[count:])
            of_heads = [kernel[:count].reshape(count, 4, 32)[:, :, count:] for kernel in (after, before)]
            np.testing.assert_array_equal(*of_heads)
        else:
            assert not after[:, count:].any()


def test_position_and_content_are_equally_large_in_each_dimension():
    config = BertConfig.preset("tiny", 30522)
    model = BertPretrainer(config)
    begin_with_neighbours(model)
    words, segments, positions = (
        np.asarray(model.named_weights[f"bert/embeddings/{name}_embeddings"])
        for name in ("word", "token_type", "position")
    )
    rows = words[:512] + segments[0] + positions
    size = np.sqrt(np.square(rows).mean(axis=0))
    count = START.num_dimensions(config)
    assert size[:count].mean() == pytest.approx(size[count:].mean(), rel=0.1)


def test_they_are_a_function_of_the_seed():
    models = [BertPretrainer(shape(64, 2), seed) for seed in (1, 1, 2)]
    for model in models:
        begin_with_neighbours(model)
    kernels = [np.asarray(model.named_weights["bert/layer_0/query/kernel"]) for model in models]
    np.testing.assert_array_equal(kernels[0], kernels[1])
    assert not np.array_equal(kernels[0], kernels[2])


def test_they_are_exported_and_imported_as_any_weights(tmp_path):
    """How they are trained from, on either backend, tests/model/pretraining/test_train.py holds."""
    model = BertPretrainer(CONFIG)
    begin_with_neighbours(model)
    folder = write_hugging_face(tmp_path / "bert", hugging_face_weights(model))
    other = BertPretrainer(CONFIG, random_seed=2)
    initialize(other, read_init_checkpoint(folder), TOKENS)
    for name, weight in other.named_weights.items():
        np.testing.assert_array_equal(weight, model.named_weights[name], err_msg=name)


def test_heads_that_are_too_narrow_are_refused():
    with pytest.raises(InputError, match="first_weights is neighbours, and a head has 1 of 16 dimensions; expected 2"):
        begin_with_neighbours(BertPretrainer(shape(16, 16)))
