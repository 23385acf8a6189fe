"""The Python on the page docs/using_the_model.md works, line after line. (How "Prune" begins: test_prune_dir.py.)"""

import re

import small_classifier
from documentation import blocks, read_page
from small_model import write_model

from maskmill.deploy.cli import main
from maskmill.model.tasks.finetuned import open_finetuned
from maskmill.model.tasks.trained import open_trained

PAGE = read_page("using_the_model.md")


def section(name):
    _, _, rest = PAGE.partition(f"\n## {name}\n")
    return rest.partition("\n## ")[0]


def test_masks_are_filled_and_vectors_made(tmp_path, monkeypatch, capsys, small_vocab):
    write_model(tmp_path / "model", small_vocab)
    monkeypatch.chdir(tmp_path)
    values: dict[str, object] = {}
    for code in blocks(PAGE.partition("\n## Fine-tune\n")[0], "python"):
        exec(code, values)
    assert values["vectors"].shape == (2, 16)
    assert (values["wide"].shape, values["wide"].dtype) == ((1, 32), "float16")
    printed = capsys.readouterr().out
    assert printed.count("%") == 6
    assert "['[CLS]', 'a', '[UNK]', '.', '[SEP]'] (5, 16)" in printed


def test_a_classifier_is_made_used_and_pruned(tmp_path, monkeypatch, capsys):
    small_classifier.write_model(tmp_path / "model", random_seed=2)
    small_classifier.write_csv(tmp_path / "reviews.csv", small_classifier.rows(80))
    monkeypatch.chdir(tmp_path)
    values: dict[str, object] = {"trained": open_trained("model")}
    pages = [blocks(section(name), "python")[-1] for name in ("Fine-tune", "Predict", "Prune")]
    for code in pages:
        exec(code, values)
    assert values["outcome"].is_done
    assert open_finetuned("smaller").model.config.units == (16,)
    assert values["logits"].shape == (1, 2)
    assert re.search(r"\{'neg': .*, 'pos': .*\}", capsys.readouterr().out)


def test_every_option_that_the_sections_name_is_one_of_ours():
    ours = {option for command in main.commands.values() for parameter in command.params for option in parameter.opts}
    for name in ("Fill masks", "Embed", "Fine-tune", "Predict", "Prune"):
        assert set(re.findall(r"(?<![\w-])--[a-z][a-z-]+", section(name))) <= ours
