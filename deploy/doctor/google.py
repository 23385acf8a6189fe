"""`doctor`: whether Google lets the run do what it needs: its credentials, its buckets, Dataflow."""

import os
import re
import warnings
from functools import partial
from typing import TYPE_CHECKING, Any

from maskmill.deploy.doctor.buckets import bucket_of, check_bucket, check_folder, list_buckets
from maskmill.deploy.doctor.findings import SECONDS, Check, Finding, attempt
from maskmill.deploy.doctor.installation import check_sources, check_worker_python
from maskmill.deploy.doctor.request import Request
from maskmill.deploy.engines.dataflow_options import DataflowOptions
from maskmill.deploy.engines.engine_options import DATAFLOW
from maskmill.pipeline.storage.google_errors import LOG_IN, google_errors
from maskmill.pipeline.storage.storage import is_remote
from maskmill.tokenizer.errors import first_line

if TYPE_CHECKING:
    from google.auth.credentials import Credentials

SCOPE = "https://www.googleapis.com/auth/cloud-platform"
ENDPOINT = "https://dataflow.googleapis.com"


def check_google(request: Request) -> Check[set[str]]:
    """Everything about Google that the run needs; returns the buckets that can be used."""
    is_dataflow = request.engine.runner == DATAFLOW
    options = (yield from check_options(request)) if is_dataflow else None
    uses = list_buckets(request)
    if not uses and not is_dataflow:
        return set()
    credentials = yield from attempt("credentials", check_credentials(is_dataflow))
    usable = set()
    if credentials:
        project, region = (request.engine.given.get(name) for name in ("project", "region"))
        for bucket, flags in uses.items():
            name = f"bucket gs://{bucket}"
            if (yield from attempt(name, check_bucket(credentials, bucket, flags, project, region))):
                usable.add(bucket)
        for flag in ("--temp-location", "--staging-location"):
            location = request.engine.given.get(flag[2:].replace("-", "_"), "")
            if is_remote(location) and bucket_of(location) in usable:
                yield from attempt(flag, check_folder(flag, location))
    if options and credentials:
        yield from attempt("dataflow", check_dataflow(credentials, options))
    if is_dataflow:
        yield from check_workers(request)
    return usable


def check_options(request: Request) -> Check[DataflowOptions | None]:
    """The options of a job, as the run checks them."""
    if missing := request.engine.list_missing():
        yield Finding(
            "options", "wrong", f"--runner dataflow needs {', '.join(missing)}", "docs/dataflow.md tells what"
        )
        return None
    options = yield from attempt("options", _make_options(request))
    if options:
        told = f"project {options.project}, region {options.region}"
        yield Finding("options", "ok", told)
    return options


def _make_options(request: Request) -> Check[DataflowOptions]:
    yield from ()
    return request.engine.make_dataflow_options(request.beam_options)


def check_credentials(is_needed: bool) -> Check["Credentials | None"]:
    """Whose credentials are found here, and whether they still give a token. Tells no secret."""
    import google.auth
    from google.auth.credentials import AnonymousCredentials
    from google.auth.transport.requests import Request as Transport

    if (emulator := os.environ.get("STORAGE_EMULATOR_HOST")) and not is_needed:
        yield Finding("credentials", "ok", f"not needed: STORAGE_EMULATOR_HOST is {emulator}")
        return AnonymousCredentials()  # type: ignore[no-untyped-call]
    # Where there are none, the search ends with waiting for a machine of Google's: 3 s, not 20.
    os.environ.setdefault("GCE_METADATA_DETECT_RETRIES", "1")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of a login without a project that pays for requests
            credentials, _ = google.auth.default([SCOPE])
        credentials.refresh(partial(Transport(), timeout=SECONDS))  # type: ignore[no-untyped-call]
    except google_errors() as error:
        yield Finding("credentials", "wrong", f"none that can be used are found here ({first_line(error)})", LOG_IN)
        return None
    yield Finding("credentials", "ok", describe_credentials(credentials))
    return credentials


def describe_credentials(credentials: Any) -> str:
    """Who they are, or of which kind where they do not tell."""
    email = getattr(credentials, "service_account_email", None)
    if email and email != "default":
        return f"service account {email}"
    if account := getattr(credentials, "account", None):
        return f"user {account}"
    kind = type(credentials).__module__.rpartition(".")[2]
    return "a user's login" if type(credentials).__module__ == "google.oauth2.credentials" else f"of kind {kind}"


def check_dataflow(credentials: "Credentials", options: DataflowOptions) -> Check[None]:
    """Whether the service answers for this project and region: it is asked for a list of running jobs."""
    from google.auth.transport.requests import AuthorizedSession

    given = [option.partition("=")[2] for option in options.beam_options if option.startswith("--dataflow_endpoint=")]
    url = f"{given[-1] if given else ENDPOINT}".rstrip("/")
    path = f"{url}/v1b3/projects/{options.project}/locations/{options.region}/jobs"
    place = f"project {options.project}, region {options.region}"
    try:
        with AuthorizedSession(credentials) as session:  # type: ignore[no-untyped-call]
            asked = {"filter": "ACTIVE", "pageSize": "1"}
            answer = session.request("GET", path, params=asked, timeout=SECONDS, max_allowed_time=SECONDS)  # type: ignore[no-untyped-call]
    except google_errors() as error:
        remedy = "check the network here, its proxy and its firewall"
        yield Finding(
            "dataflow", "wrong", f"{url} does not answer ({type(error).__name__}: {first_line(error)})", remedy
        )
        return
    if answer.status_code == 200:
        yield Finding("dataflow", "ok", f"{url} answers for {place}")
        return
    reason = _reason_of(answer)
    remedy = {
        401: LOG_IN,
        403: f"you need roles/dataflow.developer in project {options.project}",
        404: "check --project and --region",
        400: "check --project and --region",
    }.get(answer.status_code, "try again later; https://status.cloud.google.com tells of failures")
    if answer.status_code == 403 and re.search(
        r"SERVICE_DISABLED|has not been used|is disabled|not enabled", answer.text
    ):
        remedy = f"gcloud services enable dataflow.googleapis.com --project {options.project}"
    yield Finding("dataflow", "wrong", f"{url} refuses {place} ({answer.status_code} {reason})", remedy)


def _reason_of(answer: Any) -> str:
    """What the service says of a refusal."""
    try:
        return str(answer.json()["error"]["message"]).strip().partition("\n")[0].rstrip(".")
    except (ValueError, KeyError, TypeError):
        return str(answer.reason)


def check_workers(request: Request) -> Check[None]:
    """Whether workers will have the code, and the Python that it was pickled by."""
    if image := request.engine.given.get("sdk_container_image"):
        yield Finding("code of the workers", "ok", f"in {image}, which is not looked at")
        return
    yield from attempt("code of the workers", check_sources())
    yield from attempt("python of the workers", check_worker_python())
