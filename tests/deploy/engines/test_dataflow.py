"""Jobs for Dataflow are made, submitted and waited for as they should be; the service is a fake one on loopback."""

import io
import json
import os
import re
import tarfile
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import apache_beam as beam
import pytest
from apache_beam.internal.gcp import auth
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.options.pipeline_options_validator import PipelineOptionsValidator
from apache_beam.portability.api import beam_runner_api_pb2
from apache_beam.runners.dataflow.dataflow_runner import DataflowPipelineResult, DataflowRunner
from cloud import emulator
from command import SMALL, maskmill, refuse, run
from fake_dataflow import TOKEN, FakeDataflow
from google.api_core.exceptions import Forbidden
from google.cloud.storage import Client
from loopback_google import Google, lead_to

from maskmill.deploy.data import generate_elsewhere
from maskmill.deploy.engines import dataflow
from maskmill.deploy.engines.dataflow import (
    DataflowJob,
    check_access,
    find_job,
    read_counters,
    submission,
    wait_for_end,
)
from maskmill.deploy.engines.dataflow_options import DataflowOptions
from maskmill.deploy.engines.source_package import find_setup_file
from maskmill.deploy.terminal import progress
from maskmill.pipeline.dataset.config import InstanceConfig
from maskmill.pipeline.dataset.target import Target
from maskmill.pipeline.jobs import dag
from maskmill.pipeline.jobs.jobs import CountWords, GenerateDataset
from maskmill.pipeline.reading.documents import ReadOptions
from maskmill.pipeline.storage.store import CLOUD
from maskmill.tokenizer.errors import InputError

OPTIONS = DataflowOptions("my-project", "us-central1", "gs://the-bucket/tmp", job_name="maskmill-test")
IMAGE = "us-central1-docker.pkg.dev/my-project/images/maskmill:0.1.0"
MIN_RAM = 16_000_000_000
INPUTS = ["gs://the-bucket/corpus/*.txt"]


@pytest.fixture(scope="module")
def google(tmp_path_factory) -> Iterator[Google]:
    with emulator() as url, FakeDataflow() as service, pytest.MonkeyPatch.context() as patch:
        file = service.credentials(tmp_path_factory.mktemp("google") / "key.json")
        lead_to(url, file, patch)
        patch.setattr(auth._Credentials, "_credentials_init", False)
        bucket = Client(project="my-project").create_bucket("the-bucket")
        yield Google(service, bucket, json.loads(file.read_text())["private_key"])
    auth._Credentials._credentials_init = False


def submit(google: Google, options: DataflowOptions, build: dag.Build, **to_beam: Any) -> Any:
    """A DAG as a job, by way of the service; returns what Beam gives back."""
    arguments = [*options.to_beam("0.1.0", **to_beam), f"--dataflow_endpoint={google.service.url}"]
    if "setup_file" not in to_beam:
        arguments.append("--experiments=disable_logging_submission_environment")  # which takes seconds
    with submission(options):
        pipeline = beam.Pipeline(options=PipelineOptions(arguments))
        build(pipeline)
        return pipeline.run()


def measure(inputs: list[str]) -> dag.Build:
    return CountWords(inputs, ReadOptions(), cased=False, result="gs://the-bucket/result").build


def generate(inputs: list[str], vocab: Any) -> dag.Build:
    config = InstanceConfig(max_seq_length=32, max_predictions_per_seq=5)
    return GenerateDataset(
        inputs=inputs,
        options=ReadOptions(),
        vocab=vocab,
        targets=[Target(config, "gs://the-bucket/out", run="run 1")],
        max_rejected=0.01,
        rejected="gs://the-bucket/out",
    ).build


def play(google: Google, *states: str, errors: tuple[str, ...] = (), **counters: int) -> None:
    """Tells the service what the next job goes through."""
    google.service.states, google.service.errors, google.service.counters = list(states), list(errors), counters
    google.service._looks = 0


def last_job(google: Google) -> dict[str, Any]:
    return google.service.jobs[-1]


def staged(google: Google, name: str) -> bytes:
    """A file that the last job has in the bucket."""
    options = last_job(google)["environment"]["sdkPipelineOptions"]["options"]
    folder = options["staging_location"].removeprefix("gs://the-bucket/")
    data: bytes = google.bucket.blob(f"{folder}/{name}").download_as_bytes()
    return data


@pytest.fixture(scope="module")
def job(google) -> Any:
    """The result of a job with all options, staged with our sources."""
    options = replace(
        OPTIONS,
        labels={"team": "nlp"},
        worker_machine_type="n2-highmem-4",
        max_num_workers=7,
        disk_size_gb=60,
        network="net",
        subnetwork="regions/us-central1/subnetworks/private",
        no_public_ips=True,
        service_account_email="worker@my-project.iam.gserviceaccount.com",
        beam_options=["--experiments=an_experiment"],
    )
    with find_setup_file() as setup_file:
        return submit(google, options, measure(INPUTS), setup_file=setup_file, min_ram=MIN_RAM)


def test_a_job_asks_for_the_workers_that_were_wanted(google, job):
    request = last_job(google)
    environment, (pool,) = request["environment"], request["environment"]["workerPools"]
    assert request["name"] == "maskmill-test"
    assert request["labels"] == {"maskmill": "0-1-0", "team": "nlp"}
    assert environment["serviceAccountEmail"] == "worker@my-project.iam.gserviceaccount.com"
    assert environment["tempStoragePrefix"].startswith("storage.googleapis.com/the-bucket/tmp/maskmill-test.")
    assert "an_experiment" in environment["experiments"]
    assert environment["userAgent"]["version"] == beam.__version__
    assert pool["machineType"] == "n2-highmem-4"
    assert pool["diskSizeGb"] == 60
    assert pool["autoscalingSettings"]["maxNumWorkers"] == 7
    assert (pool["network"], pool["subnetwork"]) == ("net", "regions/us-central1/subnetworks/private")
    assert pool["ipConfiguration"] == 2  # WORKER_IP_PRIVATE
    assert "workflow.tar.gz" in [package["name"] for package in pool["packages"]]
    assert not environment["sdkPipelineOptions"]["options"]["save_main_session"]


def test_all_steps_share_one_environment_which_tells_the_memory(google, job):
    components = beam_runner_api_pb2.Pipeline.FromString(staged(google, "pipeline.pb")).components
    (environment,) = components.environments.values()
    assert environment.resource_hints["beam:resources:min_ram_bytes:v1"] == str(MIN_RAM).encode()


def test_the_staged_package_is_ours_without_tests_and_tensorflow(google, job):
    with tarfile.open(fileobj=io.BytesIO(staged(google, "workflow.tar.gz"))) as sdist:
        names = {name.partition("/")[2] for name in sdist.getnames()}
        (requires,) = [name for name in sdist.getnames() if name.endswith("requires.txt")]
        file = sdist.extractfile(requires)
        assert file
        core = file.read().decode().partition("\n[")[0]
    assert {
        "setup.py",
        "tokenizer/unicode_14.txt",
        "pipeline/jobs/dag.py",
        "model/bert/config.py",
        "deploy/cli.py",
    } <= names
    assert not [name for name in names if name.startswith(("tests", "benchmarks"))]
    assert "apache-beam" in core
    assert not [name for name in ("tensorflow", "keras", "jax") if name in core]


def test_nothing_secret_is_in_a_job(google, job):
    text = json.dumps(last_job(google))
    files = [blob.download_as_bytes() for blob in google.bucket.list_blobs()]
    assert len(files) >= 3  # the pipeline, our package, and the names of the launcher's packages
    for secret in (TOKEN, google.key, os.environ["GOOGLE_APPLICATION_CREDENTIALS"]):
        assert secret not in text
        assert not [file for file in files if secret.encode() in file]


def test_no_bucket_is_made(google, job):
    assert [bucket.name for bucket in Client(project="my-project").list_buckets()] == ["the-bucket"]


def validate(*arguments: str) -> PipelineOptions:
    """Options after what Beam does first for the real service, and not for one at localhost."""
    options = PipelineOptions(list(arguments))
    assert PipelineOptionsValidator(options, DataflowRunner()).validate() == []
    return options


@pytest.mark.parametrize("location", ["gs://the-bucket", "gs://the-bucket/", "gs://the-bucket/a/b"])
def test_beam_is_content_with_the_locations_that_are_let_through(google, location):
    options = validate(*replace(OPTIONS, temp_location=location).to_beam("0.1.0"))
    assert options.get_all_options()["temp_location"] == location.rstrip("/") + "/"
    assert options.get_all_options()["save_main_session"] is False
    assert [bucket.name for bucket in Client(project="my-project").list_buckets()] == ["the-bucket"]


def test_beam_makes_a_bucket_for_a_location_that_is_refused_here(google):
    client = Client(project="my-project")
    validate("--project=my-project", "--region=us-central1", "--temp_location=gs://the-bucket")
    (made,) = [bucket for bucket in client.list_buckets() if bucket.name != "the-bucket"]
    made.delete()
    assert made.name.startswith("dataflow-staging-us-central1-")


def test_a_job_does_not_grow_with_the_number_of_files(google, small_vocab):
    sizes = []
    for number in (3, 3000):
        names = [f"gs://the-bucket/a-folder-of-the-corpus/part-{each:05}.txt" for each in range(number)]
        submit(google, replace(OPTIONS, sdk_container_image=IMAGE), generate(names, small_vocab))
        pipeline = staged(google, "pipeline.pb")
        steps = len(beam_runner_api_pb2.Pipeline.FromString(pipeline).components.transforms)
        sizes.append((steps, len(json.dumps(last_job(google))), len(pipeline)))
    (steps, request, pipeline), (more_steps, larger_request, larger_pipeline) = sizes
    assert steps == more_steps
    assert abs(larger_request - request) < 20
    assert larger_pipeline - pipeline < 3000 * 100  # each name once
    assert "setup_file" not in last_job(google)["environment"]["sdkPipelineOptions"]["options"]
    assert last_job(google)["environment"]["workerPools"][0]["workerHarnessContainerImage"] == IMAGE


def watch(job: Any) -> Any:
    """The job, as if it had just been submitted."""
    again = DataflowPipelineResult(job._runner.dataflow_client.get_job(job.job_id()), job._runner)
    again.metric_results = job.metric_results
    return again


def wait(result: Any) -> list[tuple[str, Any]]:
    """What was seen until the end: states and counters."""
    seen: list[tuple[str, Any]] = []
    wait_for_end(result, OPTIONS, lambda *looked: seen.append(looked), seconds_between_looks=0.01, patience=0.05)
    return seen


def test_waiting_tells_states_and_counters(google, job):
    states = ["PENDING", "RUNNING", "RUNNING", "DONE"]
    play(google, *[f"JOB_STATE_{state}" for state in states], documents=7)
    assert wait(job) == [(state, {"documents": 7}) for state in states]


TRACEBACK = """Error message from worker: Traceback (most recent call last):
  File "reading.py", line 1, in process
maskmill.tokenizer.errors.InputError: gs://b/x.gz is cut off or damaged near byte 6 of 6 [while running 'Read-42']
"""
OOM = "The worker VM ran out of memory.\nMore of it."
ATTEMPTED = "The job failed because a work item was attempted 4 times without success."


@pytest.mark.parametrize(
    ("state", "errors", "sentence"),
    [
        ("FAILED", (ATTEMPTED, TRACEBACK), r"^gs://b/x.gz is cut off or damaged near byte 6 of 6 \(Dataflow job 20"),
        ("FAILED", (ATTEMPTED, OOM), "failed: The worker VM ran out of memory; look at https://console.cloud"),
        ("FAILED", (), "failed and says nothing; look at https://console.cloud"),
        ("CANCELLED", (), "was cancelled; the same command, without --overwrite, goes on"),
        ("UPDATED", (), "was replaced by another job"),
        ("DRAINED", (), "was drained before its end"),
        ("UNKNOWN", (), "does not tell the state of job"),
    ],
)
def test_a_job_that_does_not_end_well_is_one_sentence(google, job, state, errors, sentence):
    play(google, "JOB_STATE_RUNNING", f"JOB_STATE_{state}", errors=errors)
    with pytest.raises(InputError, match=sentence) as caught:
        wait(watch(job))
    assert "\n" not in str(caught.value)


def test_counters_that_are_told_by_halves_are_no_error(google, job, monkeypatch):
    monkeypatch.setattr(
        job.metrics(), "_get_metrics_from_dataflow", lambda: (_ for _ in ()).throw(KeyError("tentative"))
    )
    assert read_counters(job) == {}


def test_a_job_that_is_left_goes_on_and_tells_where(google, job):
    play(google, "JOB_STATE_RUNNING")
    result = submit(google, replace(OPTIONS, sdk_container_image=IMAGE), measure(INPUTS))
    found = find_job(result, OPTIONS)
    assert found
    console = f"https://console.cloud.google.com/dataflow/jobs/us-central1/{found.job_id}?project=my-project"
    cancel = f"gcloud dataflow jobs cancel {found.job_id} --region us-central1 --project my-project"
    said = DataflowJob(result, OPTIONS).leave()
    assert said == f"Dataflow job {found.job_id} goes on there: {console} (to end it: {cancel})"
    assert google.service.cancelled == []


def test_a_service_that_does_not_answer_any_longer_is_one_sentence(google, job, monkeypatch):
    play(google, "JOB_STATE_RUNNING")
    result = watch(job)

    def refuse(_: str) -> None:
        raise Forbidden("no more")

    monkeypatch.setattr(job._runner.dataflow_client, "get_job", refuse)
    with pytest.raises(
        InputError, match=r"Dataflow does not answer any longer \(403 no more\). Dataflow job .* goes on"
    ):
        wait(result)


def test_a_job_that_the_service_refuses_is_one_sentence(google, monkeypatch):
    monkeypatch.setattr(google.service, "refusal", (403, "Dataflow API has not been used in project 1 before"))
    sentence = r"does not take the job maskmill-test in project my-project, us-central1 \(403 .*has not been used"
    with pytest.raises(InputError, match=sentence):
        submit(google, replace(OPTIONS, sdk_container_image=IMAGE), measure(INPUTS))


def test_submitting_leaves_nothing_behind_here(google, tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    submit(google, replace(OPTIONS, sdk_container_image=IMAGE), measure(INPUTS))
    assert list(tmp_path.iterdir()) == []
    assert tempfile.tempdir == str(tmp_path)


def test_a_template_is_no_job_to_wait_for(google):
    number = len(google.service.jobs)
    options = replace(
        OPTIONS, sdk_container_image=IMAGE, beam_options=["--template_location=gs://the-bucket/template/job.json"]
    )
    result = submit(google, options, measure(INPUTS))
    assert find_job(result, options) is None
    assert wait(result) == []
    assert google.bucket.blob("template/job.json").exists()
    assert len(google.service.jobs) == number


def test_a_job_name_that_is_in_use_is_one_sentence(google, monkeypatch):
    answer = google.service.answer

    def another(method: str, path: str, body: bytes) -> tuple[int, Any]:
        status, found = answer(method, path, body)
        return status, {**found, "clientRequestId": "of-another-run"} if method == "POST" and "jobs" in path else found

    monkeypatch.setattr(google.service, "answer", another)
    with pytest.raises(InputError, match="job_name maskmill-test is that of a job which is running"):
        submit(google, replace(OPTIONS, sdk_container_image=IMAGE), measure(INPUTS))


def test_access_is_looked_at_before_any_work(google, tmp_path, monkeypatch):
    check_access(OPTIONS)
    with pytest.raises(InputError, match="bucket gs://other-bucket of gs://other-bucket/x is not there; make it with"):
        check_access(replace(OPTIONS, staging_location="gs://other-bucket/x"))
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(tmp_path / "no.json"))
    with pytest.raises(
        InputError, match=r"no usable Google credentials are found here.*gcloud auth application-default"
    ):
        check_access(OPTIONS)


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        ({"project": "12345"}, "project '12345' is not valid; expected a project's id"),
        ({"project": "My Project"}, "project 'My Project' is not valid"),
        ({"project": "my-project-"}, "project 'my-project-' is not valid"),
        ({"region": "us-central1-a"}, "region us-central1-a is a zone; expected its region, us-central1"),
        ({"region": "US"}, "region 'US' is not valid; expected one such as us-central1"),
        ({"temp_location": "the-bucket/tmp"}, "temp_location 'the-bucket/tmp' is no folder of Cloud Storage"),
        ({"temp_location": "/tmp"}, "temp_location '/tmp' is no folder of Cloud Storage; expected gs://BUCKET/FOLDER"),
        ({"temp_location": "gs://"}, "is no folder of Cloud Storage.*gcloud storage buckets create .*us-central1"),
        ({"temp_location": "gs://ab/x"}, "temp_location 'gs://ab/x' is no folder"),
        ({"temp_location": "gs://The-Bucket/x"}, "is no folder"),
        ({"temp_location": "gs://1.2.3.4/x"}, "is no folder"),
        ({"temp_location": "gs://the-bucket/a//b"}, "is no folder"),
        ({"staging_location": "s3://the-bucket/x"}, "staging_location 's3://the-bucket/x' is no folder"),
        ({"job_name": "Maskmill"}, "job_name 'Maskmill' is not valid; expected small letters"),
        ({"job_name": "maskmill-"}, "job_name 'maskmill-' is not valid"),
        ({"job_name": "m" * 1025}, "job_name 'mmm"),
        ({"labels": {"Team": "nlp"}}, "label Team=nlp is not valid"),
        ({"labels": {"team": "n.l.p"}}, "label team=n.l.p is not valid"),
        ({"labels": {"maskmill": "x"}}, "label maskmill=x is set by maskmill itself"),
        ({"labels": {f"l{n}": "" for n in range(64)}}, "64 labels are given; a job has 63"),
        ({"max_num_workers": 0}, "max_num_workers 0 is too small"),
        ({"worker_machine_type": "large"}, "worker_machine_type 'large' is not valid; expected one such as"),
        ({"subnetwork": "private"}, "subnetwork private .* expected regions/us-central1/subnetworks/NAME"),
        ({"subnetwork": "regions/europe-west4/subnetworks/x"}, "is not one of the job's region"),
        ({"service_account_email": "me@gmail.com"}, "service_account_email 'me@gmail.com' is not valid"),
        ({"sdk_container_image": "maskmill"}, "sdk_container_image 'maskmill' is not valid"),
        (
            {"beam_options": ["--temp_location=gs://x"]},
            "among Beam's own options; give it as maskmill's --temp-location",
        ),
    ],
)
def test_what_the_service_would_refuse_is_refused_here(wrong, sentence):
    with pytest.raises(InputError, match=sentence):
        replace(OPTIONS, **wrong)


def test_what_the_service_takes_is_taken_here():
    replace(OPTIONS, project="example.com:my-project-1", region="northamerica-northeast1")
    replace(OPTIONS, temp_location="gs://my.company.com/tmp/", region="europe-west12")
    replace(OPTIONS, subnetwork="https://www.googleapis.com/compute/v1/projects/p/regions/us-central1/subnetworks/s")
    first, second = (DataflowOptions("my-project", "us-central1", "gs://the-bucket/tmp").job_name for _ in range(2))
    assert first != second


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
    play(google, *["JOB_STATE_PENDING"] * 2, *["JOB_STATE_RUNNING"] * 9, "JOB_STATE_DONE", documents_tokenized=40)
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
    request = last_job(google)
    hints = beam_runner_api_pb2.Pipeline.FromString(staged(google, "pipeline.pb")).components.environments.values()
    (environment,) = hints
    assert 400e6 < int(environment.resource_hints["beam:resources:min_ram_bytes:v1"]) < 1e9
    assert request["labels"] == {"maskmill": "0-1-0"}
    assert request["name"].startswith("maskmill-")


def test_generate_does_not_wait_when_it_is_asked_not_to(google, command):
    play(google, "JOB_STATE_PENDING")
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
    play(google, "JOB_STATE_RUNNING", f"JOB_STATE_{state}", errors=errors)
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
