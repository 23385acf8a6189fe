"""The one error that is meant for the user."""


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


def first_line(error: Exception) -> str:
    """The first line of what a library says, to be quoted in an InputError."""
    return str(error).strip().partition("\n")[0].rstrip(".")
