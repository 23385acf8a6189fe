"""Of the pages: that their commands, links and named tests exist, and of docs/training.md that its Python works."""

import re
import shlex
from functools import cache

import click
import pytest
from documentation import (
    PAGES,
    ROOT,
    blocks,
    check_maskmill,
    console_commands,
    fill_in,
    is_maskmill,
    maskmill_commands,
    quoted_commands,
    read_page,
)
from small_dataset import write_both_splits

from maskmill.deploy.cli import main
from maskmill.model.bert.config import PRESETS, BertConfig
from maskmill.model.formats.model_dir import load_model
from maskmill.model.pretraining.recipes import GOOGLE, RECIPES

PAGE = read_page("training.md")
COMMANDS = maskmill_commands()
# The programs of others on the pages; of gcloud's commands tests/docs/test_tpu_page.py has a table.
PROGRAMS = {"pip", "tensorboard", "gcloud", "docker", "make", "python", "export", "echo"}


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_on_every_page_is_one_that_the_command_line_takes(command):
    check_maskmill(list(COMMANDS[command]))


def test_commands_are_found_in_blocks_in_lists_and_in_sentences():
    block = "1. So:\n   ```console\n   $ maskmill vocab a \\\n       --output b\n   wrote\n   ```\n"
    text = f"{block}and `maskmill train --profile`."
    assert [shlex.split(one) for one in console_commands(text)] == [["maskmill", "vocab", "a", "--output", "b"]]
    assert quoted_commands(text) == ["maskmill train --profile"]
    assert fill_in(["train", "--eval-every"]) == ["train", "x", "--eval-every", "1", "--model-dir", "x"]
    with pytest.raises(click.UsageError, match="No such option"):
        check_maskmill(fill_in(["train", "--evaluate-every"]))


@pytest.mark.parametrize("page", PAGES)
def test_no_command_of_ours_stands_where_it_is_not_looked_at(page):
    text = (ROOT / page).read_text()
    shown = [
        line for block in re.findall(r"```(?!console)\w*\n(.*?)```", text, re.DOTALL) for line in block.splitlines()
    ]
    shown += re.findall(r"^ {4}(\$ .*|maskmill .*)", re.sub(r"```.*?```", "", text, flags=re.DOTALL), re.MULTILINE)
    assert [line for line in shown if re.match(r"\s*(\$ )?maskmill [a-z-]+ .*--", line)] == []


@pytest.mark.parametrize("page", PAGES)
def test_other_programs_are_few_and_known(page):
    others = [one for one in console_commands((ROOT / page).read_text()) if not is_maskmill(one)]
    programs = {re.sub(r"^(\w+=\S+ ?)*", "", one).partition(" ")[0] for one in others}
    assert programs <= PROGRAMS | {""}


@cache
def anchors(page: str) -> set[str]:
    """The headings of a page, as links name them."""
    headings = re.findall(r"^#+ (.*)$", (ROOT / page).read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES)
def test_every_link_leads_somewhere(page):
    text = re.sub(r"```.*?```", "", (ROOT / page).read_text(), flags=re.DOTALL)
    for link in re.findall(r"\]\(([^)\s]+)\)", text):
        path, _, anchor = link.partition("#")
        if not link.startswith("http"):
            target = ((ROOT / page).parent / path).resolve() if path else ROOT / page
            assert target.exists(), link
            assert not anchor or anchor in anchors(str(target.relative_to(ROOT))), link


def test_the_readme_leads_to_every_page():
    linked = set(re.findall(r"\]\((docs/[^)#]+)", (ROOT / "README.md").read_text()))
    assert {page for page in PAGES if page.startswith("docs/")} <= linked


@pytest.mark.parametrize("page", PAGES)
def test_every_file_of_the_tests_and_the_code_that_a_page_names_exists(page):
    named = set(
        re.findall(r"`((?:tests|tokenizer|pipeline|model|deploy|benchmarks)/[\w/.]+)`", (ROOT / page).read_text())
    )
    assert {name for name in named if not (ROOT / name).exists()} == set()


def test_every_option_that_the_page_names_is_one_of_ours():
    parameters = [parameter for command in main.commands.values() for parameter in command.params]
    ours = {option for parameter in parameters for option in (*parameter.opts, *parameter.secondary_opts)}
    assert set(re.findall(r"(?<![\w-])--[a-z][a-z0-9-]+", PAGE)) <= ours | {"--logdir"}


def test_every_option_of_train_is_explained():
    for parameter in main.commands["train"].params:
        if parameter.name != "dataset" and "--help" not in parameter.opts:
            assert f"{parameter.opts[0]}" in PAGE


@pytest.mark.parametrize("name", PRESETS)
def test_the_table_of_sizes_is_true(name):
    config = BertConfig.preset(name, 30522)
    sizes = [config.num_hidden_layers, config.hidden_size, config.num_attention_heads]
    weights, memory = f"{config.num_weights / 1e6:,.1f} million", f"{config.num_weights * 16 / 1e9:.2g} GB"
    assert f"| `{name}` | {' | '.join(map(str, sizes))} | {weights} | {memory} |" in PAGE


def test_the_table_of_recipes_is_true():
    for name in vars(GOOGLE):
        values = [getattr(recipe, name) for recipe in (*RECIPES.values(), GOOGLE)]
        cells = " | ".join(f"`{value}`" if isinstance(value, str) else f"{value:g}" for value in values)
        assert f"| `--{name.replace('_', '-')}` | {cells} |" in PAGE


def test_its_python_runs(tmp_path, monkeypatch, capsys):
    (code,) = blocks(PAGE, "python")
    write_both_splits(tmp_path / "shards", [[20]], [[12]])
    monkeypatch.chdir(tmp_path)
    values: dict[str, object] = {}
    exec(code, values)
    assert values["step"] == load_model("model")[1] == 4
    sequence_output, hidden_states, attention_probs = (
        values[name] for name in ("sequence_output", "hidden_states", "attention_probs")
    )
    assert sequence_output.shape == hidden_states[-1].shape == (1, 5, 128)
    assert (len(hidden_states), len(attention_probs)) == (3, 2)
    assert attention_probs[0].shape == (1, 2, 5, 5)
    assert "perplexity" in capsys.readouterr().out
