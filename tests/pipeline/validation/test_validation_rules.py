"""The rules of examples, held to a readable oracle; datasets as they are made keep them all."""

import numpy as np
import pytest
from command import run
from damage import read_shard
from validation_oracle import first_broken

from maskmill.pipeline.dataset.config import InstanceConfig
from maskmill.pipeline.dataset.schema import DatasetInfo
from maskmill.pipeline.validation.batch import ExampleBatch
from maskmill.pipeline.validation.rules import RULES, find_broken, rules_for
from maskmill.pipeline.validation.standard import CONTINUABLE, CONTINUATION, ORDINARY, TEXT, Standard, find_kinds
from maskmill.tokenizer.vocab import SPECIAL_TOKENS, Vocab

KINDS = {
    "nsp": [],
    "sop": ["--objective", "sop"],
    "mlm": ["--objective", "mlm", "--short-seq-prob", "0.5"],
    "whole words": ["--whole-word-mask", "--masked-lm-prob", "0.3"],
}


@pytest.fixture(scope="module", params=KINDS)
def made(request, tmp_path_factory, corpus_file, small_vocab_file, small_vocab):
    """The standard and the examples of a dataset of each kind."""
    folder = tmp_path_factory.mktemp("made") / "out"
    options = ["--max-seq-length", "32", "--max-predictions-per-seq", "5", "--dupe-factor", "4", "--num-workers", "1"]
    run("generate", corpus_file, "--vocab-file", small_vocab_file, "--output", folder, *options, *KINDS[request.param])
    config = InstanceConfig(**DatasetInfo.load(folder).config)
    return Standard(config, len(small_vocab), small_vocab), read_shard(folder, 0)[1]


def found_by_rules(arrays, standard):
    """For each example the name of the first rule that it breaks, or None."""
    found = [None] * len(arrays["input_ids"])
    for rule, rows, _, broken in find_broken(ExampleBatch(arrays, standard)):
        assert broken.any(axis=1).all()
        for row in rows:
            assert found[row] is None
            found[row] = rule.name
    return found


def found_by_oracle(arrays, standard):
    return [
        first_broken({name: array[row].tolist() for name, array in arrays.items()}, standard.config, standard.vocab)
        for row in range(len(arrays["input_ids"]))
    ]


def damaged(arrays, rng, vocab_size):
    """A copy in which each example has one or two changed elements, often to values that matter."""
    arrays = {name: array.copy() for name, array in arrays.items()}
    for row in range(len(arrays["input_ids"])):
        damage = rng.random()
        if damage < 0.1:
            drop_last_prediction(arrays, row)
        elif damage < 0.2:
            predict_sep(arrays, row)
        else:
            for _ in range(rng.integers(1, 3)):
                array = arrays[str(rng.choice(list(arrays)))]
                column = rng.integers(array.shape[1])
                values = [0, 1, 2, 3, 4, vocab_size - 1, vocab_size, array[row, column] + 1, array[row, column - 1]]
                array[row, column] = rng.choice([*values, rng.integers(vocab_size)])
    return arrays


def drop_last_prediction(arrays, row):
    last = int(arrays["masked_lm_weights"][row].sum()) - 1
    id, position = arrays["masked_lm_ids"][row, last], arrays["masked_lm_positions"][row, last]
    arrays["input_ids"][row, position] = id
    for name in ("masked_lm_weights", "masked_lm_ids", "masked_lm_positions"):
        arrays[name][row, last] = 0


def predict_sep(arrays, row):
    """Predicts the first [SEP] instead of the token that is predicted next to it."""
    sep = 3
    place = int(np.argmax(arrays["input_ids"][row] == sep))
    positions = arrays["masked_lm_positions"][row]
    given = positions[: int(arrays["masked_lm_weights"][row].sum())]
    nearest = int(np.argmin(abs(given - place)))
    arrays["input_ids"][row, given[nearest]] = arrays["masked_lm_ids"][row, nearest]
    arrays["masked_lm_positions"][row, nearest], arrays["masked_lm_ids"][row, nearest] = place, sep


def test_what_generate_makes_keeps_all_rules(made):
    standard, arrays = made
    assert found_by_oracle(arrays, standard) == found_by_rules(arrays, standard) == [None] * len(arrays["input_ids"])


@pytest.mark.parametrize("seed", range(3))
def test_the_rules_find_in_damaged_examples_what_the_oracle_finds(made, seed):
    standard, arrays = made
    changed = damaged(arrays, np.random.default_rng(seed), standard.vocab_size)
    expected = found_by_oracle(changed, standard)
    assert found_by_rules(changed, standard) == expected
    assert len(set(expected)) > 8  # many rules have something to say


def test_every_rule_is_broken_by_some_damage(made):
    standard, arrays = made
    found = {
        name
        for seed in range(20)
        for name in found_by_rules(damaged(arrays, np.random.default_rng(seed), standard.vocab_size), standard)
        if name
    }
    # Where there is no B its [SEP] is the last token, after which no prediction can stand.
    never = set() if standard.has_pairs else {"specials_are_not_predicted"}
    assert found == {rule.name for rule in rules_for(standard)} - never


def test_without_a_vocabulary_the_rules_that_need_none_still_hold(made):
    standard, arrays = made
    without = Standard(standard.config, standard.vocab_size, None)
    assert found_by_rules(arrays, without) == [None] * len(arrays["input_ids"])
    arrays = {**arrays, "input_mask": arrays["input_mask"] * 2}
    assert found_by_rules(arrays, without) == ["tokens_come_first"] * len(arrays["input_ids"])
    assert len(rules_for(without)) < len(rules_for(standard)) < len(RULES)


def test_weights_that_are_no_number_are_found(made):
    standard, arrays = made
    arrays = {**arrays, "masked_lm_weights": np.where(arrays["masked_lm_weights"] > 0, np.nan, 0).astype(np.float32)}
    assert set(found_by_rules(arrays, standard)) == {"predictions_come_first"}


def test_the_vocabulary_tells_what_text_can_become():
    tokens = [*SPECIAL_TOKENS, "[unused0]", "cat", "##s", "Cat", "é", ".", "東", "##東", "##", "can't", "##."]
    vocab = Vocab(tokens)
    kinds = dict(zip(tokens, find_kinds(vocab, cased=False).tolist()))
    word = TEXT | ORDINARY | CONTINUABLE
    assert kinds["cat"] == word
    assert kinds["##s"] == word | CONTINUATION
    assert kinds["."] == kinds["東"] == TEXT | ORDINARY  # words of their own: nothing continues them
    assert kinds["[UNK]"] == TEXT
    assert kinds["[MASK]"] == kinds["[unused0]"] == 0
    assert kinds["Cat"] == kinds["é"] == kinds["can't"] == ORDINARY  # may be drawn, but no text becomes them
    assert find_kinds(vocab, cased=True)[vocab.ids["Cat"]] == word
