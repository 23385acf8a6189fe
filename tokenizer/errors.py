"""The one error that is meant for the user."""


class InputError(ValueError):
    """Something the user gave cannot be used.

    Its text is one sentence: the value, what was expected, and the way out. The command line prints that sentence
    and nothing else, also when it was raised in a Beam worker process. Names of files may have bytes that are no UTF-8:
    they are escaped, so that any terminal, file and engine takes the sentence.
    """

    def __init__(self, sentence: str = "") -> None:
        super().__init__(sentence.encode(errors="backslashreplace").decode())


def first_line(error: Exception) -> str:
    """The beginning of what a library says, for a sentence of ours."""
    return str(error).strip().partition("\n")[0].rstrip(".")
