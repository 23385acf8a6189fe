"""Numbers in words, as the commands print them."""


def count(number: int, what: str, several: str | None = None) -> str:
    """A number of things in words.

    >>> count(1, "file"), count(1200, "file"), count(2, "copy", "copies")
    ('1 file', '1,200 files', '2 copies')
    """
    return f"{number:,} {what if number == 1 else several or what + 's'}"


def in_bytes(size: float) -> str:
    """A number of bytes in words.

    >>> in_bytes(1500), in_bytes(1_500_000), in_bytes(2.5e9)
    ('1,500 bytes', '1.5 MB', '2.5 GB')
    """
    if size < 1e6:
        return f"{size:,.0f} bytes"
    return f"{size / 1e9:,.1f} GB" if size >= 1e9 else f"{size / 1e6:,.1f} MB"
