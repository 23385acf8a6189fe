"""What doctor finds of job servers and of Flink."""

import json
import socket
from collections import namedtuple
from typing import Any, ClassVar

import pytest
from click.testing import CliRunner
from cloud import Handler, serve
from engines import silent_port
from examine import Found, examine, states

from maskmill.deploy.cli import main
from maskmill.deploy.doctor import engine as checks_engine
from maskmill.deploy.doctor import installation as checks_installation
from maskmill.deploy.doctor.engine import list_flink_versions


def test_options_without_their_runner_are_wrong_usage():
    for arguments in (["--project", "my-project"], ["--", "--dataflow_endpoint=x"], ["--runner", "spark"]):
        result = CliRunner().invoke(main, ["doctor", *arguments])
        assert result.exit_code == 2, result.output


class Flink(Handler):
    """The beginning of Flink's REST interface."""

    overview: ClassVar[dict[str, Any]] = {}

    def do_GET(self) -> None:
        self.reply(200, json.dumps(self.overview if self.path == "/overview" else {}).encode())


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
    with silent_port() as port:
        found = examine("--runner", "flink", "--flink-master", f"localhost:{port}", exit_code=1)
    assert found["java"][0] == "wrong"
    assert found["flink"][0] == "wrong"
    assert "does not answer (Connection refused)" in found["flink"][1]


def test_a_job_server_that_does_not_answer_is_wrong(tmp_path, corpus_file):
    with silent_port() as port:
        endpoint = f"localhost:{port}"
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
