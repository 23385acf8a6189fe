"""Parquet: columns of a table, a few rows of a row group at a time."""

import io
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, BinaryIO

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from maskmill.pipeline.reading.compression import tells_of_data
from maskmill.pipeline.reading.documents import clip
from maskmill.pipeline.reading.files import BLOCK_BYTES, FilePart
from maskmill.tokenizer.errors import DamagedError, InputError

ROWS_PER_BATCH, BATCH_BYTES = 256, 1 << 24
MAX_TABLE_BYTES = 2_000_000_000  # of a Parquet file that is compressed as a whole, which is read into memory
MOST_NAMES = 20  # of columns, in an error


class ParquetTable:
    """A part of a Parquet file: some of its row groups."""

    def __init__(self, file: BinaryIO, part: FilePart):
        """Raises InputError for one too large within another compression, and Arrow's errors where it is damaged."""
        self.file = pq.ParquetFile(file if file.seekable() else _read_whole(file, part.path))
        self.part = part
        end = self.file.num_row_groups if part.end is None else min(part.end, self.file.num_row_groups)
        self.groups = list(range(part.start, end))

    @property
    def rows_before(self) -> int:
        """The rows of the file that stand before the part."""
        return sum(self.file.metadata.row_group(group).num_rows for group in range(self.part.start))

    @property
    def columns(self) -> str:
        """The names of the columns in words, with the types of those that are no text."""
        schema = self.file.schema_arrow
        return list_names([f"{field.name}{'' if is_text(field.type) else f' ({field.type})'}" for field in schema])

    def type_of(self, name: str) -> pa.DataType:
        """The type of a column, or of a field of one: see `field_of`. Raises InputError unless there is one such."""
        schema = self.file.schema_arrow
        times = schema.names.count(name)
        kind = schema.field(name).type if times == 1 else None if times else _type_within(schema, name)
        if kind is None:
            what = "several columns" if times else "no column"
            raise InputError(f"has {what} {name}", way_out=f"it has {self.columns}", path=self.part.path)
        return kind

    def wrong_type(self, name: str, expected: str) -> InputError:
        """What to raise where a column holds something else than what is expected."""
        return InputError(
            f"{self.part.path}: column {name} is {self.type_of(name)}", expected=f"{expected}, it has {self.columns}"
        )

    def batches(self, names: Sequence[str]) -> Iterator[list[pa.Array]]:
        """The columns of these names, some rows at a time: as many as are of a moderate size together, on average."""
        chosen = [self.file.metadata.row_group(group) for group in self.groups]
        rows = sum(int(group.num_rows) for group in chosen)
        size = sum(int(group.total_byte_size) for group in chosen)
        at_a_time = min(ROWS_PER_BATCH, max(1, BATCH_BYTES * rows // max(1, size)))
        for batch in self.file.iter_batches(at_a_time, row_groups=self.groups, columns=list(names)):
            yield [_column_of(batch, name) for name in names]


@contextmanager
def damage_of_data() -> Iterator[None]:
    """Within it, a table is read. Raises DamagedError for what Arrow raises of damaged data."""
    try:
        yield
    except MemoryError:  # of Arrow, too
        raise
    except (pa.ArrowException, UnicodeDecodeError) as error:
        raise DamagedError(str(error)) from error
    except OSError as error:
        if tells_of_data(error):
            raise DamagedError(str(error)) from error
        raise


def list_names(names: Sequence[str]) -> str:
    """The names of columns, in words.

    >>> list_names(["text", "label"]), list_names([])
    ('text, label', 'nothing')
    """
    more = f" and {len(names) - MOST_NAMES:,} more" if len(names) > MOST_NAMES else ""
    return (", ".join(map(clip, names[:MOST_NAMES])) or "nothing") + more


def is_text(kind: pa.DataType) -> bool:
    """Whether a column holds strings."""
    if pa.types.is_dictionary(kind):
        return is_text(kind.value_type)
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind))


def decode_strings(column: pa.Array) -> list[str | None]:
    """A column as strings; what is not UTF-8, which not every writer checks, as lone surrogates."""
    values: list[bytes | None] = column.cast(pa.large_string()).view(pa.large_binary()).to_pylist()
    return [None if value is None else value.decode(errors="surrogateescape") for value in values]


def _read_whole(file: BinaryIO, path: str) -> io.BytesIO:
    data = io.BytesIO()
    while block := file.read(BLOCK_BYTES):
        if data.tell() + len(block) > MAX_TABLE_BYTES:
            raise InputError(
                f"is Parquet within another compression and has more than {MAX_TABLE_BYTES:,} bytes without it",
                way_out="unpack it first",
                path=path,
            )
        data.write(block)
    return data


def _type_within(schema: pa.Schema, name: str) -> Any:
    """The type of a field of a column; None where there is none."""
    first, *rest = name.split(".")
    if first not in schema.names:
        return None
    kind = schema.field(first).type
    for part in rest:
        if not pa.types.is_struct(kind) or kind.get_field_index(part) < 0:
            return None
        kind = kind.field(part).type
    return kind


def _column_of(batch: pa.RecordBatch, name: str) -> pa.Array:
    """A column, or a field of one: see `field_of`."""
    if name in batch.schema.names:
        return batch.column(name)
    first, *rest = name.split(".")
    column = batch.column(first)
    for part in rest:
        column = pc.struct_field(column, part)
    return column
