"""Of docs/training.md: that its commands and its Python are such as work."""

import re
import shlex

import pytest
from documentation import check_maskmill, commands_in, read_page
from small_dataset import write_both_splits

from deploy.cli import main
from model.config import PRESETS, BertConfig
from model.model_dir import load_model

PAGE = read_page("training.md")


@pytest.mark.parametrize("command", commands_in(PAGE))
def test_every_documented_command_is_one_that_exists(command):
    program, *arguments = shlex.split(command)
    if program == "maskmill":
        check_maskmill(arguments)
    else:
        assert program in ("pip", "tensorboard"), command


def test_every_option_that_the_page_names_is_one_of_ours():
    ours = {option for command in main.commands.values() for parameter in command.params for option in parameter.opts}
    assert set(re.findall(r"(?<![\w-])--[a-z][a-z-]+", PAGE)) <= ours | {"--logdir"}


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


def test_its_python_runs(tmp_path, monkeypatch, capsys):
    (code,) = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
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
