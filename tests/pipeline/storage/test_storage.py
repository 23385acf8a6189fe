"""Objects of Cloud Storage are read and written as files are, over HTTP from an emulator."""

import gzip
import itertools
import json
import random
import socket
from collections.abc import Iterator
from urllib.parse import parse_qs, urlsplit

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from cloud import Handler, emulator, faulty_network, serve, service_account
from command import SMALL, assert_refused, maskmill
from google.cloud.storage import Client

from maskmill.pipeline.dataset.dataset import Dataset
from maskmill.pipeline.reading.documents import ReadOptions
from maskmill.pipeline.reading.files import list_files, list_parts
from maskmill.pipeline.reading.parts import read_documents
from maskmill.pipeline.storage import cloud_storage, storage
from maskmill.pipeline.storage.store import CLOUD
from maskmill.tokenizer.errors import InputError


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    with emulator() as url:
        yield url


@pytest.fixture
def bucket(server, monkeypatch):
    """An empty bucket, which the environment leads to."""
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", server)
    forget_client()
    client = Client()
    bucket = client.bucket("corpora")
    if not bucket.exists():
        bucket = client.create_bucket("corpora")
    for blob in bucket.list_blobs():
        blob.delete()
    yield bucket
    forget_client()


def forget_client() -> None:
    CLOUD.forget()


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
    monkeypatch.setattr(cloud_storage, "CHUNK_BYTES", 1 << 18)
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
    Dataset.open(tmp_path / "remote").check_files()


@pytest.mark.parametrize(
    ("status", "sentence"),
    [(403, "cannot be read with the credentials found here"), (404, "is not there"), (400, "cannot be read")],
)
def test_a_refusal_of_the_service_is_one_sentence(tmp_path, monkeypatch, small_vocab_file, status, sentence):
    class Refuse(Handler):
        def do_GET(self) -> None:
            self.send_error(status)

    with serve(Refuse) as url:
        monkeypatch.setenv("STORAGE_EMULATOR_HOST", url)
        result = maskmill("generate", "gs://b/x.txt", "--vocab-file", small_vocab_file, "--output", tmp_path / "out")
    assert_refused(result, "gs://b/x.txt", sentence)


@pytest.fixture(params=["here", "in Cloud Storage"])
def folder(request, tmp_path):
    if request.param == "here":
        return str(tmp_path)
    request.getfixturevalue("bucket")
    return "gs://corpora/folder"


def test_a_file_appears_whole_or_not_at_all(folder):
    with storage.create_file(f"{folder}/whole") as file:
        for _ in range(3):
            file.write(b"abc")

    def write_half() -> None:
        with storage.create_file(f"{folder}/broken off") as file:
            file.write(b"abc")
            raise KeyError

    with pytest.raises(KeyError):
        write_half()
    assert storage.list_names(folder) == ["whole"]
    assert storage.read_bytes(f"{folder}/whole") == b"abc" * 3
    assert (storage.exists(f"{folder}/whole"), storage.exists(f"{folder}/broken off")) == (True, False)


def test_files_are_listed_replaced_and_removed(folder):
    storage.check_writable(f"{folder}/new")
    storage.make_folder(f"{folder}/new/below")
    assert storage.list_names(f"{folder}/new") == []
    for name in ("a", ".b", "below/c"):
        storage.write_text(f"{folder}/new/{name}", name)
    assert storage.list_names(f"{folder}/new") == [".b", "a"]
    assert storage.size_of(f"{folder}/new/a") == 1
    storage.write_text(f"{folder}/new/a", "replaced")
    assert storage.size_of(f"{folder}/new/a") == 8
    storage.remove_files(f"{folder}/new", ["a", "never there"])
    assert storage.list_names(f"{folder}/new") == [".b"]
    storage.remove_folder(f"{folder}/new")
    assert storage.list_names(f"{folder}/new") == []
    assert storage.list_names(f"{folder}/never there") == []


def test_a_file_that_changed_since_it_was_listed_is_refused(folder):
    storage.write_text(f"{folder}/a.txt", "one document")
    [part] = list_parts([f"{folder}/a.txt"])
    storage.write_text(f"{folder}/a.txt", "one document\n\nand more")
    with pytest.raises(InputError, match="changed while it was read"):
        list(read_documents(part, ReadOptions()))


def test_an_object_that_changes_while_it_is_read_is_refused(bucket, server, monkeypatch):
    monkeypatch.setattr(cloud_storage, "CHUNK_BYTES", 1 << 18)
    with faulty_network(server, lambda *_: None) as (url, _):
        monkeypatch.setenv("STORAGE_EMULATOR_HOST", url)
        forget_client()
        put(bucket, "a", b"x" * 600_000)

        def read() -> None:
            with storage.open_file("gs://corpora/a") as file:
                file.read(10)
                put(bucket, "a", b"y" * 700_000)
                file.read()

        with pytest.raises(InputError, match="gs://corpora/a changed while it was read"):
            read()


@pytest.mark.parametrize("seed", range(2))
def test_a_network_that_fails_now_and_then_loses_and_doubles_nothing(bucket, server, monkeypatch, seed):
    monkeypatch.setattr(cloud_storage, "CHUNK_BYTES", 1 << 18)
    rng = random.Random(seed)
    kinds = itertools.cycle(["429", "lost", "503", "half", "reset"])

    def fault(method: str, path: str, number: int) -> str | None:
        kind = next(kinds) if rng.random() < 0.25 else None
        return "lost" if kind == "half" and "alt=media" not in path else kind

    written = {f"{number}": rng.randbytes(number * 150_000) for number in range(6)}
    with faulty_network(server, fault) as (url, faults):
        monkeypatch.setenv("STORAGE_EMULATOR_HOST", url)
        forget_client()
        for name, data in written.items():
            with storage.create_file(f"gs://corpora/a/{name}") as file:
                for start in range(0, len(data), 100_000):
                    file.write(data[start : start + 100_000])
            storage.write_bytes(f"gs://corpora/a/small {name}", data[:100])
        for name, data in written.items():
            assert storage.read_bytes(f"gs://corpora/a/{name}") == data
            assert storage.read_bytes(f"gs://corpora/a/small {name}") == data[:100]
        assert storage.list_names("gs://corpora/a") == sorted([*written, *(f"small {name}" for name in written)])
        storage.remove_folder("gs://corpora/a")
        assert storage.list_names("gs://corpora/a") == []
    assert len({fault.split()[0] for fault in faults}) >= 4


def test_without_credentials_a_sentence_comes_soon(tmp_path, monkeypatch, small_vocab_file):
    for name in ("STORAGE_EMULATOR_HOST", "GOOGLE_APPLICATION_CREDENTIALS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("CLOUDSDK_CONFIG", str(tmp_path))
    with socket.create_server(("127.0.0.1", 0)) as silent:  # as a machine of Google's that takes 3 s to say nothing
        address = f"127.0.0.1:{silent.getsockname()[1]}"
        monkeypatch.setenv("GCE_METADATA_IP", address)
        monkeypatch.setenv("GCE_METADATA_HOST", address)
        result = maskmill("generate", "gs://b/x.txt", "--vocab-file", small_vocab_file, "--output", tmp_path / "out")
        assert_refused(result, "gs://b/x.txt cannot be read with the credentials found here", "gcloud auth")
        silent.setblocking(False)
        silent.accept()[0].close()
        with pytest.raises(BlockingIOError):  # it was asked once, not three times
            silent.accept()


def test_wrong_credentials_are_one_sentence(tmp_path, monkeypatch, small_vocab_file):
    class Refuse(Handler):
        def do_POST(self) -> None:
            self.reply(400, b'{"error": "invalid_grant", "error_description": "Invalid JWT Signature."}')

    with serve(Refuse) as url:
        (tmp_path / "key.json").write_text(json.dumps(service_account(f"{url}/token")))
        monkeypatch.delenv("STORAGE_EMULATOR_HOST", raising=False)
        monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(tmp_path / "key.json"))
        result = maskmill("generate", "gs://b/x.txt", "--vocab-file", small_vocab_file, "--output", tmp_path / "out")
    assert_refused(result, "gs://b/x.txt cannot be read with the credentials found here", "invalid_grant")
    assert "PRIVATE KEY" not in result.stdout + result.stderr


def test_thousands_of_shards_are_listed_in_a_few_requests(monkeypatch):
    names = [f"shards/instances-{number:05d}-of-05000.tfrecord" for number in range(5000)]
    requests = []

    class Bucket(Handler):
        def do_GET(self) -> None:
            requests.append(self.path)
            start = int(parse_qs(urlsplit(self.path).query).get("pageToken", ["0"])[0])
            page = {"items": [{"name": name, "size": "7", "generation": "1"} for name in names[start : start + 1000]]}
            if start + 1000 < len(names):
                page["nextPageToken"] = str(start + 1000)
            self.reply(200, json.dumps(page).encode())

    with serve(Bucket) as url:
        monkeypatch.setenv("STORAGE_EMULATOR_HOST", url)
        forget_client()
        assert len(storage.list_names("gs://b/shards")) == 5000
        assert sum(storage.size_of(f"gs://b/{name}") for name in names) == 7 * 5000
        forget_client()
    assert len([path for path in requests if path.startswith("/storage/v1/b/b/o?")]) == 5
    assert len(requests) <= 6  # the client of Google's may ask for the bucket


def test_patterns_mean_there_what_they_mean_here(bucket, tmp_path):
    names = ["a.txt", "b.txt", "file[1].txt", "file1.txt", ".hidden.txt", "d/e.txt", "d/.f/g.txt", "d-e.txt"]
    for name in names:
        put(bucket, f"odd/{name}", b"x")
        (tmp_path / name).parent.mkdir(exist_ok=True, parents=True)
        (tmp_path / name).write_text("x")
    for pattern in ("*.txt", "[!a]*.txt", "[a-b].txt", "file[1].txt", "file[[]1].txt", "**/*.txt", "d?e.txt", ".*.txt"):
        here = [path.removeprefix(f"{tmp_path}/") for path in list_files([f"{tmp_path}/{pattern}"])]
        assert [path.removeprefix("gs://corpora/odd/") for path in list_files([f"gs://corpora/odd/{pattern}"])] == here
    with pytest.raises(InputError, match="names no file"):
        list_files(["gs://corpora/odd/file[2"])


def test_a_vocabulary_that_was_replaced_is_found_there_too(bucket, tmp_path, corpus_file, small_vocab_file):
    put(bucket, "in/a.txt", corpus_file.read_bytes())
    arguments = ["--vocab-file", small_vocab_file, *SMALL, "--output", "gs://corpora/out"]
    assert maskmill("generate", "gs://corpora/in", *arguments).returncode == 0
    Dataset.open("gs://corpora/out").check_files()
    put(bucket, "out/vocab.txt", small_vocab_file.read_bytes()[::-1])
    with pytest.raises(InputError, match=r"vocab.txt has sha256"):
        Dataset.open("gs://corpora/out").check_files()
