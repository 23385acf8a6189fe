"""The errors that are meant for the user."""

from typing import Any, Self, TypeVar


class InputError(ValueError):
    """Something the user gave cannot be used.

    Its text is one sentence, which the command line prints and nothing else, also when it was raised in a Beam worker
    process. File names may have bytes that are not UTF-8: they are escaped, so that any terminal, file and engine takes
    the sentence.

    Args:
        problem: what is wrong, with the value.
        expected: what was expected in its place.
        way_out: what the user can do.
        path: of the file or folder that has the problem; the sentence begins with it.

    >>> str(InputError("has no [MASK]", way_out="train one with 'maskmill vocab'", path="v.txt"))
    "v.txt has no [MASK]; train one with 'maskmill vocab'"
    """

    def __init__(
        self,
        problem: str = "",
        *,
        expected: str | None = None,
        way_out: str | None = None,
        path: object = None,
    ) -> None:
        self.problem, self.expected, self.way_out = problem, expected, way_out
        self.path = None if path is None else str(path)
        parts = [problem if path is None else f"{path} {problem}"]
        parts += [f"expected {expected}"] if expected else []
        parts += [way_out] if way_out else []
        super().__init__("; ".join(parts).encode(errors="backslashreplace").decode())

    def renamed(self, old: str, new: str) -> Self:
        """The same error with another name in all that it says, such as that of the folder that a copy stands for.

        >>> str(InputError("is damaged", way_out="remove it", path="/tmp/x/weights").renamed("/tmp/x", "gs://b"))
        'gs://b/weights is damaged; remove it'
        """
        fields = {
            name: value.replace(old, new) if isinstance(value, str) else value for name, value in vars(self).items()
        }
        return _restore(type(self), str(self).replace(old, new), fields)

    def __reduce__(self) -> tuple[Any, ...]:  # as kinds of it are made from other arguments
        return _restore, (type(self), str(self), vars(self))


Error = TypeVar("Error", bound=InputError)


def _restore(kind: type[Error], sentence: str, fields: dict[str, Any]) -> Error:
    error = kind.__new__(kind, sentence)
    vars(error).update(fields)
    return error


class DamagedError(InputError):
    """A file is cut off, or is not what it seems to be."""


class NeedsMemoryError(DamagedError):
    """A compressed file is whole, and made to be unpacked with more memory than we give it."""

    def explain(self, path: str) -> InputError:
        """What to tell the user."""
        return InputError(
            f"was compressed so that unpacking it takes much memory ({first_line(self)})",
            way_out=(
                f"compress it again with a window of 128 MB or less, such as: zstd -d --long=31 -c {path} | "
                "zstd -o NEW.zst"
            ),
            path=path,
        )


class EndedError(InputError):
    """What was begun elsewhere, such as a job or a training on a TPU, has ended, and not well: nothing to wait for."""


class HiddenRowsError(InputError):
    """A row of a table may have taken in others."""


class NoRoomError(InputError):
    """A document is longer than there is memory for."""


class NotThereError(InputError):
    """A service does not have what it was asked for."""


class OvertakenError(InputError):
    """Another training has written into the folder since this one did, or began."""


class RecordError(InputError):
    """A record cannot be used; the sentence begins with what `record` calls it."""

    def __init__(self, problem: str, *, record: str, way_out: str | None = None) -> None:
        super().__init__(f"{record}: {problem}", way_out=way_out)
        self.problem, self.record = problem, record


class WorkerLostError(InputError):
    """A worker process ended before its work."""

    def __init__(self) -> None:
        super().__init__(
            "a worker process was killed, most often because memory ran out", way_out="give a smaller --num-workers"
        )


def first_line(error: Exception) -> str:
    """The first line of what a library says, to be quoted in an InputError."""
    return str(error).strip().partition("\n")[0].rstrip(".")
