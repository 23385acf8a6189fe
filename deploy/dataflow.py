"""Runs on Google's Dataflow: the options of a job, checked here, and its end, waited for.

Beam is not imported: it makes the job, and what it gives back is asked for its state, its messages and its counters.
"""

import re
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

from tokenizer.errors import InputError, first_line

SECONDS_BETWEEN_LOOKS = 10.0
PATIENCE = 60.0  # seconds: messages of a failed job, and the state of a new one, come late

JOB_NAME = r"[a-z]([-a-z0-9]{0,1022}[a-z0-9])?"
LABEL_KEY = r"[a-z][-_a-z0-9]{0,62}"
LABEL_VALUE = r"[-_a-z0-9]{0,63}"
MAX_LABELS = 64
PROJECT = r"([a-z0-9][-a-z0-9.]*:)?[a-z][-a-z0-9]{4,28}[a-z0-9]"
REGION = r"[a-z]+-[a-z]+[0-9]+"
BUCKET = r"[a-z0-9][-_a-z0-9]{1,61}[a-z0-9]"
BUCKET_WITH_DOTS = r"(?=.{3,222}$)[a-z0-9]([-_a-z0-9]{0,61}[a-z0-9])?(\.[a-z0-9]([-_a-z0-9]{0,61}[a-z0-9])?)+"
ADDRESS = r"\d+\.\d+\.\d+\.\d+"
SERVICE_ACCOUNT = r"[a-z0-9][-a-z0-9.]*@[-a-z0-9.]+\.gserviceaccount\.com"
SUBNETWORK = r"(https://.*/)?regions/(?P<region>[^/]+)/subnetworks/[^/]+"
MACHINE_TYPE = r"[a-z][a-z0-9]*(-[a-z0-9]+)+"

# What would go round the checks here if it stood among Beam's own options.
OURS = {
    "runner": "--runner dataflow",
    "project": "--project",
    "region": "--region",
    "temp_location": "--temp-location",
    "staging_location": "--staging-location",
    "job_name": "--job-name",
    "label": "--label",
    "labels": "--label",
}

# What becomes of an error in a worker: a message that holds the traceback there.
WORKER_ERROR = re.compile(r"tokenizer\.errors\.InputError: (.*?)(?: \[while running|$)", re.MULTILINE)

ENDS = {
    "CANCELLED": "was cancelled; the same command goes on with what is finished",
    "UPDATED": "was replaced by another job; wait for that one",
    "DRAINED": "was drained before its end; the same command goes on with what is finished",
}


def make_job_name() -> str:
    """A job name that no other run has."""
    return f"maskmill-{datetime.now(UTC):%Y%m%d-%H%M%S}-{uuid4().hex[:6]}"


@dataclass(frozen=True)
class DataflowOptions:
    """Where and how a job runs. Raises InputError for what the service would refuse, or Beam silently replace."""

    project: str
    region: str
    temp_location: str  # gs://BUCKET/FOLDER
    staging_location: str | None = None  # None: temp_location
    job_name: str = field(default_factory=make_job_name)
    labels: Mapping[str, str] = field(default_factory=dict)
    worker_machine_type: str | None = None  # None: the service's choice, as for all that follow
    max_num_workers: int | None = None
    disk_size_gb: int | None = None
    network: str | None = None
    subnetwork: str | None = None
    no_public_ips: bool = False
    service_account_email: str | None = None
    sdk_container_image: str | None = None  # one in which maskmill is installed
    beam_options: Sequence[str] = ()

    def __post_init__(self) -> None:
        _check("project", self.project, PROJECT, "a project's id, such as my-project-1", "see 'gcloud projects list'")
        if re.fullmatch(f"{REGION}-[a-z]", self.region):
            raise InputError(f"region {self.region} is a zone; expected its region, {self.region[:-2]}")
        _check("region", self.region, REGION, "one such as us-central1", "see 'gcloud compute regions list'")
        self._check_location("temp_location", self.temp_location)
        if self.staging_location is not None:
            self._check_location("staging_location", self.staging_location)
        _check(
            "job_name",
            self.job_name,
            JOB_NAME,
            "small letters, digits and -, a letter first, no - at the end",
            "leave --job-name out to have one made",
        )
        self._check_labels()
        self._check_workers()
        self._check_beam_options()

    def _check_location(self, name: str, location: str) -> None:
        bucket, _, folder = location.removeprefix("gs://").partition("/")
        # With a location that Beam cannot use it makes a bucket of its own in the project.
        is_bucket = re.fullmatch(BUCKET, bucket) or (
            re.fullmatch(BUCKET_WITH_DOTS, bucket) and not re.fullmatch(ADDRESS, bucket)
        )
        if not location.startswith("gs://") or not is_bucket or re.search(r"[\r\n]|//", folder):
            raise InputError(
                f"{name} {location!r} is no folder of Cloud Storage; expected gs://BUCKET/FOLDER; make a bucket with: "
                f"gcloud storage buckets create gs://BUCKET --location {self.region}"
            )

    def _check_labels(self) -> None:
        if len(self.labels) >= MAX_LABELS:
            raise InputError(f"{len(self.labels)} labels are given; a job has {MAX_LABELS - 1} beside our own at most")
        for key, value in self.labels.items():
            if not re.fullmatch(LABEL_KEY, key) or not re.fullmatch(LABEL_VALUE, value):
                raise InputError(
                    f"label {key}={value} is not valid; expected small letters, digits, _ and -, at most 63 of them "
                    "on each side, a letter first in the key"
                )
            if key == "maskmill":
                raise InputError(f"label {key}={value} is set by maskmill itself, to its version; give another key")

    def _check_workers(self) -> None:
        for name in ("max_num_workers", "disk_size_gb"):
            number = getattr(self, name)
            if number is not None and number < 1:
                raise InputError(f"{name} {number} is too small; expected 1 or more")
        if self.worker_machine_type is not None:
            _check(
                "worker_machine_type",
                self.worker_machine_type,
                MACHINE_TYPE,
                "one such as n2-highmem-4",
                f"see 'gcloud compute machine-types list --filter=zone:{self.region}'",
            )
        if self.subnetwork is not None:
            shape = f"regions/{self.region}/subnetworks/NAME"
            found = re.fullmatch(SUBNETWORK, self.subnetwork)
            if not found or found["region"] != self.region:
                raise InputError(f"subnetwork {self.subnetwork} is not one of the job's region; expected {shape}")
        if self.service_account_email is not None:
            _check(
                "service_account_email",
                self.service_account_email,
                SERVICE_ACCOUNT,
                "one such as NAME@PROJECT.iam.gserviceaccount.com",
                "see 'gcloud iam service-accounts list'",
            )
        if self.sdk_container_image is not None:
            _check(
                "sdk_container_image",
                self.sdk_container_image,
                r"[^\s/]+(/[^\s/]+)+",
                "one such as REGION-docker.pkg.dev/PROJECT/REPOSITORY/IMAGE:TAG",
                "docs/dataflow.md tells how to make it",
            )

    def _check_beam_options(self) -> None:
        for option in self.beam_options:
            name = option.removeprefix("--").partition("=")[0]
            if name in OURS:
                raise InputError(f"{option} stands among Beam's own options; give it as maskmill's {OURS[name]}")

    def to_beam(self, maskmill: str, setup_file: Path | None = None, min_ram: int | None = None) -> list[str]:
        """Options as Beam takes them; `maskmill` is our version, `min_ram` the bytes that a worker needs.

        Without `setup_file` the workers have maskmill from `sdk_container_image`.
        """
        labels = {"maskmill": re.sub(r"[^-_a-z0-9]", "-", maskmill.lower()), **self.labels}
        options = [
            "--runner=DataflowRunner",
            f"--project={self.project}",
            f"--region={self.region}",
            f"--temp_location={_as_folder(self.temp_location)}",
            f"--staging_location={_as_folder(self.staging_location or self.temp_location)}",
            f"--job_name={self.job_name}",
            *(f"--label={key}={value}" for key, value in labels.items()),
            "--no_save_main_session",  # else Beam pickles the launcher's globals: all of ours is in modules
        ]
        for name in ("max_num_workers", "disk_size_gb", "network", "subnetwork", "service_account_email"):
            if (value := getattr(self, name)) is not None:
                options.append(f"--{name}={value}")
        if self.worker_machine_type is not None:
            options.append(f"--machine_type={self.worker_machine_type}")
        if self.no_public_ips:
            options.append("--no_use_public_ips")
        if self.sdk_container_image is not None:
            options.append(f"--sdk_container_image={self.sdk_container_image}")
        if setup_file is not None:
            options.append(f"--setup_file={setup_file.absolute()}")
        if min_ram is not None:
            options.append(f"--resource_hint=min_ram={min_ram}B")  # of all steps: one environment, one fused stage
        return [*options, *self.beam_options]


def _check(name: str, value: str, pattern: str, expected: str, way_out: str) -> None:
    if not re.fullmatch(pattern, value):
        raise InputError(f"{name} {value!r} is not valid; expected {expected}; {way_out}")


def _as_folder(location: str) -> str:
    return location.rstrip("/") + "/"  # to Beam a bucket without it is no place at all


@dataclass(frozen=True)
class SubmittedJob:
    """A job that the service has taken."""

    job_id: str
    project: str
    region: str

    @property
    def console(self) -> str:
        """Where one sees it."""
        return f"https://console.cloud.google.com/dataflow/jobs/{self.region}/{self.job_id}?project={self.project}"

    @property
    def cancel_command(self) -> str:
        """What ends it."""
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
    from google.api_core.exceptions import GoogleAPIError, NotFound
    from google.auth.exceptions import GoogleAuthError
    from google.auth.transport.requests import Request
    from google.cloud.storage import Client
    from requests import RequestException

    try:
        credentials, _ = google.auth.default(["https://www.googleapis.com/auth/cloud-platform"])
        credentials.refresh(Request())  # type: ignore[no-untyped-call]
    except (GoogleAuthError, RequestException) as error:
        raise InputError(_no_credentials(error)) from error
    client = Client(project=options.project, credentials=credentials)
    for location in {options.temp_location: None, options.staging_location or options.temp_location: None}:
        bucket = location.removeprefix("gs://").partition("/")[0]
        try:
            client.get_bucket(bucket)
        except NotFound as error:
            raise InputError(
                f"bucket gs://{bucket} of {location} is not there; make it with: gcloud storage buckets create "
                f"gs://{bucket} --location {options.region} --project {options.project}"
            ) from error
        except (GoogleAPIError, GoogleAuthError, RequestException) as error:
            raise InputError(
                f"bucket gs://{bucket} cannot be used ({first_line(error)}); you need roles/storage.objectUser and "
                "roles/storage.bucketViewer on it"
            ) from error


def _no_credentials(error: Exception) -> str:
    return (
        f"no usable Google credentials are found here ({first_line(error)}); "
        "run 'gcloud auth application-default login', or set GOOGLE_APPLICATION_CREDENTIALS"
    )


@contextmanager
def submission(options: DataflowOptions) -> Iterator[None]:
    """Raises what goes wrong while Beam stages and submits a job as InputError; removes Beam's temporary files."""
    from google.api_core.exceptions import GoogleAPIError
    from google.auth.exceptions import GoogleAuthError

    try:
        with _own_temporary_folder():
            yield
    except GoogleAuthError as error:
        raise InputError(_no_credentials(error)) from error
    except GoogleAPIError as error:
        raise InputError(
            f"Dataflow does not take the job {options.job_name} in project {options.project}, {options.region} "
            f"({first_line(error)}); see docs/dataflow.md"
        ) from error
    except OSError as error:
        if "Could not upload" not in str(error):
            raise
        raise InputError(f"{first_line(error)}; see docs/dataflow.md") from error
    except Exception as error:
        if type(error).__name__ != "DataflowJobAlreadyExistsError":
            raise
        raise InputError(
            f"job_name {options.job_name} is that of a job which is running in {options.region}; wait for its end, or "
            "leave --job-name out to have one made"
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
    say: Callable[[str], None],
    count: Callable[[Mapping[str, int]], None] | None = None,
    seconds_between_looks: float = SECONDS_BETWEEN_LOOKS,
    patience: float = PATIENCE,
) -> None:
    """Waits for the end of a job, says each change of its state, and gives `count` its counters, by name.

    Raises InputError with the job's own error where it did not end well. Ctrl-C ends the waiting, not the job.
    """
    job = find_job(result, options)
    if job is None:
        return
    state, since = "", time.monotonic()
    try:
        while True:
            with _asking(job):
                found = str(result.state)
            if found != state:
                state, since = found, time.monotonic()
                say(f"Dataflow job {job.job_id} is {state.lower().replace('_', ' ')}")
            if count:
                count(read_counters(result))
            if state == "DONE":
                return
            if state == "FAILED":
                raise InputError(_tell_failure(job, result, seconds_between_looks, patience))
            if state in ENDS:
                raise InputError(f"Dataflow job {job.job_id} {ENDS[state]} ({job.console})")
            if state == "UNKNOWN" and time.monotonic() - since > patience:
                raise InputError(f"Dataflow does not tell the state of job {job.job_id}; look at {job.console}")
            time.sleep(seconds_between_looks)
    except KeyboardInterrupt:
        say(job.describe())
        raise


@contextmanager
def _asking(job: SubmittedJob) -> Iterator[None]:
    from google.api_core.exceptions import GoogleAPIError
    from google.auth.exceptions import GoogleAuthError
    from requests import RequestException

    try:
        yield
    except (GoogleAPIError, GoogleAuthError, RequestException) as error:
        raise InputError(f"Dataflow does not answer any longer ({first_line(error)}). {job.describe()}") from error


def read_counters(result: Any) -> dict[str, int]:
    """The job's own counters, summed over its steps; none where the service tells none now."""
    from google.api_core.exceptions import GoogleAPIError
    from google.auth.exceptions import GoogleAuthError
    from requests import RequestException

    counters: Counter[str] = Counter()
    # KeyError: Beam's reader needs each counter twice, as committed and as tentative, and the service may be between.
    with suppress(GoogleAPIError, GoogleAuthError, RequestException, KeyError):
        for counter in result.metrics().query()["counters"]:
            value = counter.committed if counter.committed is not None else counter.attempted
            counters[counter.key.metric.name] += int(value or 0)
    return dict(counters)


def _tell_failure(job: SubmittedJob, result: Any, seconds_between_looks: float, patience: float) -> str:
    """One sentence for a failed job: ours, if a step of ours raised it; else the beginning of the service's own."""
    deadline = time.monotonic() + patience
    while not (errors := _read_errors(job, result)) and time.monotonic() < deadline:
        time.sleep(min(seconds_between_looks, 5.0))
    for error in errors:
        if sentence := WORKER_ERROR.search(error):
            return f"{sentence[1]} (Dataflow job {job.job_id}, {job.console})"
    if not errors:
        return f"Dataflow job {job.job_id} failed and says nothing; look at {job.console}"
    error = max(errors, key=_rank)
    return f"Dataflow job {job.job_id} failed: {_shorten(error)}; look at {job.console}"


def _read_errors(job: SubmittedJob, result: Any) -> list[str]:
    client = result._runner.dataflow_client  # Beam has no public way to a job's messages
    with _asking(job):
        messages, _ = client.list_messages(job.job_id, minimum_importance="JOB_MESSAGE_ERROR")
        return [str(message.message_text) for message in messages]


def _rank(error: str) -> int:
    """The higher, the more it explains: 'work item was attempted 4 times' stands beside what went wrong in it."""
    return -1 if "work item was attempted" in error.lower() else 1 if "Traceback" in error else 0


def _shorten(error: str) -> str:
    """What was raised, which is a traceback's last line; else the first."""
    lines = [line.strip() for line in error.strip().splitlines() if line.strip()]
    return (lines[-1] if "Traceback" in error else lines[0]).rstrip(".")
