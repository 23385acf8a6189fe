"""A walk through all commands: that their names, units, help, --quiet, --json and exit codes are of one kind."""

import json
import os
import re
import shlex
import subprocess
import sys
from collections import defaultdict

import click
import pytest
from all_commands import COMMANDS, EVERYTHING, options_of
from click.shell_completion import get_completion_class
from click.testing import CliRunner
from command import SMALL, maskmill
from documentation import check_maskmill, join_lines, read_page

from maskmill.deploy.cli import main
from maskmill.deploy.terminal.command import WithHelp

COLUMNS = 100


# Options that are another thing in another command, by what differs.
MAY_DIFFER = {
    "--num-workers": {"help", "default"},  # of predict each has a model in memory
    "--cased": {"help", "default"},  # of what is made, or of the text that a model of others gets
    "--eval-fraction": {"help", "default", "type"},  # of documents, or of rows
    "--learning-rate": {"default"},
    # of what is made, or of what is drawn from a dataset of tokens
    **{name: {"help", "default"} for name in ("--objective", "--masked-lm-prob", "--short-seq-prob")},
    "--whole-word-mask": {"help", "default"},
    "--optimizer": {"help", "default", "type"},  # lamb is for the large batches of train
    **{name: {"help", "default"} for name in ("--split", "--label-field", "--eval-file", "--max-rejected")},
    "--input-format": {"help", "default", "type"},  # of documents, of texts, of tables
    "--text-field": {"help", "default"},
    "--id-field": {"help", "default"},
    "--max-seq-length": {"help", "default", "type"},  # of what is made, or of what is read
    "--checkpoint": {"help", "default"},  # predict takes the best
    "--train-batch-size": {"help", "default"},
    "--text-pair-field": {"help", "default"},
    "--output": {"help", "default", "required", "type"},  # files and folders
    "--vocab-file": {"default", "required"},
    "--model-dir": {"help", "type"},  # a folder that train writes, or also what others trained
    "--num-examples": {"help", "default", "type"},  # to show, or to measure on
    "--random-seed": {"help", "default", "type"},  # inspect draws by it only where it is given
    **{name: {"help", "default", "required"} for name in ("--project", "--network", "--subnetwork")},  # of a TPU
    **{name: {"help"} for name in ("--dry-run", "--no-wait", "--json")},
}


def help_of(path):
    result = CliRunner().invoke(main, [*path.split(), "--help"], prog_name="maskmill", terminal_width=COLUMNS)
    assert result.exit_code == 0
    return result.output


def invoke(*words):
    return CliRunner(env={"COLUMNS": "200"}).invoke(main, list(map(str, words)))


@pytest.mark.parametrize("path", EVERYTHING)
def test_every_command_has_a_sentence_and_examples_that_the_command_line_takes(path):
    command = EVERYTHING[path]
    assert isinstance(command, WithHelp)
    assert command.get_short_help_str(200).endswith(".")
    assert 1 <= len(command.examples) <= 4
    for example in command.examples:
        (line,) = join_lines(example)
        program, *words = shlex.split(line)
        assert program == "maskmill"
        assert words[: len(path.split())] == path.split()
        check_maskmill(words)
        assert example in re.sub("^  ", "", help_of(path), flags=re.MULTILINE)


@pytest.mark.parametrize("path", EVERYTHING)
def test_help_fits_the_width_and_has_no_escape_codes(path):
    shown = help_of(path)
    assert max(map(len, shown.splitlines())) <= COLUMNS
    assert "\x1b" not in shown


@pytest.mark.parametrize("path", COMMANDS)
def test_every_option_is_explained_under_a_heading_and_says_its_unit(path):
    shown = help_of(path)
    for option in options_of(COMMANDS[path]):
        assert option.help.endswith("."), option.name
        assert "[default" not in option.help, option.name  # show_default says it
        if option.opts != ["--help"]:
            assert f"\n{option.heading}:\n" in shown
        if not option.is_flag:
            assert not re.match("TEXT|INTEGER|FLOAT", option.make_metavar(click.Context(COMMANDS[path]))), option.name
    assert "\nOptions:\n" not in shown


def test_options_of_one_name_are_one_thing():
    kinds = defaultdict(lambda: defaultdict(set))
    for command in COMMANDS.values():
        for option in options_of(command):
            name = max(option.opts, key=len)
            told = {
                "type": str(option.type.to_info_dict()),
                "metavar": option.metavar,
                "help": option.help,
                "default": (str(option.default), str(option.show_default)),
                "required": option.required,
            }
            for what, value in told.items():
                kinds[name][what].add(value)
    differing = {
        (name, what)
        for name, told in kinds.items()
        for what, values in told.items()
        if len(values) > 1 and what not in MAY_DIFFER.get(name, ())
    }
    assert differing == set()


def test_all_commands_stand_in_a_section():
    for group in (one for one in EVERYTHING.values() if isinstance(one, click.Group)):
        listed = [command for commands in group.sections.values() for command in commands]
        assert listed == list(group.commands.values())


@pytest.mark.parametrize("path", COMMANDS)
def test_every_command_takes_quiet(path):
    assert "--quiet" in help_of(path)


@pytest.mark.parametrize("path", EVERYTHING)
def test_wrong_usage_ends_with_2_and_one_sentence(path):
    result = invoke(*path.split(), "--no-such-option")
    assert result.exit_code == 2
    assert result.stdout == ""
    usage, hint, _, *error = result.stderr.strip().splitlines()
    assert usage.startswith("Usage: ")
    assert hint.endswith("--help' for help.")
    assert len(error) == 1
    assert error[0].startswith("Error: No such option")


def arguments_for(command):
    """Words that a command takes, to call it by."""
    (line,) = join_lines(command.examples[0])
    return shlex.split(line)[1:]


@pytest.mark.parametrize("path", COMMANDS)
def test_ctrl_c_ends_with_130_and_a_sentence(path, monkeypatch):
    command = COMMANDS[path]

    def interrupted(**_):
        raise KeyboardInterrupt

    monkeypatch.setattr(command, "callback", interrupted)
    result = invoke(*arguments_for(command))
    assert result.exit_code == 130
    assert result.stdout == ""
    (sentence,) = result.stderr.strip().splitlines()
    assert re.fullmatch(r"Stopped; .*\.", sentence)


@pytest.mark.parametrize(("name", "exit_code"), [("SIGINT", 130), ("SIGTERM", 143), ("SIGHUP", 129)])
def test_a_command_cleans_up_when_its_process_is_stopped(name, exit_code):
    code = (
        "import os, signal, maskmill.deploy.datasets.inspection\n"
        "def inspect_dataset(*_):\n"
        "    try:\n"
        f"        os.kill(os.getpid(), signal.{name})\n"
        "    finally:\n"
        "        print('cleaned up')\n"
        "maskmill.deploy.datasets.inspection.inspect_dataset = inspect_dataset\n"
        "from maskmill.deploy.cli import main\n"
        "main(['inspect', 'x'])"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (result.returncode, result.stdout) == (exit_code, "cleaned up\n")
    assert result.stderr == "\nStopped; nothing was changed.\n"


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_shells_are_told_how_to_complete(shell, monkeypatch):
    completion = get_completion_class(shell)
    monkeypatch.setattr(completion, "_check_version", lambda *_: None, raising=False)  # which asks the bash of here
    complete = completion(main, {}, "maskmill", "_MASKMILL_COMPLETE")
    assert "_MASKMILL_COMPLETE" in complete.source()
    assert f"_MASKMILL_COMPLETE={shell}_source maskmill" in read_page("command_line.md")
    assert [one.value for one in complete.get_completions([], "e")] == ["evaluate", "export", "embed"]
    assert [one.value for one in complete.get_completions(["tpu"], "st")] == ["status", "stop"]
    assert [one.value for one in complete.get_completions(["generate", "--objective"], "")] == ["nsp", "sop", "mlm"]
    assert [one.type for one in complete.get_completions(["vocab", "--output"], "")] == ["file"]


def test_the_page_names_every_command_that_has_json():
    having = {path for path, command in COMMANDS.items() if any("--json" in one.opts for one in options_of(command))}
    rows = re.findall(r"^\| `([a-z -]+)` \|", read_page("command_line.md").partition("## `--json`")[2], re.MULTILINE)
    assert set(rows) == having


@pytest.fixture(scope="module")
def made(tmp_path_factory, corpus_file, small_vocab_file):
    folder = tmp_path_factory.mktemp("walk")
    words = ["--vocab-file", small_vocab_file, "--output", folder / "shards", *SMALL, "--eval-fraction", 0.2]
    result = invoke("generate", corpus_file, *words, "--json")
    assert result.exit_code == 0, result.output
    assert "Wrote" in result.stderr
    (values,) = json.loads(result.stdout)
    assert values["dataset"] == str(folder / "shards")
    assert values["examples"]["train"] == values["counts"]["train"]["instances"] > 0
    assert values["bytes"] == sum(path.stat().st_size for path in (folder / "shards").glob("*.tfrecord"))
    return folder


def test_quiet_leaves_nothing_of_a_command_that_writes_files(made, corpus_file, small_vocab_file):
    words = ["--vocab-file", small_vocab_file, "--output", made / "again", *SMALL]
    for command in (
        ["vocab", corpus_file, "--output", made / "v.txt", "--vocab-size", 60],
        ["generate", corpus_file, *words],
        ["report", made / "shards", "--output", made / "report.html"],
    ):
        result = invoke(*command, "--quiet")
        assert (result.exit_code, result.stdout) == (0, ""), result.output


def test_quiet_keeps_warnings_which_are_on_stderr_in_any_case(made, corpus_file):
    for quiet in ([], ["--quiet"]):
        result = invoke("vocab", corpus_file, "--output", made / "small.txt", "--overwrite", *quiet)
        assert "30,522 tokens were asked for" in result.stderr
        assert "asked for" not in result.stdout
        assert bool(result.stdout) != bool(quiet)


@pytest.mark.parametrize(
    "command", [["inspect", "-n", 2], ["validate"], ["compare"], ["doctor"]], ids=lambda words: words[0]
)
def test_quiet_keeps_the_result_and_json_is_alone_on_stdout(made, command):
    words = [*command, *([made / "shards"] * (2 if command == ["compare"] else command != ["doctor"]))]
    usual, quiet, as_json = invoke(*words), invoke(*words, "--quiet"), invoke(*words, "--json")
    assert usual.exit_code == quiet.exit_code == as_json.exit_code == 0
    without_times = [re.sub(r"[\d.]+ (s|GB)\b", "", one.stdout) for one in (usual, quiet)]
    assert without_times[0] == without_times[1] != ""
    assert json.loads(as_json.stdout)
    assert as_json.stderr == ""


def test_vocab_tells_what_it_made_as_json(made, corpus_file):
    result = invoke("vocab", corpus_file, "--output", made / "j.txt", "--vocab-size", 60, "--json")
    values = json.loads(result.stdout)
    assert values["vocab_size"] == len((made / "j.txt").read_text().splitlines())
    assert (values["output"], values["documents"]) == (str(made / "j.txt"), 40)
    assert "Wrote" in result.stderr


def test_a_dry_run_is_a_result(made, corpus_file, small_vocab_file):
    words = ["generate", corpus_file, "--vocab-file", small_vocab_file, "--output", made / "none", "--dry-run", *SMALL]
    assert "instances" in invoke(*words, "--quiet").stdout
    values = json.loads(invoke(*words, "--json").stdout)
    assert [one["max_seq_length"] for one in values["estimates"]] == [32]
    assert values["estimates"][0]["shards"] == 2
    assert (values["runner"], values["costs"]) == ("local", [])


@pytest.mark.parametrize("environment", [{"NO_COLOR": "1"}, {"TERM": "dumb"}])
def test_no_colour_where_the_user_wants_none(made, corpus_file, environment):
    """On a terminal, which warnings and tables see."""
    code = (
        "import sys, pty, os\n"
        "os._exit(os.waitstatus_to_exitcode(pty.spawn([sys.executable, '-c',"
        " \"from maskmill.deploy.cli import main; main(prog_name='maskmill')\", *sys.argv[1:]])))"
    )

    def printed(**more):
        outside = {name: value for name, value in os.environ.items() if name not in ("NO_COLOR", "FORCE_COLOR")}
        words = ["inspect", made / "shards", "-n", "1", "--grep", "cats"]
        command = [sys.executable, "-c", code, *map(str, words)]
        environment = {**outside, "TERM": "xterm-256color", "COLUMNS": "200", **more}
        return subprocess.run(command, env=environment, capture_output=True, text=True, stdin=subprocess.DEVNULL).stdout

    coloured = r"\x1b\[(\d+;)*3\dm"
    assert re.search(coloured, printed())
    assert not re.search(coloured, printed(**environment))


def test_a_command_that_fails_ends_with_1_and_a_sentence(tmp_path):
    for path in ("inspect", "validate"):
        result = maskmill(path, tmp_path, "--quiet")
        assert (result.returncode, result.stdout) == (1, "")
        assert result.stderr.startswith("Error: ")
