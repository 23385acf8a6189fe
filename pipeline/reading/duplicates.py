"""Documents that have the id of another: one of them is kept, whoever reads them and in whatever order."""

import hashlib
from collections.abc import Container

import numpy as np

from maskmill.pipeline.reading.documents import content_of, digest_of

KEY_BYTES = 16


def key_of(id: str, text: str) -> bytes:
    """What a document is told by: half of it the digest of its id, half that of its content."""
    return hashlib.blake2b(id.encode(errors="surrogatepass"), digest_size=8).digest() + digest_of(content_of(text))[:8]


def find_duplicates(keys: bytes) -> Container[bytes]:
    """The keys of all documents, one after the other -> those to reject.

    Of the documents with one id those with the smallest digest are kept. Copies of the same content stay: they are
    duplicate documents, which have a rule of their own.
    """
    rows = np.unique(np.frombuffer(keys, f"V{KEY_BYTES}"))
    ids = rows.view(np.uint8).reshape(-1, KEY_BYTES)[:, : KEY_BYTES // 2]
    is_repeated = np.zeros(len(rows), bool)
    is_repeated[1:] = (ids[1:] == ids[:-1]).all(axis=1)
    return frozenset(rows[is_repeated].tolist())
