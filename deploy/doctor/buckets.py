"""`doctor`: whether the buckets of a run are there, near the job, and can be written to."""

import re
from collections.abc import Sequence
from http import HTTPStatus
from typing import TYPE_CHECKING

from maskmill.deploy.doctor.findings import SECONDS, Check, Finding
from maskmill.deploy.doctor.request import Request
from maskmill.deploy.engines.dataflow_options import REGION
from maskmill.pipeline.storage.google_errors import google_errors, read_refusal
from maskmill.pipeline.storage.storage import check_writable, is_remote

if TYPE_CHECKING:
    from google.auth.credentials import Credentials

# https://cloud.google.com/storage/docs/locations: the regions that hold the objects of a bucket in several.
MULTI_REGIONS = {
    "us": r"us-.*",
    "eu": r"europe-(?!west2$|west6$).*",  # London and Zurich are not in the European Union
    "asia": r"asia-.*",
    "nam4": r"us-central1|us-east1",
    "eur4": r"europe-north1|europe-west4",
    "eur5": r"europe-west1|europe-west2",
    "eur7": r"europe-west2|europe-west3",
    "eur8": r"europe-west3|europe-west6",
    "asia1": r"asia-northeast1|asia-northeast2",
}


def list_buckets(request: Request) -> dict[str, list[str]]:
    """The buckets that the run uses, and what for."""
    given = request.engine.given
    places = [
        ("--temp-location", given.get("temp_location")),
        ("--staging-location", given.get("staging_location")),
        *(("INPUT", name) for name in request.inputs),
        ("--vocab-file", request.vocab_file),
        ("--output", request.output),
    ]
    uses: dict[str, list[str]] = {}
    for flag, place in places:
        if place and is_remote(place) and (bucket := bucket_of(place)):
            flags = uses.setdefault(bucket, [])
            if flag not in flags:
                flags.append(flag)
    return uses


def bucket_of(place: str) -> str:
    """The bucket of a place in Cloud Storage.

    >>> bucket_of("gs://the-bucket/a/folder")
    'the-bucket'
    """
    return place.removeprefix("gs://").partition("/")[0]


def check_bucket(
    credentials: "Credentials", bucket: str, flags: Sequence[str], project: str | None, region: str | None
) -> Check[bool]:
    """Whether a bucket is there, and where it is; returns whether to go on with it."""
    from google.cloud.storage import Client

    name, told = f"bucket gs://{bucket}", f"of {', '.join(flags)}"
    where = f"{f' --location {region}' if region else ''}{f' --project {project}' if project else ''}"
    try:
        found = Client(project=project, credentials=credentials).get_bucket(bucket, timeout=SECONDS, retry=None)
    except google_errors() as error:
        refusal = read_refusal(error)
        if refusal.status == HTTPStatus.NOT_FOUND:
            remedy = f"check the name, or make it: gcloud storage buckets create gs://{bucket}{where}"
            yield Finding(name, "wrong", f"{told}: is not there", remedy)
            return False
        if refusal.status == HTTPStatus.FORBIDDEN:
            # Objects may be read and written without the right to look at the bucket; Beam wants it for its folders.
            needed = not {"--temp-location", "--staging-location"}.isdisjoint(flags)
            remedy = "you need" if needed else "to have its region checked, give yourself"
            found_out = f"{told}: may not be looked at ({refusal.says})"
            yield Finding(
                name, "wrong" if needed else "warning", found_out, f"{remedy} roles/storage.bucketViewer on it"
            )
            return True
        found_out = f"{told}: cannot be reached ({type(error).__name__}: {refusal.says})"
        yield Finding(name, "wrong", found_out, "check the network here, and the rights of the credentials above")
        return False
    location, parts = found.location or "", found.data_locations or ()
    if not region:
        yield Finding(name, "ok", f"{told}: in {location}")
    elif holds(location, parts, region):
        yield Finding(name, "ok", f"{told}: in {location}{'' if location.lower() == region else f', with {region}'}")
    else:
        own = location.lower()
        remedy = (
            f"{f'give --region {own}' if re.fullmatch(REGION, own) else f'give a region in {location}'}, or take a "
        )
        remedy += f"bucket of the job's region: gcloud storage buckets create gs://BUCKET{where}"
        found_out = f"{told}: in {location}, the job in {region}; what crosses regions is slower and costs more"
        yield Finding(name, "warning", found_out, remedy)
    return True


def holds(location: str, parts: Sequence[str], region: str) -> bool:
    """Whether a region is one of those in which a bucket's objects lie.

    Args:
        location: the bucket's, a region such as US-CENTRAL1, a multi-region such as EU or a pair such as NAM4.
        parts: the regions of a pair that was put together by its owner, who finds it in a location such as US.
        region: such as us-central1.

    >>> holds("US", [], "us-central1"), holds("EU", [], "europe-west2"), holds("US", ["US-EAST1"], "us-central1")
    (True, False, False)
    """
    if parts:
        return region in [part.lower() for part in parts]
    own = location.lower()
    return own == region or re.fullmatch(MULTI_REGIONS.get(own, "$."), region) is not None


def check_folder(flag: str, location: str) -> Check[None]:
    """Whether the job's own folder can be written to."""
    check_writable(location)
    yield Finding(flag, "ok", f"{location} can be written to")
