"""A TPU of the cloud that `fake_gcloud.py` plays: fixtures, and what names it on the command line."""

import signal

import pytest
from command import run
from fake_gcloud import Cloud
from places import ROOT

from maskmill.deploy.tpu.gcloud import Tpu

WHERE = ["--project", "my-project", "--zone", "us-west4-a"]
MADE = [*WHERE, "--accelerator-type", "v5litepod-8"]
TRAINING = ["--", "gs://bucket/shards", "--model-dir", "gs://bucket/model"]
TPU = Tpu("bert", "my-project", "us-west4-a")


@pytest.fixture
def cloud(tmp_path, monkeypatch):
    cloud = Cloud(tmp_path / "cloud")
    monkeypatch.setenv("PATH", f"{cloud.folder / 'bin'}:/usr/local/bin:/usr/bin:/bin")
    monkeypatch.setenv("FAKE_CLOUD", str(cloud.folder))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "my cache"))
    monkeypatch.setenv("PYTHONPATH", str(ROOT))  # of the process that packs
    yield cloud
    cloud.end_trainers(signal.SIGKILL)


@pytest.fixture
def installed(cloud) -> Cloud:
    """A TPU of two hosts that trains nothing yet."""
    cloud.add_request("bert", "ACTIVE", hosts=2)
    run("tpu", "install", "bert", *WHERE)
    return cloud
