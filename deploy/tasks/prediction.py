"""`predict` on the terminal: divide a table into parts, have them predicted here or elsewhere, join them in order."""

import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from itertools import islice
from typing import TYPE_CHECKING

from rich.console import Console

from maskmill.deploy.engines.jobs import share_out
from maskmill.deploy.engines.local import LocalRunner
from maskmill.deploy.tasks.predict import PredictRequest
from maskmill.deploy.tasks.predict_part import (
    PART_BYTES,
    ROWS_AT_A_TIME,
    PredictPart,
    encode_rows,
    open_classifier,
    part_name,
)
from maskmill.deploy.terminal.inputs import resolve
from maskmill.deploy.terminal.messages import warn
from maskmill.deploy.terminal.numbers import count
from maskmill.deploy.terminal.progress import Bar, looking
from maskmill.deploy.terminal.tables import new_talk, warn_of_unknown
from maskmill.pipeline.jobs.jobs import WorkOnTable
from maskmill.pipeline.reading.files import FilePart
from maskmill.pipeline.storage.storage import claim_files, is_remote, list_names, require_version, version_of
from maskmill.pipeline.tables.fields import Fields, TableFormat
from maskmill.pipeline.tables.labelled import list_reasons
from maskmill.pipeline.tables.predictions import join_parts, writer_for
from maskmill.pipeline.tables.rows import Row, list_table_parts, read_rows
from maskmill.tokenizer.errors import InputError
from maskmill.tokenizer.fast import FastTokenizer

if TYPE_CHECKING:
    from maskmill.model.tasks.finetuned import FinetunedBert

SECONDS_BETWEEN_LOOKS = 0.5
SECONDS_BETWEEN_LISTINGS = 5.0  # of a folder in Cloud Storage


def predict_table(request: PredictRequest) -> None:
    """Predicts the rows of a table into a file, a row for each in their order.

    The columns are those that the model was trained on, unless others are given.

    Raises InputError before any work where it can be seen to fail.
    """
    console, table, output = new_talk(), request.table, request.output
    model = request.model_dir, request.checkpoint, request.backend
    writer_for(output, request.escape_formulas)
    if resolve(output) == resolve(table):
        raise InputError(f"output {output} is the table itself", way_out="give another file")
    with claim_files([output], request.overwrite) as claim:
        open_classifier.cache_clear()  # of a folder that may have been trained on since
        found, _ = open_classifier(*model)
        fields = choose_fields(request.text_field, request.text_pair_field, found.fields)
        version = version_of(table)
        began = time.monotonic()
        look_at_rows(table, fields, request.input_format, found)
        with console.status("Dividing the table"):
            num_parts = sum(1 for _ in list_table_parts(table, PART_BYTES, request.input_format))
        runner = request.runner or LocalRunner.prepare([table], request.num_workers or 1)
        labels = count(len(found.labels), "label")
        console.print(f"Predicting {table} with {request.model_dir} in {count(num_parts, 'part')}: {labels}")
        with runner.scratch() as folder:
            work = PredictPart(*model, fields, request.input_format, folder, found.sha256)
            job = WorkOnTable(table, request.input_format, PART_BYTES, work)
            with _watched(console, folder, num_parts):
                runner.run(share_out(runner, job, num_parts))
            require_version(table, version)  # each worker has divided it for itself
            parts = [part_name(number) for number in range(num_parts)]
            if missing := set(parts) - set(list_names(folder)):
                raise InputError(
                    f"{count(len(missing), 'part')} of {num_parts:,} came back without predictions",
                    way_out="give the same command again, and look at the engine's log",
                )
            paths = [os.path.join(folder, name) for name in parts]
            rows, reasons = join_parts(paths, claim, output, found.labels, request.escape_formulas)
    if reasons:
        warn(f"{reasons.total():,} of {count(rows, 'row')} got no label: {list_reasons(reasons)}")
    seconds = time.monotonic() - began
    console.print(f"Wrote {output}: {count(rows, 'row')}, in {seconds:.1f} s ({rows / seconds:,.0f} rows/s)")


def choose_fields(text_field: str | None, text_pair_field: str | None, trained: Mapping[str, str | None]) -> Fields:
    """The columns to read: as given, else those that the model was trained on. Labels are not read.

    Raises InputError where a pair is given to a model of single texts.
    """
    if text_pair_field and not trained["text_pair_field"]:
        raise InputError(
            f"text_pair_field is {text_pair_field}, but the model was trained on single texts", way_out="leave it out"
        )
    return Fields(text_field or trained["text_field"] or "text", text_pair_field or trained["text_pair_field"])


def look_at_rows(table: str, fields: Fields, input_format: TableFormat, found: "FinetunedBert") -> None:
    """Reads the first rows of a table, before all of it is, and warns where the vocabulary does not fit.

    Raises InputError where the table does not have the fields, or cannot be read.
    """
    read = islice(read_rows(FilePart(table), fields, input_format), ROWS_AT_A_TIME)
    rows = [row for row in read if isinstance(row, Row)]
    texts = encode_rows(rows, fields, found, FastTokenizer(found.vocab, found.rules))
    warn_of_unknown(texts.unknown_share)


@contextmanager
def _watched(console: Console, folder: str, num_parts: int) -> Iterator[None]:
    """Shows how many parts are done: a bar on a terminal, a line now and then elsewhere."""
    with Bar(console, "compiling", num_parts) as bar:

        def show() -> None:
            done = sum(not name.startswith(".") for name in list_names(folder))
            text = f"{done:,} of {num_parts:,} parts"
            bar.draw(text, done)
            bar.print_line(text)

        with looking(show, SECONDS_BETWEEN_LISTINGS if is_remote(folder) else SECONDS_BETWEEN_LOOKS):
            yield
