"""The errors of Google's libraries: which they are, and what they say."""

from dataclasses import dataclass

from maskmill.tokenizer.errors import first_line

LOG_IN = "run 'gcloud auth application-default login', or set GOOGLE_APPLICATION_CREDENTIALS"


def google_errors() -> tuple[type[Exception], ...]:
    """What they raise when a service refuses, a network fails or the credentials cannot be used; for `except`."""
    from google.api_core.exceptions import GoogleAPIError
    from google.auth.exceptions import GoogleAuthError
    from google.cloud.storage.exceptions import DataCorruption, InvalidResponse
    from requests import RequestException

    return GoogleAuthError, GoogleAPIError, InvalidResponse, DataCorruption, RequestException


@dataclass(frozen=True)
class Refusal:
    """What one of these errors says."""

    status: int | None  # of HTTP
    is_of_credentials: bool  # they are missing, or give no token
    says: str


def read_refusal(error: Exception) -> Refusal:
    """One of `google_errors` -> what it says."""
    from google.auth.exceptions import GoogleAuthError

    # In the error of a long upload the status is the response's.
    status = getattr(error, "code", None) or getattr(getattr(error, "response", None), "status_code", None)
    return Refusal(status, isinstance(error, GoogleAuthError), first_line(error))
