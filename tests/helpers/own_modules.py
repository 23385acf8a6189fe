"""Modules of a user's own that are named as folders of the checkout."""

from pathlib import Path

SAYS = "this module is the user's own"


def write_own_modules(folder: Path) -> Path:
    """Writes modules and packages that end whatever imports them; returns the folder."""
    for name in ("model.py", "tokenizer.py", "deploy.py", "pipeline/__init__.py"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(f"raise SystemExit({SAYS!r})\n")
    return folder
