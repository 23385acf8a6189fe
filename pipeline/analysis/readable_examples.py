"""Examples as people read them: the words, what is masked, and the label in words."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from maskmill.pipeline.analysis.opened_datasets import OpenedDataset
from maskmill.pipeline.records.decoding import Arrays

# What the labels 0 and 1 of the objectives say.
LABELS = {
    "nsp": ("B is the actual next", "B is a random next"),
    "sop": ("B follows A", "B comes before A"),
    "mlm": ("one segment", "one segment"),
}


@dataclass(frozen=True)
class ReadableToken:
    """A token of an example, and what was masked there."""

    token: str  # that stands there; `#17` for the id 17 where no vocabulary says what it is
    segment: int  # segment_ids: 0 or 1
    original: str | None  # where it is to be predicted: the token that stood there
    kind: str | None  # then what stands there: "mask", "same" or "random"


@dataclass(frozen=True)
class ReadableExample:
    """An example without its padding."""

    tokens: Sequence[ReadableToken]
    label: int  # next_sentence_labels
    label_in_words: str

    @property
    def predictions(self) -> int:
        """How many tokens are to be predicted."""
        return sum(token.original is not None for token in self.tokens)

    def to_values(self) -> dict[str, Any]:
        """As plain values, for JSON."""
        return asdict(self)


def make_readable(opened: OpenedDataset, arrays: Arrays, row: int) -> ReadableExample:
    """One example of a batch as people read it.

    Args:
        opened: its dataset.
        arrays: a batch, as `opened.read_batches` gives it.
        row: which example of the batch.
    """
    example = {name: values[row].tolist() for name, values in arrays.items()}
    predicted = {
        position: id
        for position, id, weight in zip(
            example["masked_lm_positions"], example["masked_lm_ids"], example["masked_lm_weights"]
        )
        if weight
    }
    tokens = []
    for position, id in enumerate(example["input_ids"]):
        if not example["input_mask"][position]:
            continue
        original, kind = None, None
        if position in predicted:
            original = name_token(opened, predicted[position])
            kind = "mask" if id == opened.mask_id else "same" if id == predicted[position] else "random"
        token = "[MASK]" if id == opened.mask_id else name_token(opened, id)
        tokens.append(ReadableToken(token, example["segment_ids"][position], original, kind))
    (label,) = example["next_sentence_labels"]
    in_words = LABELS[opened.objective][label] if label in (0, 1) else "no label that there is"
    return ReadableExample(tokens, label, in_words)


def name_token(opened: OpenedDataset, id: int) -> str:
    """The token of an id; `#17` where the vocabulary is not known, or has no such id."""
    return opened.vocab.tokens[id] if opened.vocab and id < len(opened.vocab) else f"#{id}"
