"""What a worker of `predict` does with a part of a table. It alone knows of the model; Beam's wrapper does not."""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import islice
from typing import TYPE_CHECKING, Any

from maskmill.pipeline.reading.documents import Rejected
from maskmill.pipeline.reading.files import FilePart
from maskmill.pipeline.tables.fields import Fields, TableFormat
from maskmill.pipeline.tables.predictions import make_batch, write_part
from maskmill.pipeline.tables.rows import Row, read_rows
from maskmill.pipeline.tables.texts import EncodedTexts, encode_texts
from maskmill.tokenizer.errors import InputError
from maskmill.tokenizer.fast import FastTokenizer

if TYPE_CHECKING:
    from maskmill.model.formats.model_dir import WhichCheckpoint
    from maskmill.model.tasks.finetuned import FinetunedBert

PART_BYTES = 2_000_000  # of a table
ROWS_AT_A_TIME = 1024  # of a part: they bound the memory, and batches are made among them


@dataclass(frozen=True)
class PredictPart:
    """A part of a table -> a file of predictions in `folder`, a row for each of its rows.

    A prediction is a function of the part: which rows share a batch does not depend on who does what.
    """

    model_dir: str
    checkpoint: "WhichCheckpoint"
    backend: str
    fields: Fields
    input_format: TableFormat
    folder: str
    model_sha256: str  # see `FinetunedBert`

    def __call__(self, part: FilePart) -> None:
        """Does it. Raises InputError when the folder holds another model by now."""
        found, run_step = open_classifier(self.model_dir, self.checkpoint, self.backend)
        if found.sha256 != self.model_sha256:
            raise InputError(
                f"the model in {self.model_dir} changed while it was used",
                way_out="run this again when nothing trains there",
            )
        tokenizer = FastTokenizer(found.vocab, found.rules)  # learns as it goes: not to be shared by threads
        rows = read_rows(part, self.fields, self.input_format)
        batches = (predict_rows(some, self.fields, found, run_step, tokenizer) for some in _lists_of(rows))
        write_part(os.path.join(self.folder, part_name(part.number)), found.labels, batches)


def part_name(number: int) -> str:
    """The name of the file with the predictions of a part."""
    return f"{number:08d}.arrow"


@lru_cache(1)
def open_classifier(model_dir: str, checkpoint: "WhichCheckpoint", backend: str) -> tuple["FinetunedBert", Any]:
    """A classifier with its compiled step; once in a process."""
    from maskmill.deploy.terminal.backend import choose_backend

    choose_backend(backend)
    from maskmill.model.formats.checkpoint_formats import on_this_machine
    from maskmill.model.tasks.finetuned import open_finetuned
    from maskmill.model.training.step import eval_step

    with on_this_machine(model_dir) as path:
        found = open_finetuned(path, checkpoint)
    return found, eval_step(found.model)


def predict_rows(
    rows: list[Row | Rejected], fields: Fields, found: "FinetunedBert", run_step: Any, tokenizer: FastTokenizer
) -> Any:
    """Rows -> a batch of predictions, in their order; of one that cannot be read the reason."""
    from maskmill.model.tasks.classifier import softmax
    from maskmill.model.tasks.predicting import predict_logits

    texts = encode_rows([row for row in rows if isinstance(row, Row)], fields, found, tokenizer)
    logits = predict_logits(run_step, texts, len(found.labels), found.max_seq_length)
    return make_batch(found.labels, softmax(logits), [None if isinstance(row, Row) else row.reason for row in rows])


def encode_rows(rows: Sequence[Row], fields: Fields, found: "FinetunedBert", tokenizer: FastTokenizer) -> EncodedTexts:
    """Rows as a classifier sees them."""
    pairs = [row.text_pair or "" for row in rows] if fields.text_pair_field else None
    return encode_texts([row.text for row in rows], pairs, tokenizer, found.vocab, found.max_seq_length)


def _lists_of(rows: Iterator[Row | Rejected]) -> Iterator[list[Row | Rejected]]:
    while some := list(islice(rows, ROWS_AT_A_TIME)):
        yield some
