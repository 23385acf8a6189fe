"""What the tests of Dataflow share: a fake service and a bucket on loopback."""

import json
from collections.abc import Iterator

import pytest
from apache_beam.internal.gcp import auth
from cloud import emulator
from fake_dataflow import FakeDataflow
from google.cloud.storage import Client
from loopback_google import Google, lead_to


@pytest.fixture(scope="module")
def google(tmp_path_factory) -> Iterator[Google]:
    with emulator() as url, FakeDataflow() as service, pytest.MonkeyPatch.context() as patch:
        file = service.credentials(tmp_path_factory.mktemp("google") / "key.json")
        lead_to(url, file, patch)
        patch.setattr(auth._Credentials, "_credentials_init", False)
        bucket = Client(project="my-project").create_bucket("the-bucket")
        yield Google(service, bucket, json.loads(file.read_text())["private_key"])
    auth._Credentials._credentials_init = False
