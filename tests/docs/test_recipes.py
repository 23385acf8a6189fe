"""Every recipe of docs/recipes.md works: its commands, in their order, at a size that is soon done."""

import re

import pytest
from click.testing import CliRunner
from recipes import CORPUS, PAGE, SMALL, SMALL_GOOGLE, TOY, corpus_documents, lay_out, recipes
from small_text import TEXT

from maskmill.deploy.cli import main

RECIPES = recipes()
POEM = "床前看月光，疑是地上霜。舉頭望明月，低頭思故鄉。"


def toy_books():
    """Forty documents of paragraphs, all different."""
    words = f"{TEXT} he opened the door and went out".split()
    for document in range(40):
        sentences = (
            " ".join(
                words[(document * 7 + line * 3 + place) % len(words)] for place in range(4 + (document + line) % 9)
            )
            for line in range(3 + document % 12)
        )
        yield {"title": f"Document {document}", "text": "\n\n".join(f"{one.capitalize()}." for one in sentences)}


def toy_poems():
    """Sixty poems of the same signs in other orders."""
    signs = [sign for sign in POEM if sign not in "，。"]
    for poem in range(60):
        lines = (
            "".join(signs[(poem * 7 + line * 3 + place * (1 + poem % 5)) % 20] for place in range(5))
            for line in range(8)
        )
        yield {"title": f"poem {poem}", "text": "。".join(lines) + f"。{POEM}"}


def follow(commands, size):
    """What each command of a recipe prints. compare may end with 1, which says that two datasets differ."""
    printed = []
    for command in commands:
        words = size.apply(command)
        result = CliRunner(env={"COLUMNS": "200"}).invoke(main, words)
        assert result.exit_code in ((0, 1) if words[0] == "compare" else (0,)), f"{words}\n{result.output}"
        printed.append(result.output)
    return printed


@pytest.mark.parametrize(
    "recipe", [pytest.param(name, marks=[] if name[0] in "13" else pytest.mark.slow) for name in RECIPES]
)
def test_the_commands_of_a_recipe_work(recipe, tmp_path, monkeypatch):
    lay_out(tmp_path, toy_books(), toy_poems())
    monkeypatch.chdir(tmp_path)
    printed = follow(RECIPES[recipe], TOY)
    for command, text in zip(RECIPES[recipe], printed):
        if command[0] == "train":
            assert "Wrote model: " in text
        if command[0] == "validate":
            assert ": valid; " in text
        if command[0] == "compare":
            assert "A and B " in text


@pytest.mark.slow
@pytest.mark.skipif(not CORPUS.is_dir(), reason=f"{CORPUS} is not there, which only those have who work on maskmill")
@pytest.mark.parametrize("recipe", RECIPES)
def test_the_commands_of_a_recipe_work_on_real_text(recipe, tmp_path, monkeypatch):
    lay_out(tmp_path, corpus_documents("books.jsonl.gz"), corpus_documents("zh_poems.jsonl.gz"))
    monkeypatch.chdir(tmp_path)
    follow(RECIPES[recipe], SMALL_GOOGLE if "Google" in recipe else SMALL)


def test_every_recipe_is_found_with_all_of_its_commands():
    assert [title.partition(".")[0] for title in RECIPES] == ["1", "2", "3", "4", "5"]
    assert sum(map(len, RECIPES.values())) == len(re.findall(r"^\$ maskmill ", PAGE, re.MULTILINE))
    for commands in RECIPES.values():
        assert {"generate", "validate", "train"} <= {command[0] for command in commands}


def test_sizes_are_replaced_and_nothing_else_is():
    command = ["train", "--phase", "shards/seq128:900000", "--bert-config", "base", "--eval-every", "5"]
    assert TOY.apply(command) == [
        "train",
        "--phase",
        "shards/seq32:3",
        "--bert-config",
        "toy.json",
        "--eval-every",
        "2",
    ]
    assert TOY.apply(["vocab", "x", "--output", "v"]) == ["vocab", "x", "--output", "v", "--vocab-size", "500"]
