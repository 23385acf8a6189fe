"""Of docs/python.md: that its Python runs, and that each name that it calls stable is there."""

import re
from importlib import import_module

from documentation import blocks, read_page
from small_dataset import write_dataset

PAGE = read_page("python.md")


def test_its_python_runs(tmp_path, monkeypatch, small_vocab_file):
    write_dataset(tmp_path / "shards", [[8]])
    (tmp_path / "vocab.txt").write_bytes(small_vocab_file.read_bytes())
    monkeypatch.chdir(tmp_path)
    values: dict[str, object] = {}
    for code in blocks(PAGE, "python"):
        exec(code, values)
    assert values["tokens"] == ["the", "cat", "sat", "."]
    assert len(values["records"]) == 8
    assert values["model"].encoder


def test_every_stable_name_can_be_imported():
    names = re.findall(r"^\| `from ([\w.]+) import (\w+)`", PAGE, re.MULTILINE)
    assert len(names) >= 8
    for module, name in names:
        assert getattr(import_module(module), name)
