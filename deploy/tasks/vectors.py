"""Files of vectors, written as they are made: Parquet, or npy with a file of ids beside it."""

import json
import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, BinaryIO, Protocol

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from maskmill.deploy.tasks.embed import NPY
from maskmill.deploy.tasks.texts import NamedText
from maskmill.pipeline.storage.storage import Claim

if TYPE_CHECKING:
    from maskmill.model.tasks.embed import Embedding


class VectorWriter(Protocol):
    """Takes texts with their embeddings, some at a time."""

    def write(self, texts: Sequence[NamedText], embeddings: "Sequence[Embedding]") -> None:
        """Writes a row for each text."""


def paths_of(output: str) -> list[str]:
    """The files that are written: the output and, beside `vectors.npy`, `vectors.ids.jsonl`."""
    stem, suffix = os.path.splitext(output)
    return [output, f"{stem}.ids.jsonl"] if suffix == NPY else [output]


@contextmanager
def create_vectors(
    claim: Claim, output: str, width: int, dtype: str, with_text: bool, tokens: Sequence[str] | None = None
) -> Iterator[VectorWriter]:
    """A file of vectors to be written, which appears when it is whole, and not at all after an error.

    `claim` is that of `paths_of(output)`. `tokens` are those of the vocabulary where each token of a text has a vector,
    which only Parquet can hold.
    """
    if not output.endswith(NPY):
        with claim.create_file(output) as file, _parquet_writer(file, width, dtype, with_text, tokens) as parquet:
            yield parquet
        return
    path, ids_path = paths_of(output)
    with (
        claim.create_file(path) as file,
        claim.create_file(ids_path) as ids_file,
        _seekable(file) as vectors_file,
    ):
        npy = _NpyWriter(vectors_file, ids_file, width, dtype, with_text)
        yield npy
        npy.finish()


@contextmanager
def _parquet_writer(
    file: BinaryIO, width: int, dtype: str, with_text: bool, tokens: Sequence[str] | None
) -> "Iterator[_ParquetWriter]":
    writer = _ParquetWriter(file, width, dtype, with_text, tokens)
    try:
        yield writer
    except BaseException:
        with suppress(OSError):  # it writes its end, for which there may be no room; the file does not stay
            writer.table.close()
        raise
    writer.table.close()


class _ParquetWriter:
    """Columns id, text where asked for, and vector; or tokens and vectors. A row group for each writing."""

    def __init__(self, file: BinaryIO, width: int, dtype: str, with_text: bool, tokens: Sequence[str] | None):
        self.vocab = None if tokens is None else np.array(tokens, object)
        self.with_text = with_text
        self.vector = pa.list_(pa.from_numpy_dtype(np.dtype(dtype)), width)
        fields = [("id", pa.string()), *([("text", pa.string())] if with_text else [])]
        if tokens is None:
            fields.append(("vector", self.vector))
        else:
            fields += [("tokens", pa.list_(pa.string())), ("vectors", pa.list_(self.vector))]
        self.schema = pa.schema(fields)
        # No two vectors are equal, so a dictionary of their values would only take time.
        self.table = pq.ParquetWriter(file, self.schema, use_dictionary=False, compression="zstd")

    def write(self, texts: Sequence[NamedText], embeddings: "Sequence[Embedding]") -> None:
        # An id may be a path that is no UTF-8.
        columns = [pa.array([one.id.encode(errors="backslashreplace").decode() for one in texts])]
        if self.with_text:
            columns.append(pa.array([one.text for one in texts]))
        if self.vocab is None:
            columns.append(self._vectors([embedding.vector[None] for embedding in embeddings]))
        else:
            token_ids = [embedding.token_ids for embedding in embeddings]
            offsets = pa.array(np.cumsum([0, *map(len, token_ids)]), pa.int32())
            tokens = pa.array(self.vocab[np.concatenate(token_ids)], pa.string())
            vectors = self._vectors([embedding.vector for embedding in embeddings])
            columns += [pa.ListArray.from_arrays(offsets, tokens), pa.ListArray.from_arrays(offsets, vectors)]
        self.table.write_table(pa.table(columns, schema=self.schema))

    def _vectors(self, matrices: Sequence[NDArray[np.floating]]) -> pa.Array:
        return pa.FixedSizeListArray.from_arrays(pa.array(np.concatenate(matrices).ravel()), type=self.vector)


class _NpyWriter:
    """One matrix; and its ids, with the texts where asked for, as JSON lines."""

    def __init__(self, file: BinaryIO, ids_file: BinaryIO, width: int, dtype: str, with_text: bool):
        self.file, self.ids_file = file, ids_file
        self.width, self.dtype, self.with_text = width, np.dtype(dtype), with_text
        self.rows = 0
        self._write_header()

    def write(self, texts: Sequence[NamedText], embeddings: "Sequence[Embedding]") -> None:
        self.file.write(np.stack([embedding.vector for embedding in embeddings]).tobytes())
        for id, text in texts:
            row = {"id": id, "text": text} if self.with_text else {"id": id}
            self.ids_file.write(f"{json.dumps(row, ensure_ascii=False)}\n".encode(errors="backslashreplace"))
        self.rows += len(texts)

    def finish(self) -> None:
        """Writes the number of rows, for which numpy's header has room."""
        self.file.seek(0)
        self._write_header()

    def _write_header(self) -> None:
        descr = np.lib.format.dtype_to_descr(self.dtype)
        header = {"descr": descr, "fortran_order": False, "shape": (self.rows, self.width)}
        np.lib.format.write_array_header_1_0(self.file, header)


@contextmanager
def _seekable(file: BinaryIO) -> Iterator[BinaryIO]:
    """The file itself; or, where it is in Cloud Storage, one of this machine that is sent at the end."""
    if file.seekable():
        yield file
        return
    with tempfile.TemporaryFile() as here:
        yield here
        here.seek(0)
        shutil.copyfileobj(here, file)
