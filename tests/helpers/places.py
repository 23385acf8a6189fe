"""Folders of the checkout that tests read."""

from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
TESTS = ROOT / "tests"
HELPERS = TESTS / "helpers"
GOLDEN = TESTS / "golden"  # outputs of google-research/bert
FIELD = TESTS / "field"  # files as users have them
CORPUS = ROOT.parent / "shared" / "corpus"
