"""Whatever happens to a file: documents, or one sentence; and what was not touched is still there.

`make fuzz` runs many more cases than the tests do: MASKMILL_FUZZ_CASES says how many for each format.
"""

import bz2
import gzip
import io
import json
import lzma
import os
import random
from collections import Counter

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from maskmill.pipeline.reading.documents import Document, ReadOptions, Rejected
from maskmill.pipeline.reading.files import list_parts
from maskmill.pipeline.reading.parts import read_documents
from maskmill.pipeline.reading.sentences import split_sentences
from maskmill.tokenizer.errors import InputError

CASES = int(os.environ.get("MASKMILL_FUZZ_CASES", "300"))
WORDS = ["one", "zwei", "trois", "четыре", "五", "\u3000", "&", "<b>", '"', "\\", "\U0001f600", "e\u0301", "."]


def make_texts(rng: random.Random) -> list[str]:
    return [f"document {n} " + " ".join(rng.choices(WORDS, k=rng.randint(1, 30))) for n in range(rng.randint(2, 12))]


def as_text(texts):
    return "\n\n".join(texts).encode()


def as_jsonl(texts):
    return "".join(json.dumps({"text": text}) + "\n" for text in texts).encode()


def as_wiki(texts):
    return "".join(f'<doc id="{n}" title="t">\nt\n\n{text}\n</doc>\n' for n, text in enumerate(texts)).encode()


def as_parquet(texts):
    file = io.BytesIO()
    pq.write_table(pa.table({"text": texts}), file, row_group_size=3)
    return file.getvalue()


FORMATS = {
    "a.txt": as_text,
    "a.jsonl": as_jsonl,
    "wiki_00": as_wiki,
    "a.parquet": as_parquet,
    "a.txt.gz": lambda texts: gzip.compress(as_text(texts)),
    "a.jsonl.bz2": lambda texts: bz2.compress(as_jsonl(texts)),
    "a.jsonl.zst": lambda texts: pa.compress(as_jsonl(texts), "zstd", asbytes=True),
    "wiki.xz": lambda texts: lzma.compress(as_wiki(texts)),
}
PLAIN = {"a.txt": b"\n\n", "a.jsonl": b"\n", "wiki_00": b"</doc>\n"}  # with what ends a document


def damage(data: bytes, rng: random.Random) -> bytes:
    """Cuts off, overwrites, inserts or removes some bytes."""
    start = rng.randrange(len(data) + 1)
    length = rng.choice([1, 1, 2, 10, 100])
    match rng.randrange(5):
        case 0:
            return data[:start]
        case 1:
            return data[:start] + rng.randbytes(length) + data[start + length :]
        case 2:
            return data[:start] + rng.randbytes(length) + data[start:]
        case 3:
            return data[:start] + data[start + length :]
        case _:
            return rng.randbytes(length)


def read(path, part_bytes: int, input_format: str = "auto") -> list[Document | Rejected] | None:
    """The documents, or None where a sentence says why there are none."""
    options = ReadOptions(input_format, language="auto")
    try:
        found = [document for part in list_parts([str(path)], part_bytes) for document in read_documents(part, options)]
        for document in found:
            if isinstance(document, Document):
                assert split_sentences(document, options)
    except InputError as error:
        is_sentence = str(path) in str(error) and "\n" not in str(error)
        if not is_sentence:
            raise
        return None
    return found


@pytest.mark.parametrize("name", FORMATS)
def test_a_damaged_file_gives_documents_or_one_sentence(tmp_path, name):
    rng = random.Random(name)
    outcomes: Counter[str] = Counter()
    for _ in range(CASES):
        (tmp_path / name).write_bytes(damage(FORMATS[name](make_texts(rng)), rng))
        found = read(tmp_path / name, rng.choice([20, 100, 10_000]))
        outcomes["refused" if found is None else "read"] += 1
    assert outcomes["read"]
    assert outcomes["refused"] or name in PLAIN


@pytest.mark.parametrize("name", PLAIN)
def test_documents_that_were_not_touched_are_read(tmp_path, name):
    rng = random.Random(name)
    for _ in range(CASES):
        texts = make_texts(rng)
        data = FORMATS[name](texts)
        start = rng.randrange(1, len(data))
        noise = rng.randbytes(rng.randint(1, 20)).replace(b"\n", b"?")
        (tmp_path / name).write_bytes(data[:start] + noise + data[start + len(noise) :])
        input_format = "wiki" if name == "wiki_00" else "auto"  # which its first bytes would tell
        found = read(tmp_path / name, rng.choice([20, 100, 10_000]), input_format)
        read_texts = {document.text.strip() for document in found or [] if isinstance(document, Document)}
        # What the noise lies in, and what comes after it where it took away the end of a document.
        first = data[:start].count(PLAIN[name])
        last = data[: start + len(noise)].count(PLAIN[name]) + 1
        if found is not None:
            lost = [n for n, text in enumerate(texts) if text.strip() not in read_texts]
            assert all(first - 1 <= n <= last for n in lost), (lost, first, last)
