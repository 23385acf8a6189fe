"""The rows of bench_finetune.py: three questions about the paragraphs and sentences of ten books."""

import gzip
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from needs import CHAPTERS

from maskmill.pipeline.instances.seeding import hash_fraction, rng_for
from maskmill.pipeline.reading.documents import Document, ReadOptions, content_of, digest_of
from maskmill.pipeline.reading.sentences import split_sentences
from maskmill.pipeline.tables.fields import Fields
from maskmill.pipeline.tables.labelled import LabelledTexts

EVAL_FRACTION, RANDOM_SEED = 0.05, 12345  # of `generate`, when the shards were made
SHORTEST = 200  # characters of a paragraph: shorter ones are mostly dialogue
SENTENCE_WORDS = range(8, 41)

Row = tuple[str, str, str, str]  # chapter, text, text_pair, label


@dataclass(frozen=True)
class Chapter:
    """The longer paragraphs of a chapter."""

    id: str
    is_held_out: bool
    paragraphs: list[str]

    @property
    def book(self) -> str:
        """Its title, of an id such as `jane-austen_pride-and-prejudice/chapter-1`."""
        return self.id.partition("/")[0].partition("_")[2].partition("_")[0]


@dataclass(frozen=True)
class Task:
    """What is learned and measured: no chapter is on both sides, and pre-training saw nothing of the held-out ones."""

    name: str
    train: LabelledTexts
    chapters: list[str]  # of the rows to train on
    held_out: LabelledTexts


def read_chapters(corpus: Path) -> list[Chapter]:
    chapters = []
    with gzip.open(corpus / CHAPTERS, "rt", encoding="utf-8") as lines:
        for record in map(json.loads, lines):
            # As `Pools.pool_of` divides documents.
            fraction = hash_fraction(RANDOM_SEED, "eval", digest_of(content_of(record["text"])))
            paragraphs = [one for one in record["text"].split("\n\n") if len(one) >= SHORTEST]
            chapters.append(Chapter(record["id"], fraction < EVAL_FRACTION, paragraphs))
    return chapters


def make_task(name: str, chapters: Sequence[Chapter], train_rows: int, eval_rows: int) -> Task:
    """A task with at most so many rows on either side."""
    train, ids = _draw(name, [one for one in chapters if not one.is_held_out], train_rows)
    held_out, _ = _draw(name, [one for one in chapters if one.is_held_out], eval_rows)
    return Task(name, train, ids, held_out)


def _draw(task: str, chapters: Sequence[Chapter], most: int) -> tuple[LabelledTexts, list[str]]:
    rng = rng_for(0, "bench_finetune", task)
    rows = list(TASKS[task](chapters, rng))
    rows = [rows[row] for row in rng.permutation(len(rows))[:most]]
    ids, texts, pairs, labels = map(list, zip(*rows))
    is_pair = any(pairs)
    fields = Fields("text", "text_pair" if is_pair else None, "label")
    return LabelledTexts(task, fields, texts, pairs if is_pair else None, labels), ids


def _books(chapters: Sequence[Chapter], rng: np.random.Generator) -> Iterator[Row]:
    """Which of ten books is a paragraph from?"""
    for chapter in chapters:
        for text in chapter.paragraphs:
            yield chapter.id, text, "", chapter.book


def _pairs(chapters: Sequence[Chapter], rng: np.random.Generator) -> Iterator[Row]:
    """Does paragraph B follow A, or is it from another chapter?"""
    usable = [chapter for chapter in chapters if len(chapter.paragraphs) > 1]
    for place, chapter in enumerate(usable):
        for a, b in zip(chapter.paragraphs[::2], chapter.paragraphs[1::2]):
            if is_next := rng.random() < 0.5:
                other = b
            else:
                elsewhere = usable[(place + 1 + int(rng.integers(len(usable) - 1))) % len(usable)]
                other = elsewhere.paragraphs[int(rng.integers(len(elsewhere.paragraphs)))]
            yield chapter.id, a, other, "next" if is_next else "other"


def _orders(chapters: Sequence[Chapter], rng: np.random.Generator) -> Iterator[Row]:
    """Which of two sentences is in the right order? In the other one two neighbouring words are swapped.

    Both have the same words, so that no bag of words can tell.
    """
    for chapter in chapters:
        for paragraph in chapter.paragraphs:
            for sentence in split_sentences(Document(paragraph, False), ReadOptions()):
                if swapped := swap_neighbours(sentence, rng):
                    is_first = rng.random() < 0.5
                    a, b = (sentence, swapped) if is_first else (swapped, sentence)
                    yield chapter.id, a, b, "first" if is_first else "second"


def swap_neighbours(sentence: str, rng: np.random.Generator) -> str | None:
    """A sentence with two different neighbouring words swapped; None where it is too short, too long or has none.

    They are words of small letters alone, so that neither capitals nor punctuation tell which they are.
    """
    words = sentence.split()
    plain = [word.isalpha() and word.islower() for word in words]
    places = [i for i in range(len(words) - 1) if plain[i] and plain[i + 1] and words[i] != words[i + 1]]
    if len(words) not in SENTENCE_WORDS or not places:
        return None
    place = places[int(rng.integers(len(places)))]
    words[place : place + 2] = words[place + 1], words[place]
    return " ".join(words)


TASKS: dict[str, Callable[[Sequence[Chapter], np.random.Generator], Iterator[Row]]] = {
    "book": _books, "pair": _pairs, "order": _orders,
}  # fmt: skip
