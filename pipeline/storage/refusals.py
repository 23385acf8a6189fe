"""What stores refuse, in the sentences that are the same in all of them."""

from maskmill.tokenizer.errors import InputError


def already_exists(path: str) -> InputError:
    """An output must not replace a file."""
    return InputError(f"output {path} exists", way_out="give another name, or --overwrite to replace it")


def not_empty(folder: str) -> InputError:
    """A new folder is wanted, and this one has files."""
    return InputError(f"output {folder} is not empty", way_out="give a new or an empty folder")


def changed_meanwhile(path: str) -> InputError:
    """A file is no longer the one that was opened or listed."""
    return InputError("changed while it was read", way_out="run this again when nothing writes to it", path=path)


def written_meanwhile(path: str) -> InputError:
    """Another process wrote an output that this command had claimed."""
    return InputError(
        "was written by something else while this command ran, and was left as it is",
        way_out="give another output, or --overwrite to replace it",
        path=path,
    )
