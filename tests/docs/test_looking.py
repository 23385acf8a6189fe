"""Of docs/looking.md: that its commands and options are such as exist, and all of them."""

import re
import shlex

import pytest
from documentation import check_maskmill, commands_in, read_page

from maskmill.deploy.cli import main
from maskmill.deploy.datasets.comparison import VERDICTS
from maskmill.deploy.datasets.inspection import MEASURED
from maskmill.pipeline.analysis.compared_stats import (
    ASSUMED_DESIGN_EFFECT,
    SIGNIFICANCE,
    SMALLEST_EFFECT,
    SMALLEST_EFFECT_OF_WORDS,
)

PAGE = read_page("looking.md")


@pytest.mark.parametrize("command", commands_in(PAGE))
def test_every_documented_command_is_one_that_exists(command):
    program, *arguments = shlex.split(command)
    assert program == "maskmill"
    check_maskmill(arguments)


@pytest.mark.parametrize("command", ["inspect", "compare"])
def test_every_option_is_explained(command):
    for parameter in main.commands[command].params:
        for option in parameter.opts:
            assert option in PAGE or not option.startswith("-") or option in ("--help", "--num-workers")


def test_every_option_that_the_page_names_is_one_of_ours():
    ours = {
        option
        for name in ("inspect", "compare")
        for parameter in main.commands[name].params
        for option in parameter.opts
    }
    assert set(re.findall(r"(?<![\w-])--[a-z][a-z-]+", PAGE)) <= ours


def test_its_numbers_and_verdicts_are_those_of_the_code():
    for number in (f"first {MEASURED:,}", f"{ASSUMED_DESIGN_EFFECT:g} times that of", f"below {SMALLEST_EFFECT:g} is",
                   f"below {SMALLEST_EFFECT_OF_WORDS:g},", f"p < {SIGNIFICANCE:g} / 11"):  # fmt: skip
        assert number in " ".join(PAGE.split())
    assert len(VERDICTS) == 5
