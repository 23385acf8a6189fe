"""Which examples of a dataset to look at: the first ones, some drawn uniformly, or those that hold a word."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from maskmill.pipeline.analysis.opened_datasets import BATCH_EXAMPLES, OpenedDataset, OpenedShard
from maskmill.pipeline.records.decoding import Arrays
from maskmill.tokenizer.errors import InputError
from maskmill.tokenizer.vocab import UNK, Vocab
from maskmill.tokenizer.wordpiece import FullTokenizer

FIRST_BATCH = 64  # examples read where a few are wanted


@dataclass(frozen=True)
class ChosenExample:
    """One example, and where it stands."""

    shard: OpenedShard
    record: int  # its number in the shard, from 1 on
    arrays: Arrays  # [1, length] by feature
    found: tuple[int, ...] = ()  # the positions of the word that was looked for


@dataclass(frozen=True)
class Word:
    """A word, or several, to look for in the text of examples as it was before masking."""

    ids: tuple[int, ...]  # its pieces
    is_continuation: NDArray[np.bool_]  # by id: whether a piece goes on with a word

    @classmethod
    def parse(cls, text: str, vocab: Vocab, cased: bool) -> "Word":
        """Text as the documents were tokenised; a token in brackets such as `[UNK]` is itself.

        Raises InputError when the vocabulary cannot say it.
        """
        pieces = [text] if text.startswith("[") and text in vocab.ids else FullTokenizer(vocab, cased).tokenize(text)
        if not pieces:
            raise InputError(f"--grep {text!r} has no characters that a tokenizer keeps", way_out="give a word")
        if UNK in pieces and text != UNK:
            raise InputError(
                f"--grep {text} is in no example: {vocab.name} has no pieces for it, so that it becomes {UNK}",
                way_out=f"give another word, or {UNK} itself",
            )
        return cls(tuple(vocab.ids[piece] for piece in pieces), np.array(vocab.is_continuation))

    def find(self, arrays: Arrays) -> NDArray[np.bool_]:
        """Where the whole word begins: bool [n, max_seq_length]. Masked pieces count by their originals."""
        ids = restore(arrays)
        width, length = len(self.ids), ids.shape[1]
        if width > length:
            return np.zeros(ids.shape, np.bool_)
        padded = np.pad(ids, ((0, 0), (0, width)))  # the vocabulary's first token, which goes on with no word
        begins = arrays["input_mask"] > 0
        for place, id in enumerate(self.ids):
            begins = begins & (padded[:, place : place + length] == id)
        after = np.minimum(padded[:, width : width + length], len(self.is_continuation) - 1)
        return begins & ~self.is_continuation[after]


def restore(arrays: Arrays) -> NDArray[np.int32]:
    """input_ids as they were before masking: int32 [n, max_seq_length]."""
    ids = arrays["input_ids"].astype(np.int32)
    rows, places = np.nonzero(arrays["masked_lm_weights"])
    positions = np.minimum(arrays["masked_lm_positions"][rows, places].astype(np.intp), ids.shape[1] - 1)
    ids[rows, positions] = arrays["masked_lm_ids"][rows, places]
    return ids


def choose_shards(opened: OpenedDataset, name: str) -> list[OpenedShard]:
    """The shard of a name or a path. Raises InputError when there is none."""
    if shards := [shard for shard in opened.shards if shard.name == name or shard.path == name]:
        return shards
    raise InputError(
        f"--shard {name} is not in {opened.directory}",
        way_out=f"its {len(opened.shards)} shards are called such as {opened.shards[0].name}",
    )


def choose_examples(
    opened: OpenedDataset,
    shards: Sequence[OpenedShard],
    count: int,
    random_seed: int | None = None,
    word: Word | None = None,
) -> list[ChosenExample]:
    """Some examples of some shards, in reading order.

    With a manifest, a sample reads no more than the shards it falls into; without one, or of those that hold a word,
    all shards are read.

    Args:
        opened: the dataset.
        shards: those to choose from.
        count: how many examples, at the most.
        random_seed: None for the first ones; else a sample in which each example is as likely, the same for a seed.
        word: only examples that hold it.

    Raises:
        InputError: naming the shard and the record that is damaged, and when the dataset changed since it was opened.
    """
    if not count:
        return []
    with opened.unchanged():
        return _choose(opened, shards, count, random_seed, word)


def _choose(
    opened: OpenedDataset, shards: Sequence[OpenedShard], count: int, random_seed: int | None, word: Word | None
) -> list[ChosenExample]:
    if random_seed is None:
        return list(islice(_matching(opened, shards, word, FIRST_BATCH if not word else BATCH_EXAMPLES), count))
    rng = np.random.default_rng(random_seed)
    if word or any(shard.examples is None for shard in shards):
        return _draw(_matching(opened, shards, word, BATCH_EXAMPLES), count, rng)
    return list(_read_places(opened, shards, _draw_places(shards, count, rng)))


def _matching(
    opened: OpenedDataset, shards: Sequence[OpenedShard], word: Word | None, size: int
) -> Iterator[ChosenExample]:
    """All examples that hold the word, in reading order."""
    for shard in shards:
        before = 0
        for arrays in opened.read_batches(shard, size):
            begins = word.find(arrays) if word else None
            rows = range(len(arrays["input_ids"])) if begins is None else np.flatnonzero(begins.any(axis=1)).tolist()
            for row in rows:
                found: list[int] = []
                if word and begins is not None:
                    starts = np.flatnonzero(begins[row]).tolist()
                    found = [start + place for start in starts for place in range(len(word.ids))]
                one = {name: values[row : row + 1] for name, values in arrays.items()}
                yield ChosenExample(shard, before + row + 1, one, tuple(found))
            before += len(arrays["input_ids"])


def _draw(examples: Iterator[ChosenExample], count: int, rng: np.random.Generator) -> list[ChosenExample]:
    """A uniform sample of as many examples as come (Vitter's algorithm R), in the order of their coming."""
    sample: list[tuple[int, ChosenExample]] = []
    for number, example in enumerate(examples):
        place = number if number < count else int(rng.integers(number + 1))
        if place < count:
            kept = replace(example, arrays={name: values.copy() for name, values in example.arrays.items()})
            sample[place : place + 1] = [(number, kept)]
    return [example for _, example in sorted(sample, key=lambda drawn: drawn[0])]


def _draw_places(shards: Sequence[OpenedShard], count: int, rng: np.random.Generator) -> list[int]:
    total = sum(shard.examples or 0 for shard in shards)
    return sorted(rng.choice(total, min(count, total), replace=False, shuffle=False).tolist())


def _read_places(opened: OpenedDataset, shards: Sequence[OpenedShard], places: list[int]) -> Iterator[ChosenExample]:
    """The examples at some places, counted over all shards, ascending."""
    first = 0
    for shard in shards:
        end = first + (shard.examples or 0)
        if wanted := [place - first for place in places if first <= place < end]:
            for place, arrays in opened.read_places(shard, wanted):
                yield ChosenExample(shard, place + 1, arrays)
        first = end
