"""The Python on the page docs/using_the_model.md works, line after line, in one session."""

from documentation import blocks, read_page
from small_model import write_model


def test_its_python_runs(tmp_path, monkeypatch, capsys, small_vocab):
    write_model(tmp_path / "model", small_vocab)
    monkeypatch.chdir(tmp_path)
    values: dict[str, object] = {}
    for code in blocks(read_page("using_the_model.md"), "python"):
        exec(code, values)
    assert values["vectors"].shape == (2, 16)
    assert (values["wide"].shape, values["wide"].dtype) == ((1, 32), "float16")
    printed = capsys.readouterr().out
    assert printed.count("%") == 6
    assert "['[CLS]', 'a', '[UNK]', '.', '[SEP]'] (5, 16)" in printed
