"""A Dataflow service on loopback that runs nothing: it keeps what it is asked and plays scripted answers."""

import json
import threading
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Any
from urllib.parse import urlsplit

from cloud import service_account

TOKEN = "a-token-that-must-not-travel-in-a-job"
JOB_ID = "2026-01-01_00_00_00-{}"

# What a job says of its end.
TRACEBACK = """Error message from worker: Traceback (most recent call last):
  File "reading.py", line 1, in process
maskmill.tokenizer.errors.InputError: gs://b/x.gz is cut off or damaged near byte 6 of 6 [while running 'Read-42']
"""
OOM = "The worker VM ran out of memory.\nMore of it."
ATTEMPTED = "The job failed because a work item was attempted 4 times without success."


class FakeDataflow(AbstractContextManager["FakeDataflow"]):
    """Takes jobs, gives them ids, and lets each go through `states`, one a look; the last one stays."""

    def __init__(
        self,
        states: Sequence[str] = ("JOB_STATE_PENDING", "JOB_STATE_RUNNING", "JOB_STATE_DONE"),
        errors: Sequence[str] = (),
        counters: Mapping[str, int] | None = None,
        refusal: tuple[int, str] | None = None,
    ):
        self.states = list(states)
        self.errors = list(errors)
        self.counters = dict(counters or {})
        self.refusal = refusal  # of a new job or a list of jobs: an HTTP status, and what the service says
        self.jobs: list[dict[str, Any]] = []
        self.requests: list[tuple[str, str, bytes]] = []  # method, path, body
        self.cancelled: list[str] = []
        self.looks = 0
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"service": self}))
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)

    @property
    def url(self) -> str:
        """For `--dataflow_endpoint`: Beam speaks plain HTTP to the name localhost alone."""
        return f"http://localhost:{self._server.server_port}"

    def __enter__(self) -> "FakeDataflow":
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def credentials(self, file: Path) -> Path:
        """A service account's key, in `file`, for which this server gives tokens."""
        account = service_account(f"http://127.0.0.1:{self._server.server_port}/token")
        file.write_text(json.dumps(account))
        return file

    def answer(self, method: str, path: str, body: bytes) -> tuple[int, Any]:
        """The status and the JSON of an answer."""
        self.requests.append((method, path, body))
        parts = urlsplit(path).path.strip("/").split("/")
        if parts == ["token"]:
            return 200, {"access_token": TOKEN, "expires_in": 3600, "token_type": "Bearer"}
        if parts[-1] == "jobs" and method == "POST":
            return self._create(json.loads(body))
        if parts[-1] == "jobs" and method == "GET":
            return (self.refusal[0], _error(*self.refusal)) if self.refusal else (200, {})
        if parts[-1] == "messages":
            return 200, {"jobMessages": [_message(number, text) for number, text in enumerate(self.errors)]}
        if parts[-1] == "metrics":
            return 200, {"metrics": [m for name, value in self.counters.items() for m in _metrics(name, value)]}
        if parts[-2:-1] == ["jobs"] and method == "GET":
            state = self.states[min(self.looks, len(self.states) - 1)]
            self.looks += 1
            return 200, {**self._job(int(parts[-1].rpartition("-")[2])), "currentState": state}
        if parts[-2:-1] == ["jobs"] and method == "PUT":
            self.cancelled.append(parts[-1])
            return 200, {"id": parts[-1]}
        return 404, _error(404, f"{path} is nothing that Dataflow has")

    def _create(self, job: dict[str, Any]) -> tuple[int, Any]:
        if self.refusal:
            return self.refusal[0], _error(*self.refusal)
        self.jobs.append(job)
        return 200, {**self._job(len(self.jobs) - 1), "currentState": "JOB_STATE_PENDING"}

    def _job(self, number: int) -> dict[str, Any]:
        job = self.jobs[number]
        return {"id": JOB_ID.format(number), "name": job["name"], "clientRequestId": job.get("clientRequestId", "")}


def _message(number: int, text: str) -> dict[str, str]:
    return {
        "id": str(number),
        "time": f"2026-01-01T00:00:{number:02}Z",
        "messageText": text,
        "messageImportance": "JOB_MESSAGE_ERROR",
    }


def _metrics(name: str, value: int) -> list[dict[str, Any]]:
    """A counter as the service tells it, twice; Beam cannot read one without the other."""
    context = {"namespace": "maskmill", "step": "s1"}
    return [
        {"name": {"origin": "user", "name": name, "context": each}, "scalar": value}
        for each in (context, {**context, "tentative": "true"})
    ]


def _error(status: int, sentence: str) -> dict[str, Any]:
    return {"error": {"code": status, "message": sentence, "status": "FAILED"}}


class _Handler(BaseHTTPRequestHandler):
    service: FakeDataflow
    protocol_version = "HTTP/1.1"

    def _answer(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        status, answer = self.service.answer(self.command, self.path, body)
        data = json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    do_GET = do_POST = do_PUT = _answer  # noqa: N815

    def log_message(self, *_: object) -> None:
        """Says nothing."""
