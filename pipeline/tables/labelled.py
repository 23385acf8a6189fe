"""Labelled texts to learn from: read, checked, and divided into a part to train on and one that is held out."""

import hashlib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from maskmill.pipeline.instances.seeding import hash_fraction
from maskmill.pipeline.reading.documents import Rejected, clip, content_of, digest_of
from maskmill.pipeline.reading.files import FilePart
from maskmill.pipeline.storage.storage import version_of
from maskmill.pipeline.tables.fields import Fields, TableFormat
from maskmill.pipeline.tables.rows import Row, read_rows
from maskmill.pipeline.tables.texts import EncodedTexts, encode_texts
from maskmill.tokenizer.errors import InputError
from maskmill.tokenizer.fast import FastTokenizer
from maskmill.tokenizer.rules import TextRules
from maskmill.tokenizer.vocab import Vocab

MAX_LABELS = 10_000  # their confusion matrix takes 800 MB
MAX_LABEL_CHARACTERS = 1_000


@dataclass(frozen=True)
class HeldOut:
    """Which rows are held out: those of a file of their own, or a share of the table by a hash of their texts."""

    eval_file: str | None = None
    eval_fraction: float | None = None  # where there is no eval_file
    random_seed: int | None = None  # of the hash
    stratified: bool | None = None  # by label; None in folders of fine-tunings that were begun before it was so


@dataclass(frozen=True)
class LabelledTexts:
    """Rows of a table, all of them usable; `text_pairs` is None where they are single texts."""

    name: str  # of the file, for what is said of them
    fields: Fields
    texts: Sequence[str]
    text_pairs: Sequence[str] | None
    labels: Sequence[str]
    split: HeldOut | None = None  # by which they are a part of the file; None: they are all of it

    def __len__(self) -> int:
        return len(self.texts)

    @property
    def sha256(self) -> str:
        """The checksum of the rows in their order."""
        digest = hashlib.sha256()
        for values in (self.texts, self.text_pairs or (), self.labels):
            for value in values:
                data = value.encode()
                digest.update(len(data).to_bytes(8) + data)
            digest.update(b"\0")
        return digest.hexdigest()

    def take(self, rows: Sequence[int]) -> "LabelledTexts":
        """The rows of these numbers, in this order."""
        pairs = None if self.text_pairs is None else [self.text_pairs[row] for row in rows]
        texts, labels = [self.texts[row] for row in rows], [self.labels[row] for row in rows]
        return replace(self, texts=texts, text_pairs=pairs, labels=labels)

    def encode(self, vocab: Vocab, rules: TextRules, max_seq_length: int) -> EncodedTexts:
        """As the model sees them."""
        return encode_texts(self.texts, self.text_pairs, FastTokenizer(vocab, rules), vocab, max_seq_length)

    def label_ids(self, labels: Sequence[str]) -> NDArray[np.int32]:
        """The place of each row's label among `labels`: int32 [n]."""
        ids = {label: id for id, label in enumerate(labels)}
        return np.array([ids[label] for label in self.labels], np.int32)


def read_labelled(path: str, fields: Fields, named: TableFormat = "auto") -> tuple[LabelledTexts, list[Rejected]]:
    """A table with a label in each row -> the rows that can be used, and the others with the reason."""
    rows: list[Row] = []
    rejected: list[Rejected] = []
    for row in read_rows(FilePart(path, version=version_of(path)), fields, named):
        if isinstance(row, Row):
            rows.append(row)
        else:
            rejected.append(row)
    pairs = [row.text_pair or "" for row in rows] if fields.text_pair_field else None
    found = LabelledTexts(path, fields, [row.text for row in rows], pairs, [row.label or "" for row in rows])
    return found, rejected


def check_rejected(found: LabelledTexts, rejected: Sequence[Rejected], max_rejected: float) -> None:
    """Raises InputError when no row is left, or more than the share `max_rejected` of them cannot be used."""
    read = len(found) + len(rejected)
    if not read:
        raise InputError(f"{found.name} holds no rows", expected="a text and its label in each")
    reasons = list_reasons(count_reasons(rejected))
    if not len(found):
        raise InputError(
            f"{found.name} has no row that can be used ({reasons})", way_out="mend them, or name other columns"
        )
    if len(rejected) > max_rejected * read:
        raise InputError(
            f"{len(rejected):,} of {read:,} rows of {found.name} cannot be used, {len(rejected) / read:.1%}: {reasons}",
            expected=(
                f"at most --max-rejected {max_rejected:.2g}, so mend them, leave them out, or give a larger share"
            ),
        )


def count_reasons(rejected: Iterable[Rejected]) -> Counter[str]:
    """Why rows cannot be used, and how many for each reason."""
    return Counter(one.reason for one in rejected)


def list_reasons(reasons: Mapping[str, int]) -> str:
    """The same in words.

    >>> list_reasons({"field 'text' is null": 2, "field 'text' is empty": 1})
    "1 field 'text' is empty; 2 field 'text' is null"
    """
    return "; ".join(f"{n:,} {reason}" for reason, n in sorted(reasons.items()))


def split_off(
    found: LabelledTexts, eval_fraction: float, random_seed: int, stratified: bool = True
) -> tuple[LabelledTexts, LabelledTexts]:
    """A part to train on, and the share `eval_fraction` of the texts of each label, chosen by a hash of their content.

    Stratified, the share of each label is rounded, and a label of two texts or more has at least one on either side;
    a text that has several labels counts for the rarest. Otherwise the hash alone decides. Rows with the same text,
    whatever blanks are in it and whatever its label, fall on the same side.
    """
    if not 0 < eval_fraction < 1:
        raise InputError(f"eval_fraction is {eval_fraction}", expected="more than 0 and less than 1")
    pairs = found.text_pairs or [""] * len(found)
    digests = [digest_of(content_of(text) + b"\0" + content_of(pair)) for text, pair in zip(found.texts, pairs)]
    hashes = {digest: hash_fraction(random_seed, "held-out rows", digest) for digest in digests}
    if stratified:
        chosen = _choose_by_label(hashes, digests, found.labels, eval_fraction)
    else:
        chosen = {digest for digest, value in hashes.items() if value < eval_fraction}
    split = HeldOut(eval_fraction=eval_fraction, random_seed=random_seed, stratified=stratified or None)
    found = replace(found, split=split)
    train, held_out = (
        found.take([row for row, digest in enumerate(digests) if (digest in chosen) == side]) for side in (False, True)
    )
    if not len(train) or not len(held_out):
        part = "nothing to train on" if not len(train) else "no row held out"
        why = ", as no label has two different texts" if stratified else ""
        raise InputError(
            f"eval_fraction is {eval_fraction}, which leaves {part} of {len(found):,} rows of {found.name}{why}",
            way_out="give another one, or the held-out rows with --eval-file",
        )
    return train, held_out


def _choose_by_label(
    hashes: Mapping[bytes, float], digests: Sequence[bytes], labels: Sequence[str], eval_fraction: float
) -> set[bytes]:
    """The texts to hold out, by their digests: of each label those of the lowest hashes."""
    texts = Counter(label for _, label in set(zip(digests, labels)))
    label_of: dict[bytes, str] = {}
    for digest, label in zip(digests, labels):
        label_of[digest] = min(label_of.get(digest, label), label, key=lambda one: (texts[one], one))
    by_label: dict[str, list[bytes]] = {}
    for digest, label in label_of.items():
        by_label.setdefault(label, []).append(digest)
    chosen: set[bytes] = set()
    for of_label in by_label.values():
        number = min(max(int(eval_fraction * len(of_label) + 0.5), 1), len(of_label) - 1)
        chosen.update(sorted(of_label, key=lambda digest: (hashes[digest], digest))[:number])
    return chosen


def sort_labels(labels: Sequence[str]) -> list[str]:
    """The distinct labels in order: by number where all are whole numbers, else as text.

    >>> sort_labels(["10", "9", "9"]), sort_labels(["b", "a", "10"])
    (['9', '10'], ['10', 'a', 'b'])
    """
    distinct = set(labels)
    are_numbers = all(label.removeprefix("-").isdecimal() and label.isascii() for label in distinct)
    return sorted(distinct, key=lambda label: (int(label) if are_numbers else 0, label))


def find_labels(train: LabelledTexts, held_out: LabelledTexts) -> list[str]:
    """The labels to tell apart, those of the part to train on, in order.

    Raises InputError when there is one alone, the held-out part has one that the other has not, or they are too many or
    too long to be names of classes.
    """
    labels = sort_labels(train.labels)
    if len(labels) > MAX_LABELS:
        raise InputError(
            f"{train.name} has {len(labels):,} different labels in {len(train):,} rows to train on",
            expected=f"at most {MAX_LABELS:,}, so name the right --label-field",
        )
    if len(longest := max(labels, key=len)) > MAX_LABEL_CHARACTERS:
        raise InputError(
            f"{train.name} has a label of {len(longest):,} characters, {clip(longest)!r}",
            expected=f"at most {MAX_LABEL_CHARACTERS:,}, so name the right --label-field",
        )
    if len(labels) < 2:
        raise InputError(
            f"{train.name} has one label alone in the rows to train on, {clip(labels[0])!r}",
            expected="two or more to tell apart, so name the right --label-field, or add rows of another one",
        )
    if unseen := sort_labels(sorted(set(held_out.labels) - set(labels))):
        rows = sum(label == unseen[0] for label in held_out.labels)
        raise InputError(
            f"label {clip(unseen[0])!r} is in the held-out part alone ({rows:,} of its {len(held_out):,} rows), so "
            "nothing is learned of it",
            way_out="add rows of it to those to train on, or leave it out of both",
        )
    return labels
