"""What of Google is on loopback: a fake Dataflow service, a bucket of the emulator, and credentials for both."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from fake_dataflow import FakeDataflow
from google.auth.credentials import CredentialsWithRegionalAccessBoundary
from google.cloud.storage import Bucket


@dataclass(frozen=True)
class Google:
    """What of Google is on loopback."""

    service: FakeDataflow
    bucket: Bucket
    key: str  # the private one

    def play(self, *states: str, errors: tuple[str, ...] = (), **counters: int) -> None:
        """Tells the service what the next job goes through."""
        self.service.states, self.service.errors, self.service.counters = list(states), list(errors), counters
        self.service.looks = 0

    def last_job(self) -> dict[str, Any]:
        return self.service.jobs[-1]

    def staged(self, name: str) -> bytes:
        """A file that the last job has in the bucket."""
        options = self.last_job()["environment"]["sdkPipelineOptions"]["options"]
        folder = options["staging_location"].removeprefix("gs://the-bucket/")
        data: bytes = self.bucket.blob(f"{folder}/{name}").download_as_bytes()
        return data


def lead_to(url: str, credentials: Path, patch: pytest.MonkeyPatch) -> None:
    """Leads Google's clients to an emulator, with credentials that a fake service gives tokens for."""
    patch.setenv("STORAGE_EMULATOR_HOST", url)
    patch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(credentials))
    # Else google-auth asks the real Google in the background where the account may be used.
    is_required = "_is_regional_access_boundary_lookup_required"
    patch.setattr(CredentialsWithRegionalAccessBoundary, is_required, lambda _: False)
