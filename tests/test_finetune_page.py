"""The Python of the sections "Fine-tune" and "Predict" of docs/using_the_model.md works, and names every option."""

import re

from documentation import blocks, read_page
from small_classifier import rows, write_csv, write_model

from deploy.cli import main
from model.trained import open_trained

PAGE = read_page("using_the_model.md")


def section(name):
    _, _, rest = PAGE.partition(f"\n## {name}\n")
    return rest.partition("\n## ")[0]


def test_its_python_runs(tmp_path, monkeypatch, capsys):
    write_model(tmp_path / "model", random_seed=2)
    write_csv(tmp_path / "reviews.csv", rows(80))
    monkeypatch.chdir(tmp_path)
    values: dict[str, object] = {"trained": open_trained("model")}
    for name in ("Fine-tune", "Predict"):
        (code,) = blocks(section(name), "python")
        exec(code, values)
    assert values["outcome"].is_done
    assert values["logits"].shape == (1, 2)
    assert re.search(r"\{'neg': .*, 'pos': .*\}", capsys.readouterr().out)


def test_every_option_that_the_sections_name_is_one_of_ours():
    ours = {option for command in main.commands.values() for parameter in command.params for option in parameter.opts}
    for name in ("Fine-tune", "Predict"):
        assert set(re.findall(r"(?<![\w-])--[a-z][a-z-]+", section(name))) <= ours
