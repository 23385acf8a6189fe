"""Where and how a job runs on Google's Dataflow: options, checked here."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from uuid import uuid4

from maskmill.tokenizer.errors import InputError

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
            raise InputError(f"region {self.region} is a zone", expected=f"its region, {self.region[:-2]}")
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
                f"{name} {location!r} is no folder of Cloud Storage",
                expected="gs://BUCKET/FOLDER",
                way_out=f"make a bucket with: gcloud storage buckets create gs://BUCKET --location {self.region}",
            )

    def _check_labels(self) -> None:
        if len(self.labels) >= MAX_LABELS:
            raise InputError(
                f"{len(self.labels)} labels are given", way_out=f"a job has {MAX_LABELS - 1} beside our own at most"
            )
        for key, value in self.labels.items():
            if not re.fullmatch(LABEL_KEY, key) or not re.fullmatch(LABEL_VALUE, value):
                raise InputError(
                    f"label {key}={value} is not valid",
                    expected=(
                        "small letters, digits, _ and -, at most 63 of them on each side, a letter first in the key"
                    ),
                )
            if key == "maskmill":
                raise InputError(
                    f"label {key}={value} is set by maskmill itself, to its version", way_out="give another key"
                )

    def _check_workers(self) -> None:
        for name in ("max_num_workers", "disk_size_gb"):
            number = getattr(self, name)
            if number is not None and number < 1:
                raise InputError(f"{name} {number} is too small", expected="1 or more")
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
                raise InputError(f"subnetwork {self.subnetwork} is not one of the job's region", expected=f"{shape}")
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
                raise InputError(
                    f"{option} stands among Beam's own options", way_out=f"give it as maskmill's {OURS[name]}"
                )

    @property
    def worker_processors(self) -> int:
        """Of a machine, as far as the name of its type tells it."""
        name = self.worker_machine_type or ""
        number = re.search(r"custom-(\d{1,4})-\d+", name) or re.search(r"-(\d{1,4})(-lssd)?$", name)
        return int(number[1]) if number else 1

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
        raise InputError(f"{name} {value!r} is not valid", expected=f"{expected}", way_out=f"{way_out}")


def _as_folder(location: str) -> str:
    return location.rstrip("/") + "/"  # to Beam a bucket without it is no place at all
