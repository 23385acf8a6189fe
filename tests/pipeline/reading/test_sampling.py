"""A sample of the documents: even, bounded, the same each time, and honest about what it does not know."""

import bz2
import gzip
import json
import random
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from maskmill.pipeline.reading import sampling
from maskmill.pipeline.reading.documents import ReadOptions
from maskmill.pipeline.reading.sampling import Sample, plan_windows, read_sample


@pytest.fixture(autouse=True)
def small_windows(monkeypatch):
    """As for a corpus a thousand times as large."""
    monkeypatch.setattr(sampling, "SAMPLE_BYTES", 64_000)
    monkeypatch.setattr(sampling, "MAX_TEXT_BYTES", 64_000)
    monkeypatch.setattr(sampling, "KEPT_CHARACTERS", 5_000)
    monkeypatch.setattr(sampling, "BLOCK_BYTES", 256)


def texts(count: int, longest: int) -> list[str]:
    rng = random.Random(count)
    return [f"document {number} " + "word " * rng.randint(1, longest) for number in range(count)]


def lines_of(documents: list[str]) -> bytes:
    return b"".join(json.dumps({"text": text}).encode() + b"\n" for text in documents)


def sample(*paths: Path) -> Sample:
    return read_sample([str(path) for path in paths], ReadOptions())


def test_a_small_corpus_is_read_whole(tmp_path):
    (tmp_path / "a.jsonl").write_bytes(lines_of(texts(30, 20)))
    (tmp_path / "b.jsonl.gz").write_bytes(gzip.compress(lines_of(texts(40, 20))))
    (tmp_path / "empty.txt").write_bytes(b"")
    found = sample(*sorted(tmp_path.iterdir()))
    assert (found.share, found.all_documents, found.margin_of("documents")) == (1.0, 70, 0.0)
    assert len(found.documents) == 70


def test_a_large_file_is_sampled_to_its_end_and_the_margin_holds(tmp_path):
    short, long = texts(8_000, 10), texts(1_000, 400)  # long documents stand in the middle
    path = tmp_path / "a.jsonl"
    path.write_bytes(lines_of([*short[:4_000], *long, *short[4_000:]]))
    found = sample(path)
    assert found.share < 0.1
    margin = found.margin_of("documents")
    assert margin is not None
    assert 0 < margin < 0.5
    assert abs(found.all_documents - 9_000) < 2 * margin * 9_000
    places = {document.text.split()[1] for document in found.documents}
    assert {len(place) for place in places} >= {3, 4}
    assert sample(path).documents == found.documents


def test_many_files_of_any_size_are_sampled_evenly(tmp_path):
    rng, paths, documents = random.Random(0), [], 0
    for number in range(3_000):
        count = int(rng.lognormvariate(1, 1)) + 1
        documents += count
        paths.append(tmp_path / f"{number:04}.txt")
        paths[-1].write_text("\n\n".join(texts(count, 30)))
    found = sample(*paths)
    assert found.all_documents == pytest.approx(documents, rel=0.1)
    opened = {piece.path for piece in plan_windows([str(path) for path in paths], [p.stat().st_size for p in paths])}
    assert 64 <= len(opened) < 1_100


@pytest.mark.parametrize("compress", [gzip.compress, bz2.compress])
def test_the_beginning_of_a_compressed_file_tells_of_all_of_it(tmp_path, compress):
    rng = random.Random(0)
    documents = [" ".join(f"{rng.getrandbits(40):x}" for _ in range(rng.randint(1, 60))) for _ in range(8_000)]
    (tmp_path / "a.jsonl.x").write_bytes(compress(lines_of(documents)))
    found = sample(tmp_path / "a.jsonl.x")
    assert found.share < 0.7
    assert found.all_documents == pytest.approx(8_000, rel=0.15)
    assert found.margin_of("documents") is None, "what was not read may be anything"


def test_row_groups_all_through_a_parquet_file_are_sampled(tmp_path):
    table = pa.table({"text": [f"{number} {number * 7919 % 100_003}" for number in range(20_000)]})
    pq.write_table(table, tmp_path / "a.parquet", row_group_size=500)
    found = sample(tmp_path / "a.parquet")
    assert found.share < 0.9
    assert found.all_documents == pytest.approx(20_000, rel=0.05)
    assert max(int(document.text.split()[0]) for document in found.documents) > 18_000


def test_one_document_that_fills_a_file_is_read_once_at_most(tmp_path):
    (tmp_path / "a.txt").write_text("one line of it\n" * 50_000)
    found = sample(tmp_path / "a.txt")
    assert found.read_documents == 0
    (tmp_path / "b.txt").write_text("a document\n\n" * 30_000 + "one line of it\n" * 50_000)
    assert sample(tmp_path / "b.txt").all_documents == pytest.approx(30_000, rel=0.05)


def test_what_cannot_be_used_is_counted_by_reason(tmp_path):
    (tmp_path / "a.jsonl").write_text('{"text": "a"}\n{"body": "b"}\nnonsense\n')
    assert sample(tmp_path / "a.jsonl").rejected == {"no field 'text'": 1, "malformed JSON": 1}
