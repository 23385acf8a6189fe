"""A number that several processes add up in a file of this machine."""

from contextlib import suppress


def add_to_tally(path: str, number: int) -> None:
    """Adds a number; a full disk is no matter, for a bar that then stands still."""
    with suppress(OSError), open(path, "a") as file:
        file.write(f"{number}\n")


def read_tally(path: str) -> int:
    """The sum of what was added; 0 where nothing was."""
    with suppress(FileNotFoundError), open(path) as file:
        return sum(map(int, file.read().split()))
    return 0
