import io
import os
import pty
from contextlib import redirect_stdout

import pytest
from rich.console import Console

from maskmill.deploy.terminal import progress
from maskmill.deploy.terminal.tables import new_console, new_talk, show_summary
from maskmill.pipeline.dataset.schema import DatasetInfo, ShardInfo


@pytest.mark.parametrize("open_both", [os.pipe, pty.openpty])
def test_work_that_lasts_goes_on_when_its_reader_is_gone_or_its_terminal_closed(open_both):
    reader, writer = open_both()
    with os.fdopen(writer, "w") as stdout, redirect_stdout(stdout):
        console = new_console(lasting=True)
        assert console.is_terminal == (open_both is pty.openpty)
        with console.status("at work"):
            console.print("read")
            assert os.read(reader, 1000)
            os.close(reader)
            console.print("unread")


@pytest.mark.parametrize("lasting", [False, True])
def test_text_is_printed_as_it_is(capsys, lasting):
    text = "gs://bucket/a:b:c :smile: [bold]1[/bold]"
    new_console(lasting=lasting).print(text)
    assert capsys.readouterr().out == f"{text}\n"


@pytest.mark.parametrize(("is_terminal", "term", "lines"), [(True, "dumb", 1), (False, "xterm", 1), (True, "xterm", 0)])
def test_where_no_bar_can_be_drawn_a_line_is_printed_now_and_then(monkeypatch, is_terminal, term, lines):
    file = io.StringIO()
    bar = progress.Bar(Console(file=file, force_terminal=is_terminal, _environ={"TERM": term}), "begins")
    bar.print_line("too soon")
    monkeypatch.setattr(progress, "SECONDS_BETWEEN_LINES", 0)
    bar.print_line("half")
    assert file.getvalue().splitlines() == ["half"] * lines


def test_work_goes_on_in_a_process_without_stdout():
    with redirect_stdout(None):
        new_console(lasting=True).print("unread")
        new_talk().print("unread")


@pytest.mark.parametrize(("truncated", "is_said"), [(0, False), (5_000, True)])
def test_truncation_is_warned_of_only_where_tokens_are_truncated(capsys, truncated, is_said):
    train = {
        "tokens": 10_000,
        "sentences": 100,
        "instances": 100,
        "instance_tokens": 10_000,
        "truncated_tokens": truncated,
    }
    shard = ShardInfo("instances-00000-of-00001.tfrecord", "train", 0, 0, examples=100, bytes=100_000, sha256="0" * 64)
    config = {"max_seq_length": 128, "objective": "mlm", "eval_fraction": 0.0}
    info = DatasetInfo(config, 50, "", {"train": train}, (shard,), "0")
    show_summary(new_console(), "out", info, 1.0)
    assert ("33% of the tokens are truncated" in capsys.readouterr().err) == is_said
