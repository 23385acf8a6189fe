import os
import pty
from contextlib import redirect_stdout

import pytest

from deploy.show import new_console


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
