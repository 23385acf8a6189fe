"""Objects of Cloud Storage are read as files are, over HTTP from an emulator."""

import gzip
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from command import SMALL, assert_refused, maskmill
from gcp_storage_emulator.server import create_server
from google.cloud.storage import Client

from pipeline import storage
from pipeline.documents import ReadOptions
from pipeline.files import list_files, list_parts
from pipeline.reading import read_documents
from pipeline.schema import DatasetInfo
from tokenizer.errors import InputError


@pytest.fixture(scope="module")
def emulator() -> Iterator[str]:
    server = create_server("127.0.0.1", 0, in_memory=True)
    server.start()
    yield "http://{}:{}".format(*server._api._httpd.server_address)
    server.stop()


@pytest.fixture
def bucket(emulator, monkeypatch):
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", emulator)
    storage._client.cache_clear()
    storage._sizes.clear()
    client = Client()
    bucket = client.bucket("corpora")
    if not bucket.exists():
        bucket = client.create_bucket("corpora")
    for blob in bucket.list_blobs():
        blob.delete()
    yield bucket
    storage._client.cache_clear()


def put(bucket, name, data):
    bucket.blob(name).upload_from_string(data)


def test_folders_and_patterns_name_objects(bucket):
    for name in ("a.txt", "b/c.txt", "b/d/e.jsonl", "b/.hidden", "bc.txt"):
        put(bucket, name, b"x")

    def named(*inputs):
        return [path.removeprefix("gs://corpora/") for path in list_files(inputs)]

    assert named("gs://corpora") == named("gs://corpora/") == ["a.txt", "b/c.txt", "b/d/e.jsonl", "bc.txt"]
    assert named("gs://corpora/b") == named("gs://corpora/b/") == ["b/c.txt", "b/d/e.jsonl"]
    assert named("gs://corpora/*.txt") == ["a.txt", "bc.txt"]
    assert named("gs://corpora/**/*.txt", "gs://corpora/a.txt") == ["a.txt", "b/c.txt", "bc.txt"]
    assert named("gs://corpora/b/?.txt") == ["b/c.txt"]
    with pytest.raises(InputError, match=r"gs://corpora/nothing names no file"):
        list_files(["gs://corpora/nothing"])
    with pytest.raises(InputError, match=r"gs://no-such-bucket/x is not there \(or its bucket\)"):
        list_files(["gs://no-such-bucket/x"])
    with pytest.raises(InputError, match="s3://a/b is neither on this machine nor in Cloud Storage"):
        list_files(["s3://a/b"])


def test_objects_of_every_kind_are_read_in_parts(bucket, monkeypatch):
    monkeypatch.setattr(storage, "CHUNK_BYTES", 1 << 18)
    texts = [f"text number {number} " * 50 for number in range(2000)]
    lines = b"".join(json.dumps({"text": text}).encode() + b"\n" for text in texts)
    table = pa.BufferOutputStream()
    pq.write_table(pa.table({"text": texts}), table, row_group_size=100)
    put(bucket, "in/a.jsonl", lines)
    put(bucket, "in/b.jsonl.gz", gzip.compress(lines))
    put(bucket, "in/c.parquet", table.getvalue().to_pybytes())
    put(bucket, "in/d.txt", "\n\n".join(texts))
    parts = list(list_parts(["gs://corpora/in"], 400_000))
    assert len(parts) > 8
    found = [document.text.strip() for part in parts for document in read_documents(part, ReadOptions())]
    assert sorted(found) == sorted(text.strip() for text in texts * 4)


@pytest.mark.parametrize("num_workers", [1, 2])
def test_generate_reads_objects_as_it_reads_files(tmp_path, bucket, corpus_file, small_vocab_file, num_workers):
    put(bucket, "corpus/a.txt", corpus_file.read_bytes())
    arguments = ["--vocab-file", small_vocab_file, "--num-workers", num_workers, *SMALL]
    for name, where in (("local", corpus_file), ("remote", "gs://corpora/corpus")):
        result = maskmill("generate", where, *arguments, "--output", tmp_path / name)
        assert result.returncode == 0, result.stderr
    manifests = [(tmp_path / name / "dataset_info.json").read_bytes() for name in ("local", "remote")]
    assert manifests[0] == manifests[1]
    DatasetInfo.load(tmp_path / "remote").check_files(tmp_path / "remote")


@pytest.mark.parametrize(
    ("status", "sentence"),
    [(403, "cannot be read with the credentials found here"), (404, "is not there"), (400, "cannot be read")],
)
def test_a_refusal_of_the_service_is_one_sentence(tmp_path, monkeypatch, small_vocab_file, status, sentence):
    class Refuse(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_error(status)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Refuse)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", f"http://127.0.0.1:{server.server_port}")
    try:
        result = maskmill("generate", "gs://b/x.txt", "--vocab-file", small_vocab_file, "--output", tmp_path / "out")
    finally:
        server.shutdown()
    assert_refused(result, "gs://b/x.txt", sentence)
