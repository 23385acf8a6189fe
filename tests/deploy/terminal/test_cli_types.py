"""Numbers on the command line, at their edges."""

import click
import pytest
from all_commands import COMMANDS, options_of
from click.testing import CliRunner
from command import refuse

from maskmill.deploy.cli import main
from maskmill.deploy.terminal.cli_types import Bytes, Number, Whole
from maskmill.pipeline.jobs.dag import find_unknown_options

# Taken by Python's int() or float(), or so large or small that what comes behind would fail.
ODD = (
    "nan",
    "inf",
    "-inf",
    "1e999",
    "1e-400",
    "0x10",
    "1_000",
    "１",
    "٣",
    " 1",
    "1 ",
    "1\n",
    "1.2.3",
    "9" * 5000,
)
LARGE = ("1e18", "1" + "0" * 29)
MINIMAL = {"--output": "out.parquet"}  # where the end of the name says the format


def is_numeric(option: click.Option) -> bool:
    return isinstance(option.type, (click.types.IntParamType, click.types.FloatParamType, Bytes))


NUMERIC = [
    pytest.param(path, option, id=f"{path} {option.opts[-1]}")
    for path, command in COMMANDS.items()
    for option in options_of(command)
    if is_numeric(option)
]


def parse(path: str, option: click.Option, value: str) -> click.Context | str:
    """The context of the command where the value is taken, else the sentence that refuses it."""
    command = COMMANDS[path]
    words = [f"{option.opts[-1]}={value}"]
    for parameter in command.params:
        if parameter.required and parameter is not option:
            given = MINIMAL.get(parameter.opts[0], "x")
            words += [given] if isinstance(parameter, click.Argument) else [f"{parameter.opts[0]}={given}"]
    try:
        return command.make_context(path, words)
    except click.UsageError as error:  # whose exit code is 2
        return error.format_message()


def test_every_command_with_numbers_is_walked():
    walked = {parameter.values[0] for parameter in NUMERIC}
    assert {"vocab", "generate", "train", "embed", "finetune", "prune", "predict", "inspect", "tpu watch"} <= walked
    assert len(NUMERIC) > 60


@pytest.mark.parametrize(("path", "option"), NUMERIC)
def test_what_is_no_number_is_refused_in_one_sentence_that_names_it(path, option):
    for value in ODD:
        sentence = parse(path, option, value)
        assert isinstance(sentence, str), value
        assert " is given; expected a" in sentence
        assert option.opts[-1] in sentence
        assert len(sentence) < 250
        assert sentence.isprintable()
    assert "it is empty; expected" in parse(path, option, "")


@pytest.mark.parametrize(("path", "option"), NUMERIC)
def test_a_number_of_any_size_is_taken_or_refused(path, option):
    for value in (*LARGE, "-1", "0", "-1e18", "1e-300"):
        found = parse(path, option, value)
        if isinstance(found, str):
            assert "is given; expected a" in found
            assert value in found
        elif isinstance(option.type, Whole):
            (given,) = found.params[option.name] if option.multiple else (found.params[option.name],)
            assert abs(given) < 1 << 63


@pytest.mark.parametrize(
    ("kind", "text", "number"),
    [
        (Whole(), "007", 7),
        (Whole(0, 5), "+5", 5),
        (Number(), "1e-3", 0.001),
        (Number(0, 1), ".5", 0.5),
        (Number(0, 1), "0e0", 0.0),
        (Number(), "5.", 5.0),
        (Bytes(), "1.5e9", 1_500_000_000),
        (Bytes(), "8gb", 8_000_000_000),
        (Bytes(), "500 MB", 500_000_000),
    ],
)
def test_numbers_are_taken_as_one_writes_them(kind, text, number):
    assert kind.convert(text, None, None) == number


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--dupe-factor", "0"], "dupe_factor is 0; expected 1 to 10,000 copies"),
        (["--max-predictions-per-seq", "0"], "max_predictions_per_seq is 0; expected 1 to 125"),
        (["--memory-limit", "0"], "0 is given; expected a number of bytes such as 500MB or 8GB"),
        (["--masked-lm-prob", "nan"], "nan is given; expected a finite number such as 0.1"),
        (["--max-rejected", "2"], "2 is given; expected a number of at least 0 and at most 1"),
        (["--num-workers", "1000000"], "1000000 is given; expected a whole number from 1 to 1,000"),
        (["--id-field", ""], "it is empty; expected FIELD"),
        (["--num-workers", "1\x1b[31m"], r"1\x1b[31m is given"),
    ],
)
def test_wrong_usage_says_the_value_and_what_was_expected(words, sentence):
    result = CliRunner().invoke(main, ["generate", "x", "--vocab-file", "v", "--output", "o", *words])
    assert result.exit_code == 2
    assert sentence in result.output


def generate(*words: str) -> str:
    return refuse("generate", "x", "--vocab-file", "v", "--output", "o", *words, exit_code=2)


def test_a_length_that_is_given_twice_is_named():
    lengths = ["--max-seq-length", "64", "--max-seq-length", "128", "--max-seq-length", "128"]
    assert "--max-seq-length 128 is given 2 times" in generate(*lengths)


def test_a_misspelt_option_of_beam_is_refused_with_the_right_one_and_others_pass():
    flink = ["--runner", "flink", "--flink-master", "localhost:1", "--"]
    assert generate(*flink, "--flink_verson=1.19").endswith("is not an option of Beam; did you mean --flink_version?")
    assert find_unknown_options(["--flink_version=1.19", "--object_reuse", "--experiments=a"]) == {
        "--object_reuse": None
    }


@pytest.mark.parametrize("path", COMMANDS)
def test_help_shows_no_range_that_is_none(path):
    result = CliRunner().invoke(main, [*path.split(), "--help"])
    assert result.exit_code == 0
    assert "<=None" not in result.output
