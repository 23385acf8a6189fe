"""Numbers in words, as the commands print them."""

BYTE_UNITS = ("kB", "MB", "GB", "TB", "PB", "EB")


def count(number: int, what: str, several: str | None = None) -> str:
    """A number of things in words.

    >>> count(1, "file"), count(1200, "file"), count(2, "copy", "copies")
    ('1 file', '1,200 files', '2 copies')
    """
    return f"{number:,} {what if number == 1 else several or what + 's'}"


def in_bytes(size: float) -> str:
    """A number of bytes in words.

    >>> in_bytes(1), in_bytes(999), in_bytes(1500), in_bytes(999_960), in_bytes(2.5e9), in_bytes(16_542_692e6)
    ('1 byte', '999 bytes', '1.5 kB', '1.0 MB', '2.5 GB', '16.5 TB')
    """
    if round(size) < 1000:
        return count(round(size), "byte")
    power = 1
    while power < len(BYTE_UNITS) and round(size / 1000**power, 1) >= 1000:
        power += 1
    return f"{size / 1000**power:,.1f} {BYTE_UNITS[power - 1]}"


def duration(seconds: float) -> str:
    """A length of time in words, in two units from a minute on.

    >>> duration(0.42), duration(59.6), duration(61), duration(3_599), duration(7_260), duration(258_282)
    ('0.4 s', '1 min', '1 min 1 s', '59 min 59 s', '2 h 1 min', '2 d 23 h')
    """
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    for name, size, smaller, part in (("d", 86_400, "h", 3_600), ("h", 3_600, "min", 60), ("min", 60, "s", 1)):
        if whole >= size:
            parts = whole % size // part
            return f"{whole // size:,} {name}" + (f" {parts} {smaller}" if parts else "")
    return f"{whole} s"
