"""Documents that have the id of another: one of them is kept, whoever reads them and in whatever order.

Of the documents with one id those with the smallest digest are kept. Copies of the same content stay: they are
duplicate documents, which have a rule of their own.
"""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import NDArray

from maskmill.pipeline.reading.documents import Document, Rejected, clip, content_of, digest_of
from maskmill.pipeline.reading.files import FilePart

HASH_BYTES = 8
REPEATED = "another document has its id"  # why a document is rejected


@dataclass(frozen=True)
class MeasuredDocument:
    """What is counted of a document, and where it is: to be taken back, and listed, if it is rejected later."""

    part: FilePart
    place: int  # in the part
    excerpt: str
    repairs: Sequence[str]
    size: int  # bytes of its content
    fingerprint: int  # see `fingerprint_of`

    @classmethod
    def of(cls, document: Document, part: FilePart) -> "MeasuredDocument":
        """Measures a document of a part."""
        size, excerpt = len(content_of(document.text)), clip(document.text)
        return cls(part, document.place, excerpt, document.repairs, size, fingerprint_of(document))

    def to_json(self) -> bytes:
        """As bytes that `from_json` reads."""
        return json.dumps(asdict(self)).encode()

    @classmethod
    def from_json(cls, data: bytes) -> "MeasuredDocument":
        """A document that `to_json` wrote."""
        values = json.loads(data)
        return cls(**{**values, "part": FilePart(**values["part"])})

    def as_rejected(self) -> Rejected:
        """The document as one that is rejected."""
        return Rejected(self.place, REPEATED, self.excerpt)


def fingerprint_of(document: Document) -> int:
    """Of what the sentences of a document depend on. Four bytes, because Beam adds up in eight."""
    return int.from_bytes(digest_of(f"{document.lines_are_sentences} {document.text.strip()}".encode())[:4])


def hash_id(id: str) -> int:
    """What an id is told by: 63 bits, which Beam encodes as a number."""
    return int.from_bytes(hashlib.blake2b(id.encode(errors="surrogatepass"), digest_size=HASH_BYTES).digest()) >> 1


def hash_content(digest: bytes) -> int:
    """What a content is told by where ids are compared: the beginning of its digest."""
    return int.from_bytes(digest[:HASH_BYTES])


def find_repeated(id_hashes: NDArray[np.uint64], content_hashes: NDArray[np.uint64]) -> NDArray[np.bool_]:
    """Which documents are rejected, of all those that have one of these ids; both arrays are [documents]."""
    order = np.lexsort((content_hashes, id_hashes))
    ids, contents = id_hashes[order], content_hashes[order]
    firsts = np.flatnonzero(np.concatenate([[True], ids[1:] != ids[:-1]]))[: len(ids)]
    kept = np.repeat(contents[firsts], np.diff(np.append(firsts, len(ids))))
    found = np.zeros(len(ids), bool)
    found[order] = contents != kept
    return found
