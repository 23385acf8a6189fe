"""The rules that each example must keep, many examples at a time: arrays in, the elements that break a rule out.

They come in an order in which each may take the ones before it for granted; an example that breaks one is not put to
the others. Source of the rules: google-research/bert's `create_pretraining_data.py`, but for the repairs that
docs/parity.md names.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from maskmill.pipeline.validation.batch import ExampleBatch, Facts
from maskmill.pipeline.validation.standard import CONTINUABLE, CONTINUATION, ORDINARY, TEXT, Standard

# mypy: disable-error-code="no-any-return"
# A feature is int32 or float32, and numpy does not say what comparing one of the two gives.


@dataclass(frozen=True)
class Rule:
    """A rule that each example of a dataset keeps, and how the examples that break it are found."""

    name: str
    feature: str  # whose elements it looks at
    expected: str  # a sentence without its full stop: what keeps it
    find_broken: Callable[[ExampleBatch], Facts]  # -> [n, feature.length]: True at the elements that break it
    needs_vocab: bool = False
    whole_words: bool | None = None  # for datasets of whole-word masking only, or for the others only; None: for all


RULES: list[Rule] = []


def rule(
    feature: str, *, needs_vocab: bool = False, whole_words: bool | None = None
) -> Callable[[Callable[[ExampleBatch], Facts]], Callable[[ExampleBatch], Facts]]:
    """Makes a rule, the next in their order, of a function whose docstring says what keeps it."""

    def add(find_broken: Callable[[ExampleBatch], Facts]) -> Callable[[ExampleBatch], Facts]:
        expected = " ".join((find_broken.__doc__ or "").split()).rstrip(".")
        RULES.append(Rule(find_broken.__name__, feature, expected, find_broken, needs_vocab, whole_words))
        return find_broken

    return add


@rule("input_mask")
def tokens_come_first(batch: ExampleBatch) -> Facts:
    """It is 1 at the tokens, which come first and are enough for the segments, and 0 at padding."""
    expected = batch.is_token.copy()
    expected[:, : batch.standard.shortest] = True
    return batch.arrays["input_mask"] != expected


@rule("input_ids")
def ids_are_in_vocabulary(batch: ExampleBatch) -> Facts:
    """Ids are those of the vocabulary."""
    return batch.input_ids >= batch.standard.vocab_size


@rule("masked_lm_ids")
def labels_are_in_vocabulary(batch: ExampleBatch) -> Facts:
    """Ids are those of the vocabulary."""
    return batch.arrays["masked_lm_ids"] >= batch.standard.vocab_size


@rule("input_ids")
def padding_is_zero(batch: ExampleBatch) -> Facts:
    """Padding is 0."""
    return (batch.input_ids != 0) & ~batch.is_token


@rule("masked_lm_weights")
def predictions_come_first(batch: ExampleBatch) -> Facts:
    """It is 1.0 at the predictions, which come first, and 0.0 at their padding."""
    return batch.arrays["masked_lm_weights"] != batch.is_given


@rule("masked_lm_positions")
def padding_of_positions_is_zero(batch: ExampleBatch) -> Facts:
    """Padding is 0."""
    return (batch.positions != 0) & ~batch.is_given


@rule("masked_lm_ids")
def padding_of_labels_is_zero(batch: ExampleBatch) -> Facts:
    """Padding is 0."""
    return (batch.arrays["masked_lm_ids"] != 0) & ~batch.is_given


@rule("masked_lm_positions")
def positions_ascend_in_text(batch: ExampleBatch) -> Facts:
    """Positions ascend, after [CLS] and before the last [SEP]."""
    before = np.zeros_like(batch.positions)
    before[:, 1:] = batch.positions[:, :-1]
    return ((batch.positions <= before) | (batch.positions >= batch.lengths[:, None] - 1)) & batch.is_given


@rule("input_ids", needs_vocab=True)
def cls_opens(batch: ExampleBatch) -> Facts:
    """[CLS] opens the example."""
    broken = np.zeros(batch.original.shape, np.bool_)
    broken[:, 0] = batch.original[:, 0] != batch.standard.cls_id
    return broken


@rule("input_ids", needs_vocab=True)
def sep_closes_segments(batch: ExampleBatch) -> Facts:
    """[SEP] closes each segment and stands nowhere else, and no segment is empty."""
    last = batch.lengths[:, None] - 1
    if batch.standard.has_pairs:
        # Where A would be empty or the first [SEP] is the last, one is missing or out of place.
        first = np.clip(batch.first_sep[:, None], 2, last - 2)
        expected = (batch.columns == first) | (batch.columns == last)
    else:
        expected = batch.columns == last
    return batch.is_sep != expected


@rule("masked_lm_positions", needs_vocab=True)
def specials_are_not_predicted(batch: ExampleBatch) -> Facts:
    """No special token is predicted."""
    return (batch.positions == batch.first_sep[:, None]) & batch.is_given


@rule("input_ids", needs_vocab=True)
def text_is_ordinary(batch: ExampleBatch) -> Facts:
    """Between [CLS] and [SEP] stands what text can become with this vocabulary."""
    return ((batch.kinds & TEXT) == 0) & batch.candidates


@rule("input_ids", needs_vocab=True)
def pieces_continue_words(batch: ExampleBatch) -> Facts:
    """A ## piece continues a word."""
    continues = (batch.kinds & CONTINUATION) != 0
    broken = np.zeros_like(continues)
    # The first piece of a segment may continue a word whose beginning was truncated.
    broken[:, 1:] = continues[:, 1:] & ((batch.kinds[:, :-1] & CONTINUABLE) == 0) & batch.candidates[:, :-1]
    return broken


@rule("segment_ids", needs_vocab=True)
def segments_end_at_sep(batch: ExampleBatch) -> Facts:
    """It is 0 up to the first [SEP], 1 to the second, and 0 at padding."""
    in_b = (batch.columns > batch.first_sep[:, None]) & batch.is_token
    return batch.arrays["segment_ids"] != in_b


@rule("input_ids", needs_vocab=True)
def masks_are_shown(batch: ExampleBatch) -> Facts:
    """A token to predict is shown as [MASK], as it is, or as an ordinary token."""
    is_ordinary = (batch.standard.kinds.take(batch.shown) & ORDINARY) != 0
    is_known = (batch.shown == batch.standard.mask_id) | (batch.shown == batch.labels) | is_ordinary
    broken = np.zeros(batch.input_ids.shape, np.bool_)
    broken.reshape(-1)[batch.places] = ~is_known
    return broken


@rule("masked_lm_weights", whole_words=False)
def predictions_are_as_many(batch: ExampleBatch) -> Facts:
    """As many tokens are predicted as the masking rule asks for."""
    wanted = batch.standard.count_wanted(batch.lengths)
    return batch.is_given != (np.arange(batch.is_given.shape[1]) < wanted[:, None])


@rule("input_ids", needs_vocab=True, whole_words=True)
def words_are_whole(batch: ExampleBatch) -> Facts:
    """All pieces of a word are predicted, or none."""
    broken = np.zeros_like(batch.is_chosen)
    broken[:, 1:] = batch.is_chosen[:, 1:] != batch.is_chosen[:, :-1]
    return broken & batch.candidates & ~batch.starts


@rule("masked_lm_weights", needs_vocab=True, whole_words=True)
def words_are_as_many(batch: ExampleBatch) -> Facts:
    """No more tokens are predicted than the masking rule asks for, and no word is left that would fit."""
    left = batch.standard.count_wanted(batch.lengths) - batch.counts
    # Sizes of the words that were not chosen: those of one piece, then of two, and so on, as far as something is left.
    would_fit = np.zeros(len(batch), np.bool_)
    ends = np.ones_like(batch.starts)
    ends[:, :-1] = ~batch.candidates[:, 1:] | batch.starts[:, 1:]
    is_open = batch.starts & ~batch.is_chosen
    for size in range(1, int(left.max(initial=0)) + 1):
        if not is_open.any():
            break
        would_fit |= (is_open & ends).any(axis=1) & (left >= size)
        is_open[:, 1:] = (is_open & ~ends)[:, :-1]
        is_open[:, 0] = False
    count = np.arange(batch.is_given.shape[1])
    too_many = batch.is_given & (count >= (batch.counts + left)[:, None])
    too_few = ~batch.is_given & (count == batch.counts[:, None]) & would_fit[:, None]
    return too_many | too_few


@rule("next_sentence_labels")
def label_is_known(batch: ExampleBatch) -> Facts:
    """It is 0 or 1, and 0 where there is no B."""
    return batch.arrays["next_sentence_labels"] > batch.standard.has_pairs


def rules_for(standard: Standard) -> list[Rule]:
    """The rules that examples held to a standard are put to."""
    whole_words = standard.config.whole_word_mask
    return [one for one in RULES if (standard.vocab or not one.needs_vocab) and one.whole_words in (None, whole_words)]


def find_broken(batch: ExampleBatch) -> Iterator[tuple[Rule, NDArray[np.int64], ExampleBatch, Facts]]:
    """Puts examples to the rules, one after the other.

    Yields:
        For each rule that an example breaks, which keeps those before it: the rule; the rows of such examples in the
        batch, [k]; a batch of these examples; and their elements that break it, [k, feature.length].
    """
    rows, standard = batch.rows, batch.standard
    for one in rules_for(standard):
        broken = one.find_broken(batch)
        if not broken.any():
            continue
        is_broken: Facts = np.any(broken, axis=1)
        yield one, rows[is_broken], batch.take(is_broken), broken[is_broken]
        batch, rows = batch.take(~is_broken), rows[~is_broken]
