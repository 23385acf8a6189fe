"""Of docs/parity.md: that each test which is said to hold a rule exists, and that each rule and repair has one."""

import re

import pytest
from documentation import read_page
from places import TESTS

PAGE = read_page("parity.md")
NAMED = re.findall(r"`(test_\w+\.py)::(test_\w+)`", PAGE)


def rows_of(section):
    """The rows of the tables of a section, each as its cells."""
    _, _, rest = PAGE.partition(f"\n## {section}\n")
    lines = rest.partition("\n## ")[0].splitlines()
    tables = [line for line, before in zip(lines[1:], lines) if line.startswith("|") and before.startswith("|")]
    return [line.strip("|").split(" | ") for line in tables if not line.startswith("|---")]


@pytest.mark.parametrize(("file", "test"), sorted(set(NAMED)))
def test_every_named_test_exists(file, test):
    assert any(re.search(rf"^def {test}\(", path.read_text(), re.MULTILINE) for path in TESTS.rglob(file))


@pytest.mark.parametrize(("section", "at_least"), [("The rules", 30), ("Repairs", 8)])
def test_every_rule_and_repair_names_a_test_that_holds_it(section, at_least):
    rows = rows_of(section)
    assert len(rows) >= at_least  # else the tables are not found
    assert [row for row in rows if "`test_" not in row[-1]] == []
