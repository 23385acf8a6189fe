"""What doctor finds before a run costs anything; Google is an emulator and a fake service on loopback."""

import importlib.metadata
import json
import os
import socket
import sys
import time
from collections import namedtuple
from collections.abc import Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler
from importlib.metadata import PackageNotFoundError
from typing import Any, ClassVar

import pytest
from click.testing import CliRunner
from cloud import emulator, serve
from command import SMALL, maskmill, run
from fake_dataflow import TOKEN, FakeDataflow
from google.api_core.exceptions import Forbidden
from google.auth.credentials import CredentialsWithRegionalAccessBoundary
from google.cloud.storage import Bucket, Client

from deploy import source_package
from deploy.cli import main
from deploy.doctor import data as checks_data
from deploy.doctor import engine as checks_engine
from deploy.doctor import installation as checks_installation
from deploy.doctor.buckets import holds
from deploy.doctor.engine import list_flink_versions
from pipeline import cloud_storage
from pipeline.unfinished import Unfinished

Found = dict[str, tuple[str, str, str]]  # check -> state, what was found, remedy


def examine(*arguments: object, exit_code: int = 0) -> Found:
    """The findings by check. The exit code says whether something is wrong."""
    at = arguments.index("--") if "--" in arguments else len(arguments)
    command = ["doctor", *arguments[:at], "--json", *arguments[at:]]
    result = CliRunner().invoke(main, list(map(str, command)))
    assert "Traceback" not in result.output, result.output
    assert result.exit_code == exit_code, result.output
    findings = json.loads(result.stdout)
    assert exit_code == any(finding["state"] == "wrong" for finding in findings), findings
    return {finding["check"]: (finding["state"], finding["found"], finding["remedy"]) for finding in findings}


def states(found: Found) -> set[str]:
    return {state for state, _, _ in found.values()}


@dataclass(frozen=True)
class Google:
    """What of Google is on loopback."""

    service: FakeDataflow
    bucket: Bucket
    key: str  # the private one


@pytest.fixture(scope="module")
def servers() -> Iterator[tuple[str, FakeDataflow]]:
    with emulator() as url, FakeDataflow() as service:
        yield url, service


@pytest.fixture
def google(servers, tmp_path, monkeypatch) -> Iterator[Google]:
    """With one empty bucket, and credentials in the environment."""
    url, service = servers
    monkeypatch.setattr(service, "refusal", None)
    file = service.credentials(tmp_path / "key.json")
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", url)
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(file))
    # Else google-auth asks the real Google in the background where the account may be used.
    is_required = "_is_regional_access_boundary_lookup_required"
    monkeypatch.setattr(CredentialsWithRegionalAccessBoundary, is_required, lambda _: False)
    cloud_storage._client.cache_clear()
    cloud_storage._listed.clear()
    bucket = Client(project="my-project").create_bucket("the-bucket")
    yield Google(service, bucket, json.loads(file.read_text())["private_key"])
    bucket.delete_blobs(list(bucket.list_blobs()))
    bucket.delete()
    cloud_storage._client.cache_clear()
    cloud_storage._listed.clear()


def move(bucket: Bucket, location: str) -> None:
    """Tells the emulator where a bucket is."""
    bucket._patch_property("location", location)
    bucket.patch()


def on_dataflow(
    google: Google, *arguments: object, region: str = "us-central1", bucket: str = "the-bucket"
) -> list[object]:
    where = ["--project", "my-project", "--region", region, "--temp-location", f"gs://{bucket}/tmp"]
    return ["--runner", "dataflow", *where, *arguments, "--", f"--dataflow_endpoint={google.service.url}"]


@pytest.fixture
def files(google, corpus_file, small_vocab_file) -> list[object]:
    """Arguments of a run that is all right, in the bucket."""
    google.bucket.blob("corpus/a.txt").upload_from_filename(corpus_file)
    google.bucket.blob("vocab.txt").upload_from_filename(small_vocab_file)
    return ["gs://the-bucket/corpus", "--vocab-file", "gs://the-bucket/vocab.txt", "--output", "gs://the-bucket/out"]


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("localhost", 0))
        return int(listener.getsockname()[1])


def test_this_installation_is_ok():
    result = maskmill("doctor")
    assert result.returncode == 0, result.stderr
    assert "Traceback" not in result.stderr
    assert result.stdout.strip().splitlines()[-1].endswith(" ok, 0 warnings, 0 wrong")
    found = examine()
    assert states(found) == {"ok"}
    assert {check for check in found if not check.startswith("extra ")} == {"python", "packages", "machine"}
    assert f"apache-beam {importlib.metadata.version('apache-beam')}" in found["packages"][1]


def test_a_table_tells_what_is_wrong_and_what_helps(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = CliRunner(env={"COLUMNS": "200"}).invoke(main, ["doctor", "nowhere"])
    assert result.exit_code == 1
    (line,) = [line for line in result.output.splitlines() if "names no file" in line]
    assert " wrong " in line
    assert "give a file, a folder, or a pattern" in result.output
    assert result.output.strip().splitlines()[-1].endswith(" ok, 0 warnings, 1 wrong")


def test_a_package_that_is_too_old_is_wrong(monkeypatch):
    version = importlib.metadata.version
    monkeypatch.setattr(importlib.metadata, "version", lambda name: "1.26.4" if name == "numpy" else version(name))
    state, what, remedy = examine(exit_code=1)["package numpy"]
    assert (state, what, remedy) == ("wrong", "1.26.4 is installed; maskmill needs >=2", "pip install 'numpy>=2'")


@pytest.mark.parametrize(
    ("missing", "check", "finding"),
    [
        ("isal", "package isal", ("wrong", "is not installed", "pip install 'isal>=1.7'")),
        ("google-cloud-pubsub", "package apache-beam", ("wrong", "is installed without [gcp]: google-cloud-pubsub")),
        ("jax", "extra jax", ("ok", "not installed: jax", "if wanted, in maskmill's folder run: pip install '.[jax]'")),
        ("maskmill", "packages", ("wrong", "maskmill is not installed", "in maskmill's folder run: pip install .")),
    ],
)
def test_a_package_that_is_not_there_is_named(monkeypatch, missing, check, finding):
    of_name = importlib.metadata.Distribution.from_name

    def find(name: str) -> Any:
        if name == missing:
            raise PackageNotFoundError(name)
        return of_name(name)

    monkeypatch.setattr(importlib.metadata.Distribution, "from_name", find)
    found = examine(exit_code=finding[0] == "wrong")[check]
    for part, expected in zip(found, finding):
        assert expected in part


def test_without_what_makes_tables_plain_lines_are_printed(monkeypatch):
    monkeypatch.setitem(sys.modules, "rich.table", None)
    result = CliRunner().invoke(main, ["doctor", "nowhere"])
    assert result.exit_code == 1
    assert "input nowhere: wrong: INPUT nowhere names no file: give a file, a folder, or" in result.output
    assert result.output.strip().splitlines()[-1].endswith(" ok, 0 warnings, 1 wrong")


def test_another_python_than_maskmill_needs_is_wrong(monkeypatch):
    monkeypatch.setattr("platform.python_version", lambda: "3.9.18")
    state, what, remedy = examine(exit_code=1)["python"]
    assert (state, what) == ("wrong", "3.9.18; maskmill needs >=3.11")
    assert "virtual environment" in remedy


def test_a_small_machine_is_a_warning(monkeypatch):
    monkeypatch.setattr(checks_installation, "machine_memory", lambda: 400_000_000)
    assert examine()["machine"][0] == "warning"


def test_a_check_that_fails_itself_hides_no_other(monkeypatch, corpus_file):
    monkeypatch.setattr(checks_installation, "machine_memory", lambda: 1 / 0)
    found = examine(corpus_file, exit_code=1)
    assert found["machine"][:2] == ("wrong", "this check failed itself: ZeroDivisionError: division by zero")
    assert found["sample"][0] == "ok"


def test_a_run_that_is_all_right_is_ok_and_leaves_nothing_behind(tmp_path, corpus_file, small_vocab_file):
    before = sorted(corpus_file.parent.rglob("*"))
    output = tmp_path / "a" / "shards"
    found = examine(corpus_file, "--vocab-file", small_vocab_file, "--output", output)
    assert states(found) == {"ok"}
    assert found[f"input {corpus_file}"][1] == f"1 file, {corpus_file.stat().st_size:,} bytes"
    assert found["sample"][1] == "40 of 40 documents can be used, in all of the input"
    assert found["vocabulary"][1] == "36 tokens, without capitals"
    assert found["[UNK]"][1].startswith("0.00% of ")
    assert " with generate's defaults" in found["room"][1]
    assert list(tmp_path.iterdir()) == []
    assert sorted(corpus_file.parent.rglob("*")) == before


@pytest.mark.parametrize(
    ("content", "sentence", "remedy"),
    [
        ("[PAD]\n[UNK]\n[CLS]\n[SEP]\nthe\n", "has no [MASK]", "train a vocabulary with 'maskmill vocab'"),
        ('{"model": {}}', "is JSON", "give the vocab.txt that belongs to it"),
        (None, "cannot be read (No such file or directory)", "train a vocabulary with 'maskmill vocab'"),
    ],
)
def test_a_wrong_vocabulary_is_wrong(tmp_path, corpus_file, content, sentence, remedy):
    if content is not None:
        (tmp_path / "v.txt").write_text(content)
    found = examine(corpus_file, "--vocab-file", tmp_path / "v.txt", "--output", tmp_path / "out", exit_code=1)
    assert found["vocabulary"][0] == "wrong"
    assert sentence in found["vocabulary"][1]
    assert remedy in found["vocabulary"][2]
    assert found["output"][0] == "ok"  # the checks after it are made, too
    assert not {"[UNK]", "room"} & set(found)  # what cannot be checked without it is left out


def test_a_vocabulary_of_another_text_is_a_warning(tmp_path, small_vocab_file):
    (tmp_path / "corpus.txt").write_text("many words unheard of\n\nthe dog ate quinces\n")
    state, what, remedy = examine(tmp_path / "corpus.txt", "--vocab-file", small_vocab_file)["[UNK]"]
    assert state == "warning"
    assert what.endswith("% of 8 tokens of the sample")
    assert "train one on it with 'maskmill vocab'" in remedy


def test_a_vocabulary_that_does_not_fit_cased_is_a_warning(tmp_path, small_vocab_file):
    capitals = tmp_path / "v.txt"
    capitals.write_text(small_vocab_file.read_text() + "London\n")
    assert "give --cased" in examine("--vocab-file", capitals)["vocabulary"][2]
    assert "leave --cased out" in examine("--vocab-file", small_vocab_file, "--cased")["vocabulary"][2]
    assert examine("--vocab-file", capitals, "--cased")["vocabulary"][0] == "ok"


def test_inputs_that_hold_nothing_are_wrong_each_by_itself(tmp_path, corpus_file):
    (tmp_path / "empty.txt").touch()
    (tmp_path / "link.txt").symlink_to(tmp_path / "gone")
    found = examine(tmp_path / "no" / "*.txt", tmp_path / "empty.txt", tmp_path, corpus_file, exit_code=1)
    assert "names no file" in found[f"input {tmp_path / 'no' / '*.txt'}"][1]
    assert found[f"input {tmp_path / 'empty.txt'}"][:2] == ("wrong", "1 file, 0 bytes: nothing is in it")
    assert "link.txt cannot be read" in found[f"input {tmp_path}"][1]
    assert found[f"input {corpus_file}"][0] == "ok"
    assert found["sample"][0] == "ok"


@pytest.mark.parametrize(
    ("content", "sentence", "remedy"),
    [
        (
            b'{"body": "x"}\n{"body": "y"}\n',
            "0 of 2 documents can be used, in all of the input: 2 no field 'text'",
            "--text-",
        ),
        (b'{"text": "x"}\n{"text": "y"}\n{broken', "2 of 3 documents can be used", "fails where more than 1%"),
        (b"one line\nof one document\n", "1 of 1 document can be used", "give two documents or more"),
        (b"%PDF-1.7 and so on", "is no text (it begins like a binary file)", "convert it"),
        (b"\x1f\x8b\x08\x00\x00\x00", "is cut off or damaged near byte 6 of 6", "copy or download it again"),
    ],
)
def test_documents_that_cannot_be_used_are_wrong(tmp_path, content, sentence, remedy):
    (tmp_path / "input").write_bytes(content)
    state, *told = examine(tmp_path / "input", exit_code=1)["sample"]
    assert state == "wrong"
    assert sentence in told[0]
    assert remedy in " ".join(told)


def test_text_in_another_field_is_read_when_it_is_named(tmp_path):
    (tmp_path / "input").write_text('{"body": "x"}\n{"body": "y"}\n')
    assert examine(tmp_path / "input", "--text-field", "body")["sample"][0] == "ok"


def test_an_output_that_holds_something_is_a_warning(tmp_path, corpus_file, small_vocab_file):
    output = tmp_path / "out"
    run("generate", corpus_file, "--vocab-file", small_vocab_file, "--output", output, *SMALL)
    before = {path: path.stat().st_mtime_ns for path in [output, *output.rglob("*")]}
    state, what, remedy = examine("--output", output)["output"]
    assert (state, what) == ("warning", f"{output} holds a dataset")
    assert "--overwrite" in remedy
    assert {path: path.stat().st_mtime_ns for path in [output, *output.rglob("*")]} == before
    Unfinished(str(tmp_path / "begun")).start({})
    assert examine("--output", tmp_path / "begun")["output"][1].endswith("holds an unfinished run")


def test_an_output_that_cannot_be_written_is_wrong(tmp_path, corpus_file):
    (tmp_path / "file").touch()
    found = examine(corpus_file, "--output", tmp_path / "file" / "out", exit_code=1)
    assert "cannot be written to" in found["output"][1]
    found = examine(corpus_file, "--output", corpus_file.parent / "out")  # beside the only file, which is named
    assert found["output"][0] == "ok"
    found = examine(corpus_file.parent, "--output", corpus_file.parent / "out", exit_code=1)
    assert "would be read as text" in found[f"place of {corpus_file.parent / 'out'}"][1]


def test_a_disk_without_room_is_a_warning(tmp_path, corpus_file, small_vocab_file, monkeypatch):
    usage = namedtuple("usage", ["free"])
    monkeypatch.setattr(checks_data.shutil, "disk_usage", lambda _: usage(100))
    found = examine(corpus_file, "--vocab-file", small_vocab_file, "--output", tmp_path / "out")
    assert found["room"][0] == "warning"
    assert "--dupe-factor" in found["room"][2]


def test_options_without_their_runner_are_wrong_usage():
    for arguments in (["--project", "my-project"], ["--", "--dataflow_endpoint=x"], ["--runner", "spark"]):
        result = CliRunner().invoke(main, ["doctor", *arguments])
        assert result.exit_code == 2, result.output


class Flink(BaseHTTPRequestHandler):
    """The beginning of Flink's REST interface."""

    overview: ClassVar[dict[str, Any]] = {}

    def do_GET(self) -> None:
        data = json.dumps(self.overview if self.path == "/overview" else {}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: object) -> None:
        pass


@pytest.mark.parametrize(
    ("overview", "check", "finding"),
    [
        ({"slots-total": 4, "slots-available": 3}, "flink", ("ok", "3 of 4 slots free")),
        ({"slots-total": 4, "slots-available": 0}, "flink", ("warning", "0 of 4 slots free")),
        ({"slots-total": 0, "slots-available": 0}, "flink", ("wrong", "0 of 0 slots free")),
        (
            {"slots-total": 4, "slots-available": 4, "flink-version": "1.9.3"},
            "flink version",
            ("wrong", "1.9; this Beam"),
        ),
        ({"flink-version": None}, "flink", ("wrong", "answers, but not as Flink does")),
    ],
)
def test_a_flink_cluster_tells_its_version_and_its_room(monkeypatch, overview, check, finding):
    told = {"flink-version": f"{list_flink_versions()[-1]}.1", **overview}
    monkeypatch.setattr(Flink, "overview", {name: value for name, value in told.items() if value is not None})
    with serve(Flink) as url:
        master = url.removeprefix("http://")
        wrong = finding[0] == "wrong"
        found = examine_flink(monkeypatch, "--flink-master", master, "--", LOOPBACK, exit_code=int(wrong))
    assert found[check][0] == finding[0]
    assert finding[1] in found[check][1]
    assert master in found["flink"][1]


LOOPBACK = "--environment_type=LOOPBACK"


def examine_flink(monkeypatch, *arguments: object, exit_code: int = 0) -> Found:
    """On a machine that has Java."""
    monkeypatch.delenv("JAVA_HOME", raising=False)
    monkeypatch.setattr(checks_installation.shutil, "which", lambda _: "/usr/bin/java")
    ran = namedtuple("ran", ["returncode", "stdout", "stderr"])
    monkeypatch.setattr(checks_installation.subprocess, "run", lambda *_, **__: ran(0, "", 'openjdk version "17.0.9"'))
    found = examine("--runner", "flink", *arguments, exit_code=exit_code)
    assert found["java"][:2] == ("ok", "17.0.9 (java)")
    return found


def test_the_version_of_flink_that_is_asked_for_is_the_cluster_s(monkeypatch):
    older, *_, newest = list_flink_versions()
    monkeypatch.setattr(Flink, "overview", {"flink-version": f"{older}.1", "slots-total": 1, "slots-available": 1})
    with serve(Flink) as url:
        options = ["--flink-master", url, "--", LOOPBACK]
        found = examine_flink(monkeypatch, *options, exit_code=1)
        assert found["flink version"][1] == f"the cluster is {older}, Beam's job server is for {newest}"
        found = examine_flink(monkeypatch, *options, f"--flink_version={older}")
        assert "flink version" not in found


def test_a_cluster_that_takes_a_request_and_says_nothing_is_not_waited_for(monkeypatch):
    monkeypatch.setattr(checks_engine, "SECONDS", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        master = f"127.0.0.1:{listener.getsockname()[1]}"
        found = examine_flink(monkeypatch, "--flink-master", master, "--", LOOPBACK, exit_code=1)
    assert "answers, but not as Flink does" in found["flink"][1]


def test_without_java_no_job_server_for_flink_is_started(monkeypatch, tmp_path):
    monkeypatch.setenv("JAVA_HOME", str(tmp_path))
    found = examine("--runner", "flink", "--flink-master", f"localhost:{free_port()}", exit_code=1)
    assert found["java"][0] == "wrong"
    assert found["flink"][0] == "wrong"
    assert "does not answer (Connection refused)" in found["flink"][1]


def test_a_job_server_that_does_not_answer_is_wrong(tmp_path, corpus_file):
    endpoint = f"localhost:{free_port()}"
    found = examine(corpus_file, "--runner", "portable", "--job-endpoint", endpoint, exit_code=1)
    assert found["job server"][:2] == ("wrong", f"{endpoint} does not answer (Connection refused)")
    assert found["shared files"][0] == "warning"
    assert "workers in containers see no folder of their machine" in found["shared files"][1]
    assert found["code of the workers"][0] == "ok"
    assert found["sample"][0] == "ok"


def test_a_job_server_that_answers_is_ok(corpus_file):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        endpoint = f"127.0.0.1:{listener.getsockname()[1]}"
        found = examine(corpus_file, "--runner", "portable", "--job-endpoint", endpoint, "--", LOOPBACK)
    assert found["job server"] == ("ok", f"{endpoint} answers", "")
    assert states(found) == {"ok"}


@pytest.mark.parametrize("options", [[], ["--job-endpoint", "localhost"], ["--job-endpoint", "localhost:many"]])
def test_an_engine_without_an_address_is_wrong(options):
    found = examine("--runner", "portable", *options, exit_code=1)
    (finding,) = [finding for finding in found.values() if finding[0] == "wrong"]
    assert "--job-endpoint HOST:PORT" in finding[2]


def test_a_run_on_dataflow_that_is_all_right_is_ok(google, files):
    found = examine(*on_dataflow(google, *files))
    assert states(found) == {"ok"}
    assert found["credentials"][1] == "service account launcher@no-such-project.iam.gserviceaccount.com"
    assert (
        found["bucket gs://the-bucket"][1]
        == "of --temp-location, INPUT, --vocab-file, --output: in US, with us-central1"
    )
    assert found["dataflow"][1] == f"{google.service.url} answers for project my-project, region us-central1"
    assert found["input gs://the-bucket/corpus"][1].startswith("1 file, ")
    assert "setup.py" in found["code of the workers"][1]
    method, path, _ = google.service.requests[-1]
    assert (method, path.partition("?")[0]) == ("GET", "/v1b3/projects/my-project/locations/us-central1/jobs")


def test_doctor_tells_no_secret_and_leaves_nothing_in_a_bucket(google, files):
    before = [blob.name for blob in google.bucket.list_blobs()]
    told = json.dumps(examine(*on_dataflow(google, *files)))
    assert [blob.name for blob in google.bucket.list_blobs()] == before
    for secret in (TOKEN, google.key, json.dumps(google.key)[1:-1], os.environ["GOOGLE_APPLICATION_CREDENTIALS"]):
        assert secret not in told


def test_a_bucket_that_is_not_there_is_wrong(google, files):
    arguments = on_dataflow(google, "gs://no-such-bucket/corpus", *files[1:], bucket="another-bucket")
    found = examine(*arguments, exit_code=1)
    state, what, remedy = found["bucket gs://another-bucket"]
    assert (state, what) == ("wrong", "of --temp-location: is not there")
    assert remedy.endswith(
        "gcloud storage buckets create gs://another-bucket --location us-central1 --project my-project"
    )
    assert found["bucket gs://no-such-bucket"][1] == "of INPUT: is not there"
    assert found["vocabulary"][0] == found["output"][0] == "ok"
    assert not {"--temp-location", "sample", "input gs://no-such-bucket/corpus"} & set(found)


@pytest.mark.parametrize(
    ("location", "remedy"),
    [("EUROPE-WEST4", "give --region europe-west4, or take a bucket"), ("EU", "give a region in EU, or take a bucket")],
)
def test_a_bucket_in_another_region_is_a_warning(google, files, location, remedy):
    move(google.bucket, location)
    state, what, told = examine(*on_dataflow(google, *files))["bucket gs://the-bucket"]
    assert state == "warning"
    assert f"in {location}, the job in us-central1; what crosses regions is slower" in what
    assert told.startswith(remedy)


@pytest.mark.parametrize(
    ("location", "parts", "region", "is_held"),
    [
        ("US-CENTRAL1", [], "us-central1", True),
        ("US-CENTRAL1", [], "us-central2", False),
        ("US", [], "us-west4", True),
        ("US", [], "northamerica-northeast1", False),
        ("EU", [], "europe-west4", True),
        ("EU", [], "europe-west10", True),
        ("EU", [], "europe-west2", False),
        ("EU", [], "europe-west6", False),
        ("ASIA", [], "asia-south1", True),
        ("NAM4", [], "us-east1", True),
        ("NAM4", [], "us-east4", False),
        ("US", ["US-EAST1", "US-WEST1"], "us-west1", True),
        ("US", ["US-EAST1", "US-WEST1"], "us-central1", False),
        ("SOMEWHERE", [], "us-central1", False),
    ],
)
def test_a_location_holds_the_regions_that_are_in_it(location, parts, region, is_held):
    assert holds(location, parts, region) == is_held


def test_no_credentials_are_found_out_quickly(google, files, tmp_path, monkeypatch):
    started = time.monotonic()
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(tmp_path / "no.json"))
    found = examine(*on_dataflow(google, *files), exit_code=1)
    assert found["credentials"][0] == "wrong"
    assert "gcloud auth application-default login" in found["credentials"][2]
    assert not {"dataflow", "bucket gs://the-bucket", "vocabulary", "output"} & set(found)  # nothing to ask them with
    monkeypatch.delenv("GOOGLE_APPLICATION_CREDENTIALS")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("CLOUDSDK_CONFIG", str(tmp_path))
    monkeypatch.setenv("GCE_METADATA_HOST", f"127.0.0.1:{free_port()}")
    monkeypatch.setenv("GCE_METADATA_IP", f"127.0.0.1:{free_port()}")
    found = examine(*on_dataflow(google, *files), exit_code=1)
    assert found["credentials"][0] == "wrong"
    assert time.monotonic() - started < 15


@pytest.mark.parametrize(
    ("status", "sentence", "remedy"),
    [
        (
            403,
            "Dataflow API has not been used in project 1 before",
            "gcloud services enable dataflow.googleapis.com --pro",
        ),
        (403, "The caller does not have permission", "you need roles/dataflow.developer in project my-project"),
        (404, "Requested entity was not found", "check --project and --region"),
        (503, "The service is unavailable", "try again later"),
    ],
)
def test_a_service_that_refuses_is_wrong(google, files, monkeypatch, status, sentence, remedy):
    monkeypatch.setattr(google.service, "refusal", (status, sentence))
    found = examine(*on_dataflow(google, *files), exit_code=1)
    assert found["dataflow"][0] == "wrong"
    assert f"({status} {sentence})" in found["dataflow"][1]
    assert found["dataflow"][2].startswith(remedy)
    assert found["output"][0] == "ok"


def test_a_service_that_is_not_there_is_wrong(google, files):
    *arguments, _ = on_dataflow(google, *files)
    found = examine(*arguments, f"--dataflow_endpoint=http://localhost:{free_port()}", exit_code=1)
    assert "does not answer (ConnectionError" in found["dataflow"][1]


def test_options_that_cannot_be_right_are_wrong(google):
    found = examine(*on_dataflow(google, region="us-central1-a"), exit_code=1)
    assert found["options"][1] == "region us-central1-a is a zone"
    assert "dataflow" not in found
    found = examine("--runner", "dataflow", "--project", "my-project", exit_code=1)
    assert found["options"][1] == "--runner dataflow needs --region, --temp-location"
    assert found["credentials"][0] == "ok"


def test_files_of_this_machine_are_wrong_on_dataflow(google, tmp_path, corpus_file):
    found = examine(*on_dataflow(google, corpus_file, "--output", tmp_path / "out"), exit_code=1)
    assert found[f"input {corpus_file}"][0] == found["output"][0] == "wrong"
    assert "gcloud storage cp -r" in found[f"input {corpus_file}"][2]
    assert found["sample"][0] == "ok"


def test_a_bucket_that_may_not_be_looked_at_is_wrong_for_temporary_files_alone(google, files, monkeypatch):
    def refuse(*_: object, **__: object) -> None:
        raise Forbidden("no storage.buckets.get")

    monkeypatch.setattr(Client, "get_bucket", refuse)
    found = examine(*on_dataflow(google, *files), exit_code=1)
    assert "you need roles/storage.bucketViewer" in found["bucket gs://the-bucket"][2]
    found = examine(*files)
    assert found["bucket gs://the-bucket"][0] == "warning"
    assert found["sample"][0] == "ok"


def test_a_bucket_that_cannot_be_written_to_is_wrong(google, files, monkeypatch):
    def refuse(*_: object, **__: object) -> None:
        raise Forbidden("no storage.objects.create")

    monkeypatch.setattr("google.cloud.storage.Blob.upload_from_string", refuse)
    found = examine(*on_dataflow(google, *files), exit_code=1)
    assert found["--temp-location"][0] == found["output"][0] == "wrong"
    assert "gs://the-bucket/tmp cannot be written to with the credentials" in found["--temp-location"][1]


def test_documents_in_a_bucket_need_no_dataflow(google, files, tmp_path, monkeypatch):
    monkeypatch.delenv("GOOGLE_APPLICATION_CREDENTIALS")
    found = examine(*files)
    assert states(found) == {"ok"}
    assert found["credentials"][1].startswith("not needed: STORAGE_EMULATOR_HOST is ")
    assert found["bucket gs://the-bucket"][1].endswith(": in US")


def test_without_setuptools_the_code_cannot_travel_but_in_an_image(google, files, monkeypatch):
    monkeypatch.setattr(source_package, "find_spec", lambda _: None)
    found = examine(*on_dataflow(google, *files), exit_code=1)
    assert found["code of the workers"][1].startswith("setuptools is not installed here")
    image = "us-central1-docker.pkg.dev/my-project/images/maskmill:0.1.0"
    found = examine(*on_dataflow(google, *files, "--sdk-container-image", image))
    assert found["code of the workers"][1] == f"in {image}, which is not looked at"


def test_a_python_that_beam_has_no_image_for_is_wrong(google, files, monkeypatch):
    monkeypatch.setattr("platform.python_version_tuple", lambda: ("3", "99", "0"))
    state, what, remedy = examine(*on_dataflow(google, *files), exit_code=1)["python of the workers"]
    assert state == "wrong"
    assert what.startswith("Python 3.99, Beam ")
    assert "3.11" in remedy


def test_paths_stay_as_they_are_in_the_table(tmp_path, monkeypatch):
    name = f"[red]{'corpus' * 8}[/]"
    result = CliRunner(env={"COLUMNS": "300"}).invoke(main, ["doctor", name])
    assert name in result.output
    monkeypatch.chdir(tmp_path)
    result = CliRunner(env={"COLUMNS": "80"}).invoke(main, ["doctor", name])
    assert result.exit_code == 1
    assert "…" not in result.output


def test_a_place_without_a_bucket_is_wrong():
    result = CliRunner().invoke(main, ["doctor", "gs://"])
    assert result.exit_code == 1
    assert "names no bucket" in result.output
