"""What data holds is shown as it is, but for what would act on a terminal or hide in the text."""

import json

import pytest
from click.testing import CliRunner
from rich.text import Text

from maskmill.deploy.cli import main
from maskmill.deploy.terminal.messages import to_json
from maskmill.deploy.terminal.printable import visible, visible_in_json, visible_in_line
from maskmill.deploy.terminal.tables import new_console, new_table

NORMAL = [
    "plain", "tab\tand\nline end", "naïve café e\u0301", "Ελληνικά", "Русский", "שָׁלוֹם", "العربية ١٢٣",
    "می\u200cخواهم", "ภาษาไทยที่", "क\u200dष", "ত্\u200d ত্\u200d", "中文\u3000字", "한국어", "👍🏽", "❤️",
    "👨\u200d👩\u200d👧", "🏳️\u200d🌈",
    "🏴\U000e0067\U000e0062\U000e0065\U000e006e\U000e0067\U000e007f", "so\u00adft", "a\u00a0b", "\ue000",
]  # fmt: skip
ACTING = [
    *map(chr, {*range(32), *range(127, 160)} - {9, 10}),
    *"\u061c\u200b\u200e\u200f\u2028\u2029\u202a\u202b\u202c\u202d\u202e\u2060\u2066\u2067\u2068\u2069\ufeff\ufffe\ufff9",
    "\U000e0041", "\U000e007f", "\ud800", "\udcff",
]  # fmt: skip


@pytest.mark.parametrize("text", NORMAL)
def test_text_of_every_script_stays_as_it_is(text):
    assert visible(text) == text


@pytest.mark.parametrize("character", ACTING, ids=ascii)
def test_what_acts_or_hides_is_an_escape(character):
    shown = visible(f"a{character}b")
    assert shown == "a" + character.encode("unicode_escape").decode() + "b"
    in_json = to_json({"token": f"a{character}b"})
    assert json.loads(in_json) == {"token": f"a{character}b"}
    assert visible(in_json) == in_json


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a\u200db", r"a\u200db"),
        ("\u200cx", r"\u200cx"),
        ("é\u200cb", r"é\u200cb"),
        ("क\u200d\u200dष", "क" + r"\u200d\u200d" + "ष"),
        ("\U0001f3f4\U000e0067 \U000e007f", "\U0001f3f4" + r"\U000e0067 \U000e007f"),
    ],
)
def test_a_joiner_or_a_tag_that_belongs_to_no_word_is_an_escape(text, shown):
    assert visible(text) == shown


def test_a_line_holds_no_line_end():
    assert visible_in_line("a\nb\tc\r") == r"a\nb\tc\r"
    assert visible_in_json('{\n "a": 1\n}') == '{\n "a": 1\n}'


def test_tables_and_colours_are_rich_s_and_escape_what_is_in_them(capsys):
    console = new_console()
    table = new_table("a\x1b[2J", "b")
    table.add_row("x\u202ey", "")
    console.print(table)
    console.print("[bold]k\x1b[3m[/]", markup=True)
    console.print(Text("\x9b31m", "red"))
    console.print("first\nsecond")
    printed = capsys.readouterr().out
    for shown in (r"a\x1b[2J ", r"x\u202ey ", r"\x9b", "k\\x1b[3m\n", "first\nsecond\n"):
        assert shown in printed
    assert not set("\x1b\x9b\u202e") & set(printed)


@pytest.mark.parametrize(
    "arguments", [["inspect", "no\x1b[31m\n\u202ewhere"], ["in\x1bspect"], ["inspect", "--no\x9bsuch"]]
)
def test_errors_quote_in_one_line_what_was_given(arguments):
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code
    assert "\\x" in result.output
    assert not set("\x1b\x9b\u202e") & set(result.output)
    assert "\n\u202e" not in result.output
