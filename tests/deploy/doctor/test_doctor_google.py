"""What doctor finds of Google Cloud, an emulator and a fake service on loopback."""

import json
import os
from collections.abc import Iterator

import pytest
from cloud import emulator
from engines import silent_port
from examine import examine, states
from fake_dataflow import TOKEN, FakeDataflow
from google.api_core.exceptions import Forbidden
from google.cloud.storage import Bucket, Client
from loopback_google import Google, lead_to

from maskmill.deploy.doctor.buckets import holds
from maskmill.deploy.engines import source_package
from maskmill.pipeline.storage.store import CLOUD


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
    lead_to(url, file, monkeypatch)
    CLOUD.forget()
    bucket = Client(project="my-project").create_bucket("the-bucket")
    yield Google(service, bucket, json.loads(file.read_text())["private_key"])
    bucket.delete_blobs(list(bucket.list_blobs()))
    bucket.delete()
    CLOUD.forget()


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
    assert "setuptools" in found["code of the workers"][1]
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


def test_no_credentials_are_wrong(google, files, tmp_path, monkeypatch):
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(tmp_path / "no.json"))
    found = examine(*on_dataflow(google, *files), exit_code=1)
    assert found["credentials"][0] == "wrong"
    assert "gcloud auth application-default login" in found["credentials"][2]
    assert not {"dataflow", "bucket gs://the-bucket", "vocabulary", "output"} & set(found)  # nothing to ask them with
    monkeypatch.delenv("GOOGLE_APPLICATION_CREDENTIALS")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("CLOUDSDK_CONFIG", str(tmp_path))
    with silent_port() as port:
        monkeypatch.setenv("GCE_METADATA_HOST", f"127.0.0.1:{port}")
        monkeypatch.setenv("GCE_METADATA_IP", f"127.0.0.1:{port}")
        found = examine(*on_dataflow(google, *files), exit_code=1)
    assert found["credentials"][0] == "wrong"


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
    with silent_port() as port:
        found = examine(*arguments, f"--dataflow_endpoint=http://localhost:{port}", exit_code=1)
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
