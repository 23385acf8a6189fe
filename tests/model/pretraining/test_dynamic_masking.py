"""Dynamic masking equals a readable oracle, and holds the rules of the shards, on instances of the real pipeline."""

import dataclasses
import functools
import hashlib
import os
import random
import subprocess
import sys

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from keras import ops
from places import TESTS
from random_oracle import oracle_bits, oracle_key

from maskmill.model.bert.randomness import fold_in, key_of
from maskmill.model.pretraining.dynamic_masking import MaskingRules, choose_words, remask
from maskmill.pipeline.dataset.config import InstanceConfig
from maskmill.pipeline.dataset.dataset import Dataset
from maskmill.pipeline.dataset.schema import VOCAB, DatasetInfo
from maskmill.pipeline.instances.masking import Masker, count_predictions, find_candidates, find_word_starts
from maskmill.pipeline.instances.packed import PackedPool
from maskmill.pipeline.instances.pairs import pair_documents, truncate_pairs
from maskmill.pipeline.instances.pools import pack_documents
from maskmill.pipeline.instances.segments import Segments, assemble
from maskmill.pipeline.reading.documents import DIGEST_BYTES
from maskmill.tokenizer.errors import InputError
from maskmill.tokenizer.fast import FastTokenizer
from maskmill.tokenizer.vocab import UNK

BACKEND = keras.backend.backend()
COMPILERS = ["jit"] if BACKEND == "jax" else ["graph", "xla"]
MAX_SEQ_LENGTH, ROWS, FILL_ROWS = 40, 64, 3
CHANGED = ("input_ids", "masked_lm_ids", "masked_lm_positions", "masked_lm_weights")

Features = dict[str, np.ndarray]


def make_config(objective: str = "nsp", **values) -> InstanceConfig:
    sizes = {"max_seq_length": MAX_SEQ_LENGTH, "max_predictions_per_seq": 6, "short_seq_prob": 0.3}
    return InstanceConfig(objective=objective, **{**sizes, **values})


TOKENS, WORDS = make_config(), make_config(whole_word_mask=True, masked_lm_prob=0.2)
CONFIGS = [TOKENS, WORDS, make_config("sop", masked_lm_prob=0.5), make_config("mlm", whole_word_mask=True)]
each_config = pytest.mark.parametrize("config", CONFIGS, ids=["tokens", "words", "sop", "mlm-words"])
tokens_and_words = pytest.mark.parametrize("config", CONFIGS[:2], ids=["tokens", "words"])


@pytest.fixture(scope="module")
def make_segments(small_vocab, corpus_lines):
    """Of a configuration: instances of the small corpus, whose words are now of one to five pieces."""
    rng = random.Random(0)
    suffixes = ["", "", "", "s", "eds", "ings", "ableeds", "ablesinged"]
    documents = [
        [" ".join(word + rng.choice(suffixes) for word in line.split()) for line in lines] for lines in corpus_lines
    ]
    digests = [number.to_bytes(DIGEST_BYTES, "big") for number in range(len(documents))]
    packed = list(pack_documents(documents, digests, FastTokenizer(small_vocab)))

    def make(config: InstanceConfig) -> Segments:
        pool = PackedPool.gather(packed, np.dtype(np.uint16)).unpack(config, small_vocab.ids[UNK])
        pairs, _ = pair_documents(pool, config, np.random.default_rng(1))
        pairs = truncate_pairs(pairs, config.max_num_tokens, np.random.default_rng(2))[: ROWS - FILL_ROWS]
        assert len(pairs) == ROWS - FILL_ROWS
        return assemble(pool.ids, pairs, config.max_seq_length, small_vocab)

    return functools.cache(make)


@pytest.fixture(scope="module")
def make_rules(small_vocab, tmp_path_factory):
    directory = tmp_path_factory.mktemp("dataset")
    (directory / VOCAB).write_text(small_vocab.to_text())
    return lambda config: MaskingRules.load(Dataset(directory, make_info(small_vocab, config)))


@pytest.fixture(scope="module")
def remasked(make_segments, make_rules, small_vocab):
    """Of a configuration and a step: the batch of its shards, masked anew in a compiled function."""

    @functools.cache
    def function(config: InstanceConfig):
        return compiled(make_rules(config), COMPILERS[0])

    return lambda config, step: on_host(
        function(config)(on_device(batch_of(make_segments(config), small_vocab, config)), step)
    )


def make_info(vocab, config: InstanceConfig) -> DatasetInfo:
    return DatasetInfo(dataclasses.asdict(config), len(vocab), vocab.sha256, {}, (), "0")


def batch_of(segments: Segments, vocab, config: InstanceConfig, seed: int = 3) -> Features:
    """As in the records, with some rows of zeros at the end."""
    input_ids, predictions = Masker(vocab, config).mask(segments, np.random.default_rng(seed))
    features = {
        "input_ids": input_ids,
        "input_mask": segments.input_mask.astype(np.int32),
        "segment_ids": segments.segment_ids.astype(np.int32),
        **vars(predictions),
        "next_sentence_labels": segments.is_random_next[:, None],
    }
    return {name: np.pad(values, ((0, FILL_ROWS), (0, 0))) for name, values in features.items()}


def compiled(rules: MaskingRules, how: str):
    """Features, a step and the first row -> the remasked features."""

    def run(features, step, first_row):
        return remask(features, fold_in(key_of(12345), step), rules, first_row)

    if how == "jit":
        import jax

        function = jax.jit(run)
    else:
        import tensorflow as tf

        function = tf.function(run, autograph=False, jit_compile=how == "xla")
    scalar = functools.partial(ops.convert_to_tensor, dtype="int32")
    return lambda features, step, first_row=0: function(features, scalar(step), scalar(first_row))


def on_device(features: Features):
    return {name: ops.convert_to_tensor(values) for name, values in features.items()}


def on_host(features) -> Features:
    return {name: ops.convert_to_numpy(values) for name, values in features.items()}


def assert_equal(features: Features, expected: Features) -> None:
    assert features.keys() == expected.keys()
    for name, values in expected.items():
        assert features[name].dtype == values.dtype, name
        np.testing.assert_array_equal(features[name], values, err_msg=name)


def oracle(features: Features, segments: Segments, vocab, config: InstanceConfig, step: int) -> Features:
    """The same draws, used one by one."""
    seq = config.max_seq_length
    order, kinds, words = (oracle_key(12345, step, int.from_bytes(b"mask", "big"), use) for use in range(3))
    drawn_bits = 31 - (seq - 1).bit_length()  # what a key has room for, beside its column
    result = {name: values.copy() for name, values in features.items()}
    for name in CHANGED[1:]:
        result[name][:] = 0
    for row, (ids, length_a, length) in enumerate(zip(segments.input_ids, segments.length_a, segments.lengths)):
        result["input_ids"][row] = ids
        pieces: list[list[int]] = []
        candidates = [p for p in range(1, length - 1) if p != length_a + 1]
        for position in candidates:
            joins = config.whole_word_mask and vocab.is_continuation[ids[position]] and position - 1 in candidates
            if joins:
                pieces[-1].append(position)
            else:
                pieces.append([position])

        def place_in_order(piece, row=row, pieces=pieces):
            column = pieces.index(piece) if config.whole_word_mask else piece[0]
            return oracle_bits(order, row * seq + column) >> 32 - drawn_bits, column

        room = min(config.max_predictions_per_seq, max(1, round(int(length) * config.masked_lm_prob)))
        chosen: list[int] = []
        for piece in sorted(pieces, key=place_in_order):
            if len(chosen) + len(piece) <= room:
                chosen += piece
        for slot, position in enumerate(sorted(chosen)):
            result["masked_lm_positions"][row, slot] = position
            result["masked_lm_ids"][row, slot] = ids[position]
            result["masked_lm_weights"][row, slot] = 1
            kind = oracle_bits(kinds, row * seq + position) * 10 >> 32
            word = oracle_bits(words, row * seq + position) * len(vocab.ordinary_ids) >> 32
            if kind != 8:
                result["input_ids"][row, position] = vocab.ids["[MASK]"] if kind < 8 else vocab.ordinary_ids[word]
    return result


@each_config
@pytest.mark.parametrize("how", COMPILERS)
def test_masks_equal_the_oracles(make_segments, make_rules, small_vocab, config, how):
    segments = make_segments(config)
    features = batch_of(segments, small_vocab, config)
    function = compiled(make_rules(config), how)
    for step in (0, 1, 2**31 - 1):
        expected = oracle(features, segments, small_vocab, config, step)
        assert_equal(on_host(function(on_device(features), step)), expected)


@pytest.mark.skipif(BACKEND == "jax", reason="runs on JAX already")
def test_the_same_bits_and_masks_are_made_on_jax_and_on_two_devices():
    """By the same oracles, so what both backends make is equal, too."""
    pytest.importorskip("jax", reason="the [jax] extra is not installed")
    tests = [str(TESTS / "model" / "bert" / "test_randomness.py"), __file__]
    two_devices = f"{os.environ['XLA_FLAGS']} --xla_force_host_platform_device_count=2"
    environment = {**os.environ, "KERAS_BACKEND": "jax", "XLA_FLAGS": two_devices}
    command = [sys.executable, "-m", "pytest", *tests, "-k", "equal or part or below or devices or callback"]
    run = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert run.returncode == 0, run.stdout[-4000:]


@pytest.mark.skipif(BACKEND != "jax", reason="for JAX, which the test above starts")
@tokens_and_words
def test_devices_that_share_a_batch_mask_it_as_one_does(make_segments, make_rules, small_vocab, config):
    import jax
    from jax.sharding import Mesh, NamedSharding, PartitionSpec

    if len(jax.devices()) < 2:
        pytest.skip("one device")
    features = batch_of(make_segments(config), small_vocab, config)
    function = compiled(make_rules(config), "jit")
    by_row = NamedSharding(Mesh(jax.devices(), "batch"), PartitionSpec("batch"))
    shared = {name: jax.device_put(values, by_row) for name, values in features.items()}
    assert_equal(on_host(function(shared, 5)), on_host(function(on_device(features), 5)))


@tokens_and_words
@pytest.mark.parametrize("how", COMPILERS)
def test_a_part_of_a_batch_is_masked_as_in_the_whole(make_segments, make_rules, small_vocab, config, how):
    features = batch_of(make_segments(config), small_vocab, config)
    function = compiled(make_rules(config), how)
    whole = on_host(function(on_device(features), 7))
    for first_row in range(0, ROWS, 16):
        part = {name: values[first_row : first_row + 16] for name, values in features.items()}
        expected = {name: values[first_row : first_row + 16] for name, values in whole.items()}
        assert_equal(on_host(function(on_device(part), 7, first_row)), expected)


def test_masking_waits_for_no_callback_of_the_host(make_segments, make_rules, small_vocab):
    features = on_device(batch_of(make_segments(WORDS), small_vocab, WORDS))
    run = functools.partial(remask, key=key_of(1), rules=make_rules(WORDS))
    if BACKEND == "jax":
        import jax

        assert "callback" not in jax.jit(run).lower(features).as_text()
    else:
        import tensorflow as tf

        graph = tf.function(run, autograph=False).get_concrete_function(features).graph
        functions = [node for function in graph.as_graph_def().library.function for node in function.node_def]
        assert not {node.op for node in [*graph.as_graph_def().node, *functions]} & {"PyFunc", "EagerPyFunc"}


@each_config
@given(step=st.integers(0, 2**31 - 1))
@settings(max_examples=20)
def test_remasked_batches_hold_the_rules(remasked, make_segments, small_vocab, config, step):
    segments = make_segments(config)
    features = batch_of(segments, small_vocab, config)
    result = remasked(config, step)
    for name in features.keys() - set(CHANGED):
        np.testing.assert_array_equal(result[name], features[name], err_msg=name)
    assert not any(values[-FILL_ROWS:].any() for values in result.values())

    candidates = find_candidates(segments)
    starts = find_word_starts(segments.input_ids, candidates, np.array(small_vocab.is_continuation))
    wanted = np.minimum(count_predictions(segments.lengths, config), candidates.sum(axis=1))
    for row, original in enumerate(segments.input_ids):
        count = int(result["masked_lm_weights"][row].sum())
        given = np.arange(config.max_predictions_per_seq) < count
        positions = result["masked_lm_positions"][row, given]
        assert (result["masked_lm_weights"][row] == given).all()
        assert not result["masked_lm_positions"][row, ~given].any()
        assert not result["masked_lm_ids"][row, ~given].any()
        assert candidates[row, positions].all()
        assert (np.diff(positions) > 0).all()
        np.testing.assert_array_equal(result["masked_lm_ids"][row, given], original[positions])

        unmasked = result["input_ids"][row].copy()
        replaced = unmasked[positions][unmasked[positions] != original[positions]]
        assert set(replaced.tolist()) <= {small_vocab.ids["[MASK]"], *small_vocab.ordinary_ids}
        unmasked[positions] = original[positions]
        np.testing.assert_array_equal(unmasked, original)

        if not config.whole_word_mask:
            assert count == wanted[row]
            continue
        word_of = np.cumsum(starts[row])
        is_chosen = np.isin(np.arange(MAX_SEQ_LENGTH), positions)
        chosen_words, sizes = np.unique(word_of[is_chosen], return_counts=True)
        all_sizes = np.bincount(word_of[candidates[row]])
        assert (sizes == all_sizes[chosen_words]).all()
        passed_over = np.delete(all_sizes, [0, *chosen_words])
        assert 0 <= wanted[row] - count < passed_over.min(initial=MAX_SEQ_LENGTH)


@each_config
def test_a_batch_that_was_remasked_gives_the_same_masks_again(make_segments, make_rules, small_vocab, config):
    features = on_device(batch_of(make_segments(config), small_vocab, config))
    function = compiled(make_rules(config), COMPILERS[0])
    once = function(features, 1)
    assert_equal(on_host(function(once, 1)), on_host(once))
    other = on_host(function(features, 2))
    assert (other["masked_lm_positions"] != on_host(once)["masked_lm_positions"]).any()
    assert_equal(on_host(function(once, 2)), other)


@pytest.fixture(scope="module")
def many_steps(remasked):
    """Of a configuration: which tokens many steps chose, and what they show: [steps, rows, max_seq_length] each."""

    @functools.cache
    def run(config: InstanceConfig, steps: int = 600) -> tuple[np.ndarray, np.ndarray]:
        batches = [remasked(config, step) for step in range(steps)]
        chosen = np.stack([chosen_tokens(batch) for batch in batches])
        return chosen, np.stack([batch["input_ids"] for batch in batches])

    return run


def chosen_tokens(features: Features) -> np.ndarray:
    """bool [batch, max_seq_length]."""
    rows, slots = np.nonzero(features["masked_lm_weights"])
    chosen = np.zeros(features["input_ids"].shape, bool)
    chosen[rows, features["masked_lm_positions"][rows, slots]] = True
    return chosen


def assert_standard_normal(deviations: np.ndarray) -> None:
    assert len(deviations) > 1000
    assert np.abs(deviations).max() < 5
    assert np.mean(deviations) == pytest.approx(0, abs=0.15)
    assert np.mean(deviations**2) == pytest.approx(1, abs=0.15)


def test_every_token_is_as_likely_in_every_step(many_steps, make_segments):
    segments = make_segments(TOKENS)
    candidates = find_candidates(segments)
    tokens = candidates.sum(axis=1)
    share = np.broadcast_to((count_predictions(segments.lengths, TOKENS) / tokens)[:, None], candidates.shape)
    is_drawn = candidates & (share < 1)

    def deviations(events: np.ndarray, probability: np.ndarray) -> np.ndarray:
        n, probability = len(events), probability[is_drawn]
        return (events.sum(axis=0)[is_drawn] - n * probability) / np.sqrt(n * probability * (1 - probability))

    chosen = many_steps(TOKENS)[0][:, :-FILL_ROWS]
    assert_standard_normal(deviations(chosen, share))
    # Nor does a step tell of the next.
    assert_standard_normal(deviations(chosen[::2] & chosen[1::2], share**2))


def test_chosen_tokens_are_shown_as_80_10_10(many_steps, make_segments, small_vocab):
    chosen, shown = many_steps(TOKENS)
    original = np.pad(make_segments(TOKENS).input_ids, ((0, FILL_ROWS), (0, 0)))
    original = np.broadcast_to(original, shown.shape)[chosen]
    shown = shown[chosen]
    n, words = len(shown), len(small_vocab.ordinary_ids)
    assert n > 100_000
    for count, share in (
        ((shown == small_vocab.ids["[MASK]"]).sum(), 0.8),
        ((shown == original).sum(), 0.1 + 0.1 / words),
    ):
        assert abs(count - n * share) < 4 * np.sqrt(n * share * (1 - share))
    random_words = shown[(shown != original) & (shown != small_vocab.ids["[MASK]"])]
    # Tokens differ in how often they are the original, which is the one that a random word is not seen to be.
    frequency = np.bincount(original, minlength=len(small_vocab))[small_vocab.ordinary_ids] / n
    expected = (1 - frequency) / (1 - frequency).sum() * len(random_words)
    counts = np.bincount(random_words, minlength=len(small_vocab))[small_vocab.ordinary_ids]
    assert counts.sum() == len(random_words)
    assert ((counts - expected) ** 2 / expected).sum() < words + 4 * np.sqrt(2 * words)


@pytest.mark.parametrize("config", [WORDS, CONFIGS[3]], ids=["words", "mlm-words"])
def test_whole_words_are_chosen_as_often_as_in_the_shards(many_steps, make_segments, small_vocab, config):
    """Each token, each number of predictions in a row, and words of each size."""
    segments = make_segments(config)
    ours = many_steps(config)[0][:, :-FILL_ROWS]
    steps = len(ours)
    theirs = np.stack(
        [chosen_tokens(batch_of(segments, small_vocab, config, seed)) for seed in range(1000, 1000 + steps)]
    )[:, :-FILL_ROWS]

    def deviations(ours: np.ndarray, theirs: np.ndarray) -> np.ndarray:
        share = (ours.mean(axis=0) + theirs.mean(axis=0)) / 2
        is_drawn = (share > 0.01) & (share < 0.99)
        differences = ours.mean(axis=0) - theirs.mean(axis=0)
        return (differences / np.sqrt(2 * share * (1 - share) / steps + 1e-9))[is_drawn]

    assert_standard_normal(deviations(ours, theirs))
    counts = [[chosen.sum(axis=2) == count for chosen in (ours, theirs)] for count in range(7)]
    assert np.abs(np.concatenate([deviations(*pair) for pair in counts])).max() < 5

    candidates = find_candidates(segments)
    starts = find_word_starts(segments.input_ids, candidates, np.array(small_vocab.is_continuation))
    size_of = {1: 0, 2: 0, 3: 0, 4: 0, 5: 0}
    for row in range(len(candidates)):
        word_of = np.cumsum(starts[row]) * candidates[row]
        sizes = np.bincount(word_of)[word_of]
        for size in size_of:
            is_start = starts[row] & (sizes == size)
            size_of[size] += ours[:, row, is_start].sum() - theirs[:, row, is_start].sum()
    taken = sum((chosen & starts).sum() for chosen in (ours, theirs)) / 2
    assert max(map(abs, size_of.values())) < 5 * np.sqrt(2 * taken * 0.2)


def test_words_are_taken_in_order_as_long_as_they_fit():
    """Sizes 3 4 2 1 1 in this order: of 6 tokens 3 are taken, 4 does not fit, 2 and 1 do, and nothing is left."""
    sizes = np.array([3, 4, 2, 1, 1])
    starts = np.zeros((3, 16), bool)
    starts[:, 1 + np.cumsum(sizes) - sizes] = True
    candidates = np.zeros((3, 16), bool)
    candidates[:, 1:12] = True
    bits = np.tile((np.arange(16, dtype=np.uint32) << 24), (3, 1))
    arguments = (candidates, starts, np.array([6, 0, 11], np.int32), bits)
    chosen = ops.convert_to_numpy(choose_words(*map(ops.convert_to_tensor, arguments)))
    assert [np.flatnonzero(row).tolist() for row in chosen] == [[1, 2, 3, 8, 9, 10], [], list(range(1, 12))]


@pytest.mark.parametrize("masked_lm_prob", [0.15, 0.25, 0.5, 0.3, 1.0])
def test_the_number_of_predictions_is_that_of_the_shards_for_every_length(make_rules, masked_lm_prob):
    config = InstanceConfig(max_seq_length=512, max_predictions_per_seq=77, masked_lm_prob=masked_lm_prob)
    expected = count_predictions(np.arange(1, 513), config)
    assert make_rules(config).predictions_of_length.tolist() == [0, *expected]


def test_a_dataset_that_does_not_say_how_it_was_masked_is_refused(small_vocab, tmp_path):
    (tmp_path / VOCAB).write_text(small_vocab.to_text())
    info = make_info(small_vocab, TOKENS)
    for name in ("masked_lm_prob", "whole_word_mask"):
        config = {key: value for key, value in info.config.items() if key != name}
        with pytest.raises(InputError, match=rf"dataset_info\.json has no {name}, .* or train without --dynamic-mask"):
            MaskingRules.load(Dataset(tmp_path, dataclasses.replace(info, config=config)))


def test_a_vocabulary_that_is_not_the_datasets_is_refused(small_vocab, tmp_path):
    info = make_info(small_vocab, TOKENS)
    (tmp_path / VOCAB).write_text(small_vocab.to_text() + "more\n")
    with pytest.raises(InputError, match=r"vocab\.txt has sha256 .* dataset_info\.json says .*; restore"):
        MaskingRules.load(Dataset(tmp_path, info))
    (tmp_path / VOCAB).write_text("cat\n")
    info = dataclasses.replace(info, vocab_sha256=hashlib.sha256(b"cat\n").hexdigest())
    with pytest.raises(InputError, match=r"has no \[PAD\]"):
        MaskingRules.load(Dataset(tmp_path, info))
