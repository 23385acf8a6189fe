"""Files of packed pools: the arrays of a `PackedPool` in the safetensors format, which any library for it reads."""

import hashlib

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load, save

from maskmill.pipeline.instances.packed import PackedPool
from maskmill.pipeline.reading.documents import DIGEST_BYTES
from maskmill.pipeline.records.tfrecord import WrittenFile
from maskmill.pipeline.storage.storage import AnyPath, create_file, open_file
from maskmill.tokenizer.errors import InputError

FORMAT = {"format": "maskmill packed pool 1"}
_MOST_UINT16 = 1 << 16


def write_pool(path: AnyPath, pool: PackedPool, examples: int) -> WrittenFile:
    """Writes a pool to a file that appears under its name only when it is whole.

    `examples` is the number of those in copy 0. The bytes are a function of the pool. Lengths of sentences are uint16
    where all of them fit.
    """
    longest = int(pool.sentence_lengths.max(initial=0))
    data = save(
        {
            "ids": pool.ids,
            "sentence_lengths": pool.sentence_lengths.astype(np.uint16 if longest < _MOST_UINT16 else np.uint32),
            "document_lengths": pool.document_lengths,
            "digests": pool.digests,
            **({} if pool.copies is None else {"copies": pool.copies}),
        },
        FORMAT,
    )
    with create_file(path) as file:
        file.write(data)
    return WrittenFile(examples, len(data), hashlib.sha256(data).hexdigest())


def read_pool(path: AnyPath, sha256: str, version: str | None = None) -> PackedPool:
    """The pool in a file. Raises InputError when its content is not the one that the checksum is of."""
    with open_file(path, version) as file:
        data = file.read()
    way_out = "restore it, or generate the dataset again with --overwrite"
    if hashlib.sha256(data).hexdigest() != sha256:
        raise InputError("is not the file that the manifest names (its SHA-256 differs)", way_out=way_out, path=path)
    try:
        arrays = load(data)
        pool = PackedPool(
            ids=arrays["ids"],
            sentence_lengths=arrays["sentence_lengths"].astype(np.uint32),
            document_lengths=arrays["document_lengths"],
            digests=arrays["digests"],
            copies=arrays.get("copies"),
        )
    except (SafetensorError, KeyError) as error:
        raise InputError(f"is not a file of a packed pool ({error})", way_out=way_out, path=path) from error
    if problem := find_problem(pool):
        raise InputError(f"is damaged: {problem}", way_out=way_out, path=path)
    return pool


def find_problem(pool: PackedPool) -> str | None:
    """What of a pool does not fit together; None where all of it does."""
    kinds = {"ids": (np.uint16, np.uint32), "document_lengths": (np.uint32,), "digests": (np.uint8,)}
    for name, dtypes in kinds.items():
        if getattr(pool, name).dtype not in dtypes:
            return f"{name} has the type {getattr(pool, name).dtype}"
    if pool.copies is not None and (pool.copies.dtype != np.uint32 or len(pool.copies) != len(pool)):
        return f"it has {len(pool):,} documents, and copies of {len(pool.copies):,}, of type {pool.copies.dtype}"
    if pool.digests.shape != (len(pool), DIGEST_BYTES):
        return f"it has {len(pool):,} documents and digests of the shape {pool.digests.shape}"
    if int(pool.document_lengths.sum(dtype=np.int64)) != len(pool.sentence_lengths):
        return "the lengths of its documents do not add up to its sentences"
    if int(pool.sentence_lengths.sum(dtype=np.int64)) != len(pool.ids):
        return "the lengths of its sentences do not add up to its tokens"
    if len(pool.sentence_lengths) and not pool.sentence_lengths.all():
        return "it has a sentence without a token"
    return None
