"""Jobs for Dataflow are made, submitted and waited for as they should be; the service is a fake one on loopback."""

import io
import json
import os
import tarfile
import tempfile
from dataclasses import replace
from typing import Any

import apache_beam as beam
import pytest
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.portability.api import beam_runner_api_pb2
from apache_beam.runners.dataflow.dataflow_runner import DataflowPipelineResult
from fake_dataflow import ATTEMPTED, OOM, TOKEN, TRACEBACK
from google.api_core.exceptions import Forbidden
from google.cloud.storage import Client
from loopback_google import Google

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
from maskmill.pipeline.dataset.config import InstanceConfig
from maskmill.pipeline.dataset.target import Target
from maskmill.pipeline.jobs import dag
from maskmill.pipeline.jobs.jobs import CountWords, GenerateDataset
from maskmill.pipeline.reading.documents import ReadOptions
from maskmill.tokenizer.errors import InputError

OPTIONS = DataflowOptions("my-project", "us-central1", "gs://the-bucket/tmp", job_name="maskmill-test")
IMAGE = "us-central1-docker.pkg.dev/my-project/images/maskmill:0.1.0"
MIN_RAM = 16_000_000_000
INPUTS = ["gs://the-bucket/corpus/*.txt"]


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
    request = google.last_job()
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
    components = beam_runner_api_pb2.Pipeline.FromString(google.staged("pipeline.pb")).components
    (environment,) = components.environments.values()
    assert environment.resource_hints["beam:resources:min_ram_bytes:v1"] == str(MIN_RAM).encode()


def test_the_staged_package_is_ours_without_tests_and_tensorflow(google, job):
    with tarfile.open(fileobj=io.BytesIO(google.staged("workflow.tar.gz"))) as sdist:
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
    text = json.dumps(google.last_job())
    files = [blob.download_as_bytes() for blob in google.bucket.list_blobs()]
    assert len(files) >= 3  # the pipeline, our package, and the names of the launcher's packages
    for secret in (TOKEN, google.key, os.environ["GOOGLE_APPLICATION_CREDENTIALS"]):
        assert secret not in text
        assert not [file for file in files if secret.encode() in file]


def test_no_bucket_is_made(google, job):
    assert [bucket.name for bucket in Client(project="my-project").list_buckets()] == ["the-bucket"]


def test_a_job_does_not_grow_with_the_number_of_files(google, small_vocab):
    sizes = []
    for number in (3, 3000):
        names = [f"gs://the-bucket/a-folder-of-the-corpus/part-{each:05}.txt" for each in range(number)]
        submit(google, replace(OPTIONS, sdk_container_image=IMAGE), generate(names, small_vocab))
        pipeline = google.staged("pipeline.pb")
        steps = len(beam_runner_api_pb2.Pipeline.FromString(pipeline).components.transforms)
        sizes.append((steps, len(json.dumps(google.last_job())), len(pipeline)))
    (steps, request, pipeline), (more_steps, larger_request, larger_pipeline) = sizes
    assert steps == more_steps
    assert abs(larger_request - request) < 20
    assert larger_pipeline - pipeline < 3000 * 100  # each name once
    assert "setup_file" not in google.last_job()["environment"]["sdkPipelineOptions"]["options"]
    assert google.last_job()["environment"]["workerPools"][0]["workerHarnessContainerImage"] == IMAGE


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
    google.play(*[f"JOB_STATE_{state}" for state in states], documents=7)
    assert wait(job) == [(state, {"documents": 7}) for state in states]


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
    google.play("JOB_STATE_RUNNING", f"JOB_STATE_{state}", errors=errors)
    with pytest.raises(InputError, match=sentence) as caught:
        wait(watch(job))
    assert "\n" not in str(caught.value)


def test_counters_that_are_told_by_halves_are_no_error(google, job, monkeypatch):
    monkeypatch.setattr(
        job.metrics(), "_get_metrics_from_dataflow", lambda: (_ for _ in ()).throw(KeyError("tentative"))
    )
    assert read_counters(job) == {}


def test_a_job_that_is_left_goes_on_and_tells_where(google, job):
    google.play("JOB_STATE_RUNNING")
    result = submit(google, replace(OPTIONS, sdk_container_image=IMAGE), measure(INPUTS))
    found = find_job(result, OPTIONS)
    assert found
    console = f"https://console.cloud.google.com/dataflow/jobs/us-central1/{found.job_id}?project=my-project"
    cancel = f"gcloud dataflow jobs cancel {found.job_id} --region us-central1 --project my-project"
    said = DataflowJob(result, OPTIONS).leave()
    assert said == f"Dataflow job {found.job_id} goes on there: {console} (to end it: {cancel})"
    assert google.service.cancelled == []


def test_a_service_that_does_not_answer_any_longer_is_one_sentence(google, job, monkeypatch):
    google.play("JOB_STATE_RUNNING")
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
