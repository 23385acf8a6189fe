"""Of docs/performance.md: that its figures are those of benchmarks/README.md, and its commands can be run."""

import re
import shlex

import pytest
from documentation import ROOT, read_page

MEASURED, _, ESTIMATES = read_page("performance.md").partition("\n## A machine for your corpus\n")
RECORD = (ROOT / "benchmarks/README.md").read_text()
COMMANDS = re.findall(r"`((?:python benchmarks/|make )[^`]*)`", MEASURED)


def rows(text):
    """The rows of its tables, without the lines that head them."""
    lines = text.splitlines()
    return [line for line, before in zip(lines[1:], lines) if line.startswith("|") and before.startswith("|")]


def figures(text):
    """The numbers in it that are measurements: not those of options, names or counts of workers."""
    plain = re.sub(r"`[^`]*`", "", text)
    return set(
        re.findall(r"(?<![\w.,-])\d+(?:,\d{3})*(?:\.\d+)?(?= to |(?: (?:s|MB|GB|ms|%|times|in)\b)?[ ,:|;]|$)", plain)
    )


def test_every_measured_figure_stands_in_the_record():
    wanted = set().union(*map(figures, rows(MEASURED)))
    assert len(wanted) > 35  # else they are not found
    assert {
        figure for figure in wanted if not re.search(rf"(?<![\d.,]){re.escape(figure)}(?![\d]|[.,]\d)", RECORD)
    } == set()


def test_what_is_no_measurement_is_called_an_estimate():
    assert ESTIMATES.strip().startswith("**Estimates**, not measurements.")


@pytest.mark.parametrize("command", COMMANDS)
def test_every_benchmark_and_each_of_its_options_exists(command):
    program, *words = shlex.split(command)
    if program == "make":
        assert re.search(rf"^{words[0]}:", (ROOT / "Makefile").read_text(), re.MULTILINE)
        return
    script = (ROOT / words[0]).read_text()
    for option in filter(re.compile("--").match, words):
        assert f'"{option}"' in script


# Of bench_finetune.py and bench_pretrain.py.
PARTS = {f"benchmarks/{name}.py" for name in ("finetune_tasks", "finetune_torch", "pretrain_torch")}


def test_every_benchmark_is_told_how_to_repeat():
    ours = {f"benchmarks/{path.name}" for path in (ROOT / "benchmarks").glob("*_*.py")} - PARTS
    assert ours == set(re.findall(r"benchmarks/\w+\.py", MEASURED))
