"""Options for Dataflow: what the service would refuse is refused before any work."""

from dataclasses import replace

import pytest
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.options.pipeline_options_validator import PipelineOptionsValidator
from apache_beam.runners.dataflow.dataflow_runner import DataflowRunner
from google.cloud.storage import Client

from maskmill.deploy.engines.dataflow_options import DataflowOptions
from maskmill.tokenizer.errors import InputError

OPTIONS = DataflowOptions("my-project", "us-central1", "gs://the-bucket/tmp", job_name="maskmill-test")


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
