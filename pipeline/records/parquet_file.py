"""Instances as Parquet: a column for each feature, which datasets, DuckDB and pyarrow read without maskmill."""

import hashlib
import io
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, BinaryIO

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import DTypeLike, NDArray

from maskmill.pipeline.dataset.config import Compression
from maskmill.pipeline.dataset.schema import Feature
from maskmill.pipeline.records.decoding import Array, Arrays, dtype_of
from maskmill.pipeline.records.tfrecord import WrittenFile
from maskmill.pipeline.storage.storage import AnyPath, create_file, open_file
from maskmill.tokenizer.errors import InputError, first_line

Columns = Mapping[str, NDArray[Any]]  # by the name of the feature, [rows, its length], of any dtype that holds them

ROWS_OF_GROUP = 8192  # 7 MB of 128 tokens, uncompressed
# The smallest types that hold the values; others are int32, and float32 where the feature is.
_DTYPES: dict[str, DTypeLike] = {
    "input_mask": np.int8, "segment_ids": np.int8, "next_sentence_labels": np.int8, "masked_lm_positions": np.int16,
}  # fmt: skip


def schema_of(features: Iterable[Feature]) -> pa.Schema:
    """The columns: lists of a fixed size, and a plain number where a feature has one value. None is ever null."""

    def type_of(feature: Feature) -> pa.DataType:
        number = pa.from_numpy_dtype(_dtype_of(feature))
        return number if feature.length == 1 else pa.list_(pa.field("element", number, False), feature.length)

    return pa.schema([pa.field(feature.name, type_of(feature), False) for feature in features])


def write_parquet(
    path: AnyPath, batches: Iterable[Columns], features: Sequence[Feature], compression: Compression = "none"
) -> WrittenFile:
    """Writes batches of instances to a file that appears under its name only when it is whole.

    The bytes are a function of the instances, of `compression` and of the version of pyarrow.
    """
    schema = schema_of(features)
    records = 0
    with create_file(path) as file:
        hashed = _Hashed(file)
        with pq.ParquetWriter(hashed, schema, compression=compression, use_dictionary=True) as writer:
            for group in _groups(batches):
                columns = [_column(group[one.name], one, schema.field(one.name).type) for one in features]
                writer.write_table(pa.Table.from_arrays(columns, schema=schema), ROWS_OF_GROUP)
                records += len(columns[0])
    return WrittenFile(records, hashed.size, hashed.checksum.hexdigest())


def read_parquet(
    path: AnyPath, features: Sequence[Feature], rows: int = ROWS_OF_GROUP, version: str | None = None
) -> Iterator[Arrays]:
    """The instances of a file, some rows at a time, as `ExampleDecoder` gives them: int32 and float32 [rows, length].

    Raises InputError when it is not Parquet, is damaged, or has not these columns.
    """
    schema = schema_of(features)
    way_out = "restore it, or generate the dataset again with --overwrite"
    with open_file(path, version) as file:
        try:
            parquet = pq.ParquetFile(file)
            if not parquet.schema_arrow.equals(schema):
                raise InputError(
                    "has other columns than the manifest says", expected=f"{schema}".replace("\n", ", "), path=path
                )
            for batch in parquet.iter_batches(rows):
                yield {feature.name: _array(batch.column(feature.name), feature) for feature in features}
        except (pa.ArrowException, OSError) as error:
            raise InputError(f"is damaged ({first_line(error)})", way_out=way_out, path=path) from error


def _groups(batches: Iterable[Columns]) -> Iterator[Columns]:
    """Batches of any size as larger ones, of the rows of a row group."""
    waiting: list[Columns] = []
    rows = 0
    for batch in batches:
        waiting.append(batch)
        rows += len(batch["input_ids"])
        while rows >= ROWS_OF_GROUP:
            whole = _join(waiting)
            yield {name: values[:ROWS_OF_GROUP] for name, values in whole.items()}
            waiting = [{name: values[ROWS_OF_GROUP:] for name, values in whole.items()}]
            rows -= ROWS_OF_GROUP
    if rows:
        yield _join(waiting)


def _join(batches: list[Columns]) -> Columns:
    return {name: np.concatenate([batch[name] for batch in batches]) for name in batches[0]}


def _dtype_of(feature: Feature) -> DTypeLike:
    return _DTYPES.get(feature.name, dtype_of(feature))


def _column(values: NDArray[Any], feature: Feature, kind: pa.DataType) -> pa.Array:
    flat = pa.array(np.ascontiguousarray(values, _dtype_of(feature)).reshape(-1))
    return flat if feature.length == 1 else pa.FixedSizeListArray.from_arrays(flat, type=kind)


def _array(column: pa.Array, feature: Feature) -> Array:
    flat = column.flatten() if feature.length > 1 else column
    values: Array = flat.to_numpy(zero_copy_only=False).astype(dtype_of(feature), copy=False)
    return values.reshape(-1, feature.length)


class _Hashed(io.RawIOBase):
    """A file that is written to, with the checksum of what was written."""

    def __init__(self, file: BinaryIO):
        self.file = file
        self.checksum = hashlib.sha256()
        self.size = 0

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        self.file.write(data)
        self.checksum.update(data)
        self.size += len(data)
        return len(data)

    def tell(self) -> int:
        return self.size
