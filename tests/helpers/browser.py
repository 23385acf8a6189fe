"""A browser for the tests of reports: Chromium as it is installed, or, for `make test`, as Debian's packages have it.

`python tests/helpers/browser.py` installs it where there is none, this is root's, and there is apt-get. The tests
only look.
"""

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from playwright.sync_api import Browser, sync_playwright

NAMES = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
PACKAGE = "chromium-headless-shell"


def find_browser() -> str | None:
    """The path of a Chromium."""
    return next(filter(None, map(shutil.which, NAMES)), None)


@contextmanager
def open_browser() -> Iterator[Browser]:
    """A headless Chromium. Skips the test where there is none."""
    path = find_browser()
    if path is None:
        pytest.skip(f"needs Chromium: one of {', '.join(NAMES)}; as root, make test installs Debian's {PACKAGE}")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path)
        try:
            yield browser
        finally:
            browser.close()


def install_browser() -> str:
    """Installs Chromium where that can be done -> what came of it, in a sentence."""
    if path := find_browser():
        return f"The tests of reports use {path}."
    if os.geteuid() or not shutil.which("apt-get"):
        return (
            f"There is no Chromium, and only root can install {PACKAGE} with apt-get: the tests of reports are skipped."
        )
    for command in (["update"], ["install", "--yes", "--no-install-recommends", PACKAGE]):
        done = subprocess.run(
            ["apt-get", "-qq", *command],
            env={**os.environ, "DEBIAN_FRONTEND": "noninteractive"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
        )
        if done.returncode:
            reason = (done.stderr.strip().splitlines() or ["no reason is told"])[-1]
            return f"apt-get {command[0]} failed ({reason}): the tests of reports are skipped."
    return f"Installed {PACKAGE} for the tests of reports."


if __name__ == "__main__":
    print(install_browser())
