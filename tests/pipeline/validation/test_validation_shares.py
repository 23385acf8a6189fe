"""Shares that chance does not make are found, and chance raises no alarm; so with examples that are there twice."""

import dataclasses
import math
from collections import Counter

import numpy as np
import pytest
from damage import change_manifest, make_dataset, read_shard, rewrite_shard, said, validate
from places import FIELD
from small_text import WORDS

from maskmill.deploy.data.generate import GenerateRequest, RunOptions
from maskmill.deploy.data.generating import generate_datasets
from maskmill.pipeline.dataset.config import InstanceConfig
from maskmill.pipeline.dataset.schema import DatasetInfo
from maskmill.pipeline.dataset.target import Target
from maskmill.pipeline.records.tfrecord import read_records
from maskmill.pipeline.validation.shares import check_labels, check_masking, drawn_labels, note_labels, surprise

LONG = InstanceConfig(max_seq_length=128, shards_per_copy=1, dupe_factor=2, eval_fraction=0.2)
SHORT = InstanceConfig(
    max_seq_length=32,
    max_predictions_per_seq=5,
    shards_per_copy=2,
    dupe_factor=3,
    short_seq_prob=0.5,
    eval_fraction=0.2,
)


@pytest.mark.parametrize("chance", [0.1, 0.5, 0.8])
def test_surprise_bounds_the_probability_of_the_tail(chance):
    trials = 120
    points = [math.comb(trials, hits) * chance**hits * (1 - chance) ** (trials - hits) for hits in range(trials + 1)]
    for hits in range(trials + 1):
        tail = sum(points[hits:]) if hits > chance * trials else sum(points[: hits + 1])
        assert math.exp(-surprise(hits, trials, chance)) >= tail * (1 - 1e-9)
    assert surprise(0, 0, chance) == 0


def test_masking_shares_are_judged_by_their_number():
    def judge(masked, mask, same):
        counts = {"masked_as_mask": mask, "masked_as_same": same, "masked_as_random": masked - mask - same}
        return list(check_masking({"masked_tokens": masked, **counts}, 30_000))

    assert judge(0, 0, 0) == judge(10, 4, 6) == judge(100_000, 80_400, 9_800) == []
    assert judge(100_000, 75_000, 12_500)[0].startswith(
        "75.00% of 100,000 masked tokens are shown as mask, expected 80%"
    )
    assert [says.split(" are")[1][:14] for says in judge(1_000, 1_000, 0)] == [
        " shown as mask",
        " shown as same",
        " shown as rand",
    ]


def test_a_random_word_may_be_the_token_itself():
    counts = {"masked_tokens": 10**6, "masked_as_mask": 800_000, "masked_as_same": 110_000, "masked_as_random": 90_000}
    assert list(check_masking(counts, ordinary_tokens=10)) == []
    assert len(list(check_masking(counts, ordinary_tokens=30_000))) == 2


def test_labels_are_bounded_from_below_and_where_they_are_drawn_by_themselves_from_above():
    def judge(objective, ones):
        return check_labels({"instances": 10_000, "random_next": ones}, objective)

    assert judge("nsp", 4_800) is judge("nsp", 5_500) is judge("nsp", 10_000) is None
    assert judge("nsp", 4_000).startswith("40.00% of 10,000 examples have a random next, expected 50% or more")
    assert judge("sop", 5_200) is None
    assert judge("sop", 5_500).startswith("55.00% of 10,000 examples are swapped, expected 50%")
    assert judge("mlm", 0) is None


def test_many_random_nexts_are_a_note_and_pools_without_any_are_set_apart():
    drawn, lonely = drawn_labels(
        [(0, {"instances": 1_000, "random_next": 780}), (1, {"instances": 10, "random_next": 0})], "nsp"
    )
    assert (drawn["instances"], lonely) == (1_000, {1})
    assert note_labels(drawn, "nsp").startswith("78.0% of the pairs have a random next: many documents have only one")
    assert note_labels({"instances": 1_000, "random_next": 550}, "nsp") is None
    assert note_labels({"instances": 1_000, "random_next": 780}, "sop") is None
    assert note_labels({"instances": 3, "random_next": 2}, "nsp") is None, "three pairs tell nothing"


def sentences(rng, number, most):
    """Sentences of up to so many words; the first words come more often."""
    return [
        " ".join(WORDS[int(len(WORDS) * rng.random() ** 2)] for _ in range(rng.integers(1, most)))
        for _ in range(number)
    ]


def documents(kind, rng):
    """A corpus such as may well come, and make examples that are there twice."""
    match kind:
        case "prose":
            return [sentences(rng, int(rng.integers(1, 20)), 12) for _ in range(60)]
        case "single sentences":
            return [sentences(rng, 1, 9) for _ in range(300)]
        case "the same words again and again":
            return [["yes", "no"] * int(rng.integers(1, 20)) for _ in range(40)] + [["the cat sat"]] * 30
        case "duplicates":
            some = [sentences(rng, int(rng.integers(1, 30)), 12) for _ in range(12)]
            return [some[int(rng.integers(len(some)))] for _ in range(80)]
    raise ValueError(kind)


@pytest.mark.parametrize("kind", ["prose", "single sentences", "the same words again and again", "duplicates"])
@pytest.mark.parametrize("objective", ["nsp", "sop", "mlm"])
def test_nothing_is_said_against_what_chance_makes(tmp_path, small_vocab, kind, objective):
    for seed in range(3):
        config = dataclasses.replace(
            SHORT, objective=objective, whole_word_mask=seed == 1, random_seed=seed, max_seq_length=(32, 64, 16)[seed]
        )
        made = make_dataset(tmp_path / str(seed), documents(kind, np.random.default_rng(seed)), config, small_vocab)
        assert said(validate(made)) == []


def test_pairs_of_equal_examples_are_counted(tmp_path, small_vocab):
    corpus = documents("the same words again and again", np.random.default_rng(0))
    folder = make_dataset(tmp_path / "out", corpus, dataclasses.replace(SHORT, objective="mlm"), small_vocab)
    times = Counter(record for shard in DatasetInfo.load(folder).shards for record in read_records(folder / shard.path))
    repeats = validate(folder).repeats
    assert repeats.by_chance == sum(math.comb(number, 2) for number in times.values()) > 1000
    assert repeats.by_chance < 2 * repeats.expected
    assert not repeats.too_many


@pytest.fixture
def long(tmp_path, small_vocab):
    """Examples that are long enough for their masks to tell them apart."""
    rng = np.random.default_rng(0)
    return make_dataset(tmp_path / "long", [sentences(rng, 60, 12) for _ in range(40)], LONG, small_vocab)


def test_an_example_that_was_written_twice_is_found(long):
    shard, arrays = read_shard(long, 0)
    full = int(np.flatnonzero(arrays["input_mask"].all(axis=1))[3])
    last = shard.examples - 1

    def copy(arrays):
        for array in arrays.values():
            array[last] = array[full]

    rewrite_shard(long, 0, copy)
    expected = f"{shard.path}, record {last + 1}: it is the same, masks and all, as record {full + 1} of {shard.path}"
    assert any(problem.startswith(expected) for problem in said(validate(long)))


def test_copies_that_are_equal_are_found(long):
    first, second = DatasetInfo.load(long).shards[:2]
    (long / second.path).write_bytes((long / first.path).read_bytes())
    facts = {name: getattr(first, name) for name in ("examples", "bytes", "sha256")}
    change_manifest(long, lambda values: values["shards"][1].update(facts))
    found = validate(long)
    assert found.problems.counts["repeated"] > 0.5 * first.examples
    says = f"of {first.path}, which does not happen by chance"
    assert any(f"{second.path}, record " in one and says in one for one in said(found))


def test_repeats_that_are_too_many_together_are_found(tmp_path, small_vocab):
    """Examples of so few tokens that each may well be there twice, but not all of them."""
    rng = np.random.default_rng(1)
    folder = make_dataset(tmp_path / "out", [sentences(rng, 9, 9) for _ in range(60)], SHORT, small_vocab)
    rewrite_shard(folder, 0, lambda arrays: {name: np.repeat(array, 2, axis=0) for name, array in arrays.items()})
    problem = next(says for says in said(validate(folder)) if "it is the same" in says)
    assert "such pairs, where chance makes about" in problem


def test_examples_to_evaluate_on_that_are_trained_on_are_found(long):
    info = DatasetInfo.load(long)
    trained = read_shard(long, 0)[1]
    rows = np.arange(150)

    def take_trained(_):
        """The same texts, masked anew."""
        arrays = {name: array[rows].copy() for name, array in trained.items()}
        for row in rows:
            given = int(arrays["masked_lm_weights"][row].sum())
            original = arrays["input_ids"][row].copy()
            original[arrays["masked_lm_positions"][row, :given]] = arrays["masked_lm_ids"][row, :given]
            inside = np.flatnonzero((original > 4) | (original == 1))
            positions = np.sort(np.random.default_rng(row).choice(inside, given, replace=False))
            arrays["masked_lm_positions"][row, :given] = positions
            arrays["masked_lm_ids"][row, :given] = original[positions]
            original[positions] = 4
            arrays["input_ids"][row] = original
        return arrays

    rewrite_shard(long, len(info.shards) - 1, take_trained)
    found = validate(long)
    says = "eval: 100% of its examples have the text of one to train on: its documents are not held out"
    assert says in said(found)
    assert found.repeats.held_out == len(rows)
    assert not found.problems.counts["repeated"]


def test_text_that_both_splits_have_is_told(tmp_path, small_vocab):
    corpus = [["yes", "no"] * number for number in range(1, 160)]  # of different documents equal parts
    folder = make_dataset(tmp_path / "out", corpus, dataclasses.replace(SHORT, objective="mlm"), small_vocab)
    found = validate(folder)
    assert found.repeats.held_out > 0.5 * found.counts["eval/instances"] > 50
    assert said(found) == []
    assert any("examples to evaluate on" in note for note in found.notes)


def test_labels_that_were_lost_are_found(long):
    shard = rewrite_shard(long, 0, lambda arrays: arrays["next_sentence_labels"].fill(0))
    assert any(says.startswith(f"{shard}: 0.00% of ") and "have a random next" in says for says in said(validate(long)))


def test_masks_of_other_shares_are_found(long):
    def unmask(arrays):
        """Every fifth masked token shown as it is."""
        for row, (positions, labels, weights) in enumerate(
            zip(arrays["masked_lm_positions"], arrays["masked_lm_ids"], arrays["masked_lm_weights"])
        ):
            for place in range(row % 5, int(weights.sum()), 5):
                arrays["input_ids"][row, positions[place]] = labels[place]

    shard = rewrite_shard(long, 0, unmask)
    assert any(
        says.startswith(f"{shard}: ") and "are shown as same, expected 10%" in says for says in said(validate(long))
    )


@pytest.mark.parametrize("dry_run", [True, False])
def test_generate_says_so_before_and_after(tmp_path, capsys, small_vocab_file, dry_run):
    corpus = FIELD / "all_random.txt"
    target = Target(InstanceConfig(max_predictions_per_seq=5, dupe_factor=1), str(tmp_path / "out"))
    options = RunOptions(num_workers=1, dry_run=dry_run)
    generate_datasets(GenerateRequest([str(corpus)], str(small_vocab_file), [target], options=options))
    assert "100.0% of the pairs have a random next" in capsys.readouterr().err
