"""Beam's errors: what a step raised, and what there is of it in text, which is all that engines give."""

import io
import re
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr

from maskmill.tokenizer.errors import EndedError, InputError, first_line

# What an engine makes of an error of ours in a worker: a message that holds the traceback there.
OURS = re.compile(r"tokenizer\.errors\.\w+: (.*?)(?: \[while running|$)", re.MULTILINE)
STATE = re.compile(r"^Pipeline \S+ failed in state FAILED: ")


def raised_by_step(error: Exception) -> BaseException:
    """What a step raised: Beam raises another error in its place, whose text names the step as well."""
    return error.__context__ if getattr(error, "_tagged_with_step", False) and error.__context__ else error


def read_worker_error(message: str) -> EndedError | None:
    """An engine's message -> the error of ours that a worker raised; None when it tells of something else."""
    ours = OURS.search(message)
    return EndedError(ours[1]) if ours else None


def is_refused_upload(error: OSError) -> bool:
    """Whether Beam could not upload what it stages."""
    return "Could not upload" in str(error)


def lacks_job_server(error: RuntimeError) -> bool:
    """Whether Beam could not download its job server for Flink."""
    return "Unable to fetch remote job server jar" in str(error)


@contextmanager
def beams_refusals() -> Iterator[None]:
    """Raises what Beam says against options, and argparse before it exits, as InputError."""
    said = io.StringIO()
    try:
        with redirect_stderr(said):
            yield
    except InputError:
        raise
    except SystemExit as error:
        lines = said.getvalue().strip().splitlines() or ["an option is wrong"]
        raise InputError(f"Beam does not take its options ({lines[-1].rpartition('error: ')[2]})") from error
    except ValueError as error:
        raise InputError(f"Beam does not take its options ({first_line(error)})") from error


def shorten_error(error: str) -> str:
    """Of what an engine says of an error: what was raised, a traceback's last line; else the first."""
    lines = [line.strip() for line in STATE.sub("", error).strip().splitlines() if line.strip()]
    return (lines[-1] if "Traceback" in error else lines[0]).rstrip(".")
