"""What the checks of `doctor` find, and how they run: an error in one stops no other."""

from collections.abc import Generator
from dataclasses import dataclass
from typing import Literal, TypeAlias, TypeVar

from maskmill.tokenizer.errors import InputError, first_line

State = Literal["ok", "warning", "wrong"]
T = TypeVar("T")

SECONDS = 10  # that a check waits for a network, at the most


@dataclass(frozen=True)
class Finding:
    """One line of what `doctor` says."""

    check: str
    state: State
    found: str
    remedy: str = ""


# A check yields its findings and returns what later checks need.
Check: TypeAlias = Generator[Finding, None, T]


def attempt(name: str, check: Check[T]) -> Check[T | None]:
    """The findings of a check, its error being one of them, and what it returns; None after an error."""
    try:
        return (yield from check)
    except InputError as error:
        yield wrong(name, error)
    except ModuleNotFoundError as error:
        yield Finding(name, "wrong", f"{error.name} is not installed", "in maskmill's folder run: pip install .")
    except OSError as error:
        yield Finding(name, "wrong", f"cannot be looked at: {first_line(error)}", "check the path and its permissions")
    except Exception as error:  # a bug of ours in one check must not hide what the others find
        found = f"this check failed itself: {type(error).__name__}: {first_line(error)}"
        yield Finding(name, "wrong", found, "report it as a bug of maskmill")
    return None


def wrong(name: str, error: Exception) -> Finding:
    """An error of ours as a finding: what is the matter stands before the first semicolon, the way out after it.

    >>> wrong("x", InputError("v.txt has no [MASK]; train a vocabulary"))
    Finding(check='x', state='wrong', found='v.txt has no [MASK]', remedy='train a vocabulary')
    """
    found, _, remedy = first_line(error).partition("; ")
    return Finding(name, "wrong", found, remedy)
