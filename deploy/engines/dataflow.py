"""Runs jobs on Google's Dataflow: submits them, and waits for their end.

Beam is not imported: it makes the job, and what it gives back is asked for its state, its messages and its counters.
"""

import logging
import os
import tempfile
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass, field
from http import HTTPStatus
from importlib.metadata import version
from typing import Any

from maskmill.deploy.engines.beam_errors import beams_refusals, is_refused_upload, read_worker_error, shorten_error
from maskmill.deploy.engines.dataflow_options import DataflowOptions
from maskmill.deploy.engines.jobs import submit
from maskmill.deploy.engines.remote import run_jobs
from maskmill.deploy.engines.source_package import find_setup_file
from maskmill.pipeline.jobs.jobs import Job
from maskmill.pipeline.processes import hold_back_stderr
from maskmill.pipeline.storage.google_errors import LOG_IN, Refusal, google_errors, read_refusal
from maskmill.pipeline.storage.storage import remove_folder
from maskmill.tokenizer.errors import EndedError, InputError, first_line

SECONDS_BETWEEN_LOOKS = 10.0
PATIENCE = 60.0  # seconds: messages of a failed job, and the state of a new one, come late

ENDS = {
    "CANCELLED": "was cancelled; the same command, without --overwrite, goes on with what is finished",
    "UPDATED": "was replaced by another job; wait for that one",
    "DRAINED": "was drained before its end; the same command, without --overwrite, goes on with what is finished",
}


@dataclass(frozen=True)
class DataflowRunner:
    """Submits jobs to Dataflow."""

    options: DataflowOptions
    name = "dataflow"
    num_workers = 1

    @property
    def billing(self) -> str:
        """The type of the machines; Dataflow's own choice is not known."""
        return self.options.worker_machine_type or "n1-standard-1, Dataflow's default,"

    def submit(self, job: Job, worker_bytes: int | None = None) -> "DataflowJob":
        """Submits a job to machines that hold one process for each processor.

        Raises InputError where the service does not take it.
        """
        options = self.options
        min_ram = worker_bytes and worker_bytes * options.worker_processors
        logging.getLogger("apache_beam").setLevel(logging.CRITICAL)
        sources = nullcontext(None) if options.sdk_container_image else find_setup_file()
        with sources as setup_file, hold_back_stderr(), submission(options), beams_refusals():
            result = submit(job, options.to_beam(version("maskmill"), setup_file, min_ram))
        return DataflowJob(result, options)

    def check(self) -> None:
        """Raises InputError without credentials, or buckets."""
        check_access(self.options)

    def run(self, jobs: Sequence[Job]) -> None:
        """Runs jobs to their end, one after the other."""
        run_jobs(self, jobs)

    @contextmanager
    def scratch(self) -> Iterator[str]:
        """A folder of the bucket for what is temporary."""
        folder = os.path.join(self.options.temp_location, f"maskmill-{uuid.uuid4().hex}")
        try:
            yield folder
        finally:
            remove_folder(folder)


@dataclass
class DataflowJob:
    """A job that was submitted; none where Beam only wrote a template."""

    result: Any  # Beam's PipelineResult
    options: DataflowOptions
    state: str = ""
    counters: Mapping[str, int] = field(default_factory=dict)

    @property
    def description(self) -> str:
        """Its id and the address of its page."""
        job = find_job(self.result, self.options)
        return f"Dataflow job {job.job_id}: {job.console}" if job else "a template of the job"

    def wait(self) -> None:
        """Waits for its end. Raises InputError where it did not end well."""
        wait_for_end(self.result, self.options, self._look)

    def _look(self, state: str, counters: Mapping[str, int]) -> None:
        self.state, self.counters = state, counters

    def leave(self) -> str:
        """What to say when it is not waited for any longer: it goes on."""
        job = find_job(self.result, self.options)
        return job.describe() if job else ""

    def cancel(self) -> None:
        self.result.cancel()


@dataclass(frozen=True)
class SubmittedJob:
    """A job that the service has taken."""

    job_id: str
    project: str
    region: str

    @property
    def console(self) -> str:
        """The address of its page."""
        return f"https://console.cloud.google.com/dataflow/jobs/{self.region}/{self.job_id}?project={self.project}"

    @property
    def cancel_command(self) -> str:
        """The command that cancels it."""
        return f"gcloud dataflow jobs cancel {self.job_id} --region {self.region} --project {self.project}"

    def describe(self) -> str:
        """For whoever does not wait, or not any longer."""
        return f"Dataflow job {self.job_id} goes on there: {self.console} (to end it: {self.cancel_command})"


def find_job(result: Any, options: DataflowOptions) -> SubmittedJob | None:
    """The job behind Beam's PipelineResult; None where Beam only wrote a template."""
    if not getattr(result, "has_job", False):
        return None
    return SubmittedJob(result.job_id(), options.project, options.region)


def check_access(options: DataflowOptions) -> None:
    """Looks for credentials, and with them for the buckets of the job; Beam would go on without, and fail later.

    Raises InputError.
    """
    import google.auth
    from google.auth.transport.requests import Request
    from google.cloud.storage import Client

    try:
        credentials, _ = google.auth.default(["https://www.googleapis.com/auth/cloud-platform"])
        credentials.refresh(Request())  # type: ignore[no-untyped-call]
    except google_errors() as error:
        raise _no_credentials(read_refusal(error)) from error
    client = Client(project=options.project, credentials=credentials)
    for location in {options.temp_location: None, options.staging_location or options.temp_location: None}:
        bucket = location.removeprefix("gs://").partition("/")[0]
        try:
            client.get_bucket(bucket)
        except google_errors() as error:
            refusal = read_refusal(error)
            if refusal.status == HTTPStatus.NOT_FOUND:
                raise InputError(
                    f"bucket gs://{bucket} of {location} is not there",
                    way_out=(
                        f"make it with: gcloud storage buckets create gs://{bucket} --location {options.region} "
                        f"--project {options.project}"
                    ),
                ) from error
            raise InputError(
                f"bucket gs://{bucket} cannot be used ({refusal.says})",
                way_out="you need roles/storage.objectUser and roles/storage.bucketViewer on it",
            ) from error


def _no_credentials(refusal: Refusal) -> InputError:
    return InputError(f"no usable Google credentials are found here ({refusal.says})", way_out=LOG_IN)


@contextmanager
def submission(options: DataflowOptions) -> Iterator[None]:
    """Raises what goes wrong while Beam stages and submits a job as InputError; removes Beam's temporary files."""
    try:
        with _own_temporary_folder():
            yield
    except google_errors() as error:
        refusal = read_refusal(error)
        if refusal.is_of_credentials:
            raise _no_credentials(refusal) from error
        raise InputError(
            f"Dataflow does not take the job {options.job_name} in project {options.project}, {options.region} "
            f"({refusal.says})",
            way_out="see docs/dataflow.md",
        ) from error
    except OSError as error:
        if not is_refused_upload(error):
            raise
        raise InputError(f"{first_line(error)}", way_out="see docs/dataflow.md") from error
    except Exception as error:
        if type(error).__name__ != "DataflowJobAlreadyExistsError":
            raise
        raise InputError(
            f"job_name {options.job_name} is that of a job which is running in {options.region}",
            way_out="wait for its end, or leave --job-name out to have one made",
        ) from error


@contextmanager
def _own_temporary_folder() -> Iterator[None]:
    before = tempfile.tempdir
    with tempfile.TemporaryDirectory(prefix="maskmill-") as folder:
        tempfile.tempdir = folder  # Beam leaves what it builds there
        try:
            yield
        finally:
            tempfile.tempdir = before


def wait_for_end(
    result: Any,
    options: DataflowOptions,
    look: Callable[[str, Mapping[str, int]], None],
    seconds_between_looks: float = SECONDS_BETWEEN_LOOKS,
    patience: float = PATIENCE,
) -> None:
    """Waits for the end of a job; gives its state and its counters to `look` now and then.

    Raises InputError with the job's own error where it did not end well. Ctrl-C ends the waiting, not the job.
    """
    job = find_job(result, options)
    if job is None:
        return
    state, since = "", time.monotonic()
    while True:
        with _asking(job):
            found = str(result.state)
        if found != state:
            state, since = found, time.monotonic()
        look(state, read_counters(result))
        if state == "DONE":
            return
        if state == "FAILED":
            raise _tell_failure(job, result, seconds_between_looks, patience)
        if state in ENDS:
            raise EndedError(f"Dataflow job {job.job_id} {ENDS[state]} ({job.console})")
        if state == "UNKNOWN" and time.monotonic() - since > patience:
            raise InputError(f"Dataflow does not tell the state of job {job.job_id}", way_out=f"look at {job.console}")
        time.sleep(seconds_between_looks)


@contextmanager
def _asking(job: SubmittedJob) -> Iterator[None]:
    try:
        yield
    except google_errors() as error:
        says = read_refusal(error).says
        raise InputError(f"Dataflow does not answer any longer ({says}). {job.describe()}") from error


def read_counters(result: Any) -> dict[str, int]:
    """The job's own counters, summed over its steps; none where the service tells none now."""
    counters: Counter[str] = Counter()
    # KeyError: Beam's reader needs each counter twice, as committed and as tentative, and the service may be between.
    with suppress(*google_errors(), KeyError):
        for counter in result.metrics().query()["counters"]:
            value = counter.committed if counter.committed is not None else counter.attempted
            counters[counter.key.metric.name] += int(value or 0)
    return dict(counters)


def _tell_failure(job: SubmittedJob, result: Any, seconds_between_looks: float, patience: float) -> EndedError:
    """What is known of a failed job: our error, if a step of ours raised one; else the beginning of the service's."""
    deadline = time.monotonic() + patience
    while not (errors := _read_errors(job, result)) and time.monotonic() < deadline:
        time.sleep(min(seconds_between_looks, 5.0))
    for error in errors:
        if ours := read_worker_error(error):
            return EndedError(f"{ours} (Dataflow job {job.job_id}, {job.console})")
    said = f": {shorten_error(max(errors, key=_rank))}" if errors else " and says nothing"
    return EndedError(f"Dataflow job {job.job_id} failed{said}", way_out=f"look at {job.console}")


def _read_errors(job: SubmittedJob, result: Any) -> list[str]:
    client = result._runner.dataflow_client  # Beam has no public way to a job's messages
    with _asking(job):
        messages, _ = client.list_messages(job.job_id, minimum_importance="JOB_MESSAGE_ERROR")
        return [str(message.message_text) for message in messages]


def _rank(error: str) -> int:
    """The higher, the more it explains: 'work item was attempted 4 times' stands beside what went wrong in it."""
    return -1 if "work item was attempted" in error.lower() else 1 if "Traceback" in error else 0
