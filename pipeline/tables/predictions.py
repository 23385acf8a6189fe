"""What a classifier makes of the rows of a table, as batches of one schema, and these as CSV, JSON lines or Parquet."""

import csv
import io
import re
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any, BinaryIO

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from maskmill.pipeline.storage.storage import Claim, create_file, open_file
from maskmill.tokenizer.errors import InputError

LABEL, REASON, PROBABILITY = "label", "reason", "probability_"


def schema_of(labels: Sequence[str]) -> pa.Schema:
    """The likeliest label; the probability of each; and why a row has none of them, which is null where it has."""
    probabilities = [(PROBABILITY + label, pa.float32()) for label in labels]
    return pa.schema([(LABEL, pa.string()), *probabilities, (REASON, pa.string())])


def make_batch(
    labels: Sequence[str], probabilities: NDArray[np.float32], reasons: Sequence[str | None]
) -> pa.RecordBatch:
    """Predictions of some rows.

    Args:
        labels: of the classifier.
        probabilities: of the rows that have no reason, in their order: [rows without, labels].
        reasons: for each row why it cannot be read, or None.
    """
    is_read = np.array([reason is None for reason in reasons], bool)
    places = np.cumsum(is_read) - 1
    rows = pa.array(places, mask=~is_read)
    best = pa.array(np.array(labels, object)[probabilities.argmax(axis=1)], pa.string())
    columns = [best.take(rows), *(pa.array(column, pa.float32()).take(rows) for column in probabilities.T)]
    return pa.record_batch([*columns, pa.array(reasons, pa.string())], schema=schema_of(labels))


def write_part(path: str, labels: Sequence[str], batches: Iterable[pa.RecordBatch]) -> None:
    """Batches to a file in Arrow's own format, whole or not at all."""
    with create_file(path) as file, pa.ipc.new_stream(file, schema_of(labels)) as stream:
        for batch in batches:
            stream.write_batch(batch)


def join_parts(
    paths: Iterable[str], claim: Claim, output: str, labels: Sequence[str], escape_formulas: bool = False
) -> tuple[int, Counter[str]]:
    """The files of `write_part`, one after the other, to one file of the format that its name tells.

    `claim` is that of the output. Holds a batch at a time. Returns the number of its rows, and of those
    without a label by reason.
    """
    write = writer_for(output, escape_formulas)
    rows, reasons = 0, Counter[str]()

    def batches() -> Iterable[pa.RecordBatch]:
        nonlocal rows
        for path in paths:
            with open_file(path) as file, pa.ipc.open_stream(file) as stream:
                for batch in stream:
                    rows += batch.num_rows
                    reasons.update(batch[REASON].drop_null().to_pylist())
                    yield batch

    with claim.create_file(output) as file:
        write(file, labels, batches())
    return rows, reasons


def writer_for(
    output: str, escape_formulas: bool = False
) -> Callable[[BinaryIO, Sequence[str], Iterable[pa.RecordBatch]], None]:
    """What writes the format that a name tells. Raises InputError where it tells none, or has no formulas."""
    is_csv = output.lower().endswith(".csv")
    if escape_formulas and not is_csv:
        raise InputError(
            f"escape_formulas is for CSV, and output is {output}", way_out="leave it out, or write to a .csv file"
        )
    if is_csv:
        return partial(_write_csv, escape_formulas=escape_formulas)
    for suffix, write in ((".jsonl", _write_jsonl), (".parquet", _write_parquet)):
        if output.lower().endswith(suffix):
            return write
    raise InputError(
        f"output {output} does not tell its format", way_out="give a name that ends in .csv, .jsonl or .parquet"
    )


def escape_formula(value: str | None) -> str | None:
    """A value that a spreadsheet would compute -> the same behind an apostrophe, so that it is shown as it is.

    Source: OWASP's page on CSV injection. Whole numbers are no formulas.

    >>> [escape_formula(value) for value in ("=1+1", "-1", "-1+1", "pos", None)]
    ["'=1+1", '-1', "'-1+1", 'pos', None]
    """
    if not value or not value.startswith(("=", "+", "-", "@", "\t", "\r")) or re.fullmatch(r"[+-]?[0-9]+", value):
        return value
    return f"'{value}"


def _write_csv(file: BinaryIO, labels: Sequence[str], batches: Iterable[pa.RecordBatch], escape_formulas: bool) -> None:
    text = io.TextIOWrapper(file, encoding="utf-8", newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(schema_of(labels).names)
    for batch in batches:
        columns = [_printed(column) for column in batch.columns]
        if escape_formulas:
            columns[0], columns[-1] = ([escape_formula(value) for value in columns[i]] for i in (0, -1))
        writer.writerows(zip(*columns))
    text.detach()


def _printed(column: pa.Array) -> list[Any]:
    """A column as Python's csv takes it: a float32 with as many digits as tell it from others."""
    printed: list[Any] = column.cast(pa.string()).to_pylist()
    return printed


def _write_jsonl(file: BinaryIO, labels: Sequence[str], batches: Iterable[pa.RecordBatch]) -> None:
    for batch in batches:
        names, *probabilities, reasons = batch.columns
        values = np.stack([column.to_numpy(zero_copy_only=False) for column in probabilities], axis=1)
        for name, row, reason in zip(names.to_pylist(), values, reasons.to_pylist()):
            record: dict[str, Any] = {LABEL: name, "probabilities": dict(zip(labels, row))}
            if reason is not None:
                record = {LABEL: None, "probabilities": None, REASON: reason}
            file.write(orjson.dumps(record, option=orjson.OPT_SERIALIZE_NUMPY | orjson.OPT_APPEND_NEWLINE))


def _write_parquet(file: BinaryIO, labels: Sequence[str], batches: Iterable[pa.RecordBatch]) -> None:
    with pq.ParquetWriter(file, schema_of(labels)) as writer:
        for batch in batches:
            writer.write_batch(batch)
