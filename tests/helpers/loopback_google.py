"""What of Google is on loopback: a fake Dataflow service, a bucket of the emulator, and credentials for both."""

from dataclasses import dataclass
from pathlib import Path

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


def lead_to(url: str, credentials: Path, patch: pytest.MonkeyPatch) -> None:
    """Leads Google's clients to an emulator, with credentials that a fake service gives tokens for."""
    patch.setenv("STORAGE_EMULATOR_HOST", url)
    patch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(credentials))
    # Else google-auth asks the real Google in the background where the account may be used.
    is_required = "_is_regional_access_boundary_lookup_required"
    patch.setattr(CredentialsWithRegionalAccessBoundary, is_required, lambda _: False)
