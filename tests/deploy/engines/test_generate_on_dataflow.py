"""`generate --runner dataflow`: submitted, waited for and told; the service is a fake one on loopback."""

import json
import re
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from apache_beam.portability.api import beam_runner_api_pb2
from command import SMALL, maskmill, refuse, run
from fake_dataflow import ATTEMPTED, TRACEBACK

from maskmill.deploy.data import generate_elsewhere
from maskmill.deploy.engines import dataflow
from maskmill.deploy.terminal import progress
from maskmill.pipeline.storage.store import CLOUD

GENERATE = ["--vocab-file", "gs://the-bucket/vocab.txt", "--output", "gs://the-bucket/out", *SMALL]


@pytest.fixture
def command(google, corpus_file, small_vocab_file) -> Iterator[list[object]]:
    """`generate` on Dataflow; nothing of an earlier one is there."""
    for blob in google.bucket.list_blobs(prefix="out"):
        blob.delete()
    google.bucket.blob("corpus.txt").upload_from_filename(corpus_file)
    google.bucket.blob("vocab.txt").upload_from_filename(small_vocab_file)
    CLOUD.forget()
    where = ["--project", "my-project", "--region", "us-central1", "--temp-location", "gs://the-bucket/tmp"]
    beam_options = [
        "--",
        f"--dataflow_endpoint={google.service.url}",
        "--experiments=disable_logging_submission_environment",
    ]
    yield ["generate", "gs://the-bucket/corpus.txt", *GENERATE, "--runner", "dataflow", *where, *beam_options]
    CLOUD.forget()


@pytest.fixture(autouse=True)
def quick_looks(monkeypatch):
    monkeypatch.setattr(dataflow.wait_for_end, "__defaults__", (0.05, 0.1))
    monkeypatch.setattr(generate_elsewhere, "SECONDS_BETWEEN_LOOKS", 0.05)
    monkeypatch.setattr(progress, "SECONDS_BETWEEN_LINES", 0.0)


def test_generate_submits_waits_and_tells_what_was_made(google, command, monkeypatch):
    """The service runs nothing: what the job would write is written by a run here when it is said to be done."""
    google.play(*["JOB_STATE_PENDING"] * 2, *["JOB_STATE_RUNNING"] * 9, "JOB_STATE_DONE", documents_tokenized=40)
    answer = google.service.answer

    def write_when_done(method: str, path: str, body: bytes) -> tuple[int, Any]:
        status, found = answer(method, path, body)
        if method == "GET" and found.get("currentState") == "JOB_STATE_DONE" and not written:
            written.append(1)
            maskmill("generate", "gs://the-bucket/corpus.txt", *GENERATE)
            about = json.loads(google.bucket.blob("out/run.json").download_as_bytes())
            about["identity"]["run"] = "run 1"
            google.bucket.blob("out/run.json").upload_from_string(json.dumps(about))
        return status, found

    written: list[int] = []
    monkeypatch.setattr(google.service, "answer", write_when_done)
    monkeypatch.setattr(generate_elsewhere, "uuid", SimpleNamespace(uuid4=lambda: SimpleNamespace(hex="run 1")))
    output = run(*command)
    (job_id,) = re.findall(r"Submitted Dataflow job (\S+): https://console.cloud.google.com/dataflow/jobs/", output)
    assert re.findall(r"s: the job is (\w+)", output)[:2] == ["PENDING", "RUNNING"]
    assert "s: 40 documents, " in output
    assert "Wrote gs://the-bucket/out: 2 shards" in output
    facts = json.loads(google.bucket.blob("out/run.json").download_as_bytes())
    assert facts["runner"] == "dataflow"
    assert job_id in facts["job"]
    request = google.last_job()
    hints = beam_runner_api_pb2.Pipeline.FromString(google.staged("pipeline.pb")).components.environments.values()
    (environment,) = hints
    assert 400e6 < int(environment.resource_hints["beam:resources:min_ram_bytes:v1"]) < 1e9
    assert request["labels"] == {"maskmill": "0-1-0"}
    assert request["name"].startswith("maskmill-")


def test_generate_does_not_wait_when_it_is_asked_not_to(google, command):
    google.play("JOB_STATE_PENDING")
    looks = len(google.service.requests)
    output = run(*command[:2], "--no-wait", *command[2:])
    assert "Submitted Dataflow job" in output
    assert "Wrote" not in output
    assert not [path for method, path, _ in google.service.requests[looks:] if "metrics" in path or "messages" in path]
    facts = json.loads(google.bucket.blob("out/run.json").download_as_bytes())
    assert "https://console.cloud.google.com/dataflow/jobs/us-central1/" in facts["job"]


@pytest.mark.parametrize(
    ("state", "errors", "sentence"),
    [
        ("FAILED", (ATTEMPTED, TRACEBACK), "gs://b/x.gz is cut off or damaged"),
        ("CANCELLED", (), "was cancelled; the same command, without --overwrite, goes on"),
    ],
)
def test_a_job_that_does_not_end_well_ends_generate_with_1(google, command, state, errors, sentence):
    google.play("JOB_STATE_RUNNING", f"JOB_STATE_{state}", errors=errors)
    assert sentence in refuse(*command)
    assert list(google.bucket.list_blobs(prefix="out")) == []  # nothing to go on with, so nothing is in the way


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (("gs://the-bucket/corpus.txt", "corpus.txt"), "is on this machine, where the workers of Dataflow do not see"),
        (("gs://the-bucket/out", "out"), "--output out is on this machine"),
        (("--region", "--job-name"), "--runner dataflow needs --region"),
        (("--experiments=disable_logging_submission_environment", "--template_location=gs://b/t"), "needs --no-wait"),
        (("us-central1", "us-central1-a"), "region us-central1-a is a zone; expected its region, us-central1"),
        (("dataflow", "flink"), "--project is given without --runner dataflow"),
        (("dataflow", "local"), "--project is given without --runner dataflow"),
    ],
)
def test_options_that_do_not_go_together_are_wrong_usage(google, command, change, sentence):
    jobs = len(google.service.jobs)
    assert sentence in refuse(*[change[1] if part == change[0] else part for part in command], exit_code=2)
    assert len(google.service.jobs) == jobs
