"""The one error that is meant for the user."""


class InputError(ValueError):
    """Something the user gave cannot be used.

    Its text is one sentence: the value, what was expected, and the way out. The command line prints that sentence
    and nothing else, also when it was raised in a Beam worker process.
    """


def first_line(error: Exception) -> str:
    """The beginning of what a library says, for a sentence of ours."""
    return str(error).strip().partition("\n")[0].rstrip(".")
