"""The demo in short: every step runs the command that it prints, and a second run repeats nothing."""

from itertools import islice
from pathlib import Path

import pytest
from click.testing import CliRunner

from maskmill.deploy.cli import main
from maskmill.deploy.demo import python_docs, steps
from maskmill.deploy.training import training

pytest.importorskip("tensorflow", reason="needs the [train] extra")


@pytest.fixture
def short_demo(monkeypatch):
    """Eighty documents, a small vocabulary, three steps."""
    monkeypatch.setattr(steps, "collect_documents", lambda: islice(python_docs.collect_documents(), 80))
    monkeypatch.setattr(steps, "VOCAB", "--vocab-size 600")
    monkeypatch.setattr(steps, "TRAIN", "--bert-config tiny --train-batch-size 8 --num-train-steps 3")


def test_the_demo_goes_from_text_to_an_exported_model(tmp_path: Path, short_demo):
    output = tmp_path / "a demo"
    first = CliRunner().invoke(main, ["demo", "--output", str(output)])
    assert first.exit_code == 0, first.output
    for command in ("vocab", "generate", "inspect", "train", "evaluate", "fill-mask", "export"):
        assert f"$ maskmill {command} " in first.output
    for made in ("vocab.txt", "tokens/dataset_info.json", "model/training.png", "huggingface/model.safetensors"):
        assert (output / made).exists()

    before = {path: path.read_bytes() for path in output.rglob("*.tfrecord")}
    second = CliRunner().invoke(main, ["demo", "--output", str(output)])
    assert second.exit_code == 0, second.output
    assert second.output.count("Done before") == 3
    assert {path: path.read_bytes() for path in output.rglob("*.tfrecord")} == before


def test_ctrl_c_in_a_step_ends_the_demo(tmp_path: Path, short_demo, monkeypatch):
    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(training, "train_model", interrupt)
    result = CliRunner().invoke(main, ["demo", "--output", str(tmp_path / "demo")])
    assert result.exit_code == 130
    assert "$ maskmill train" in result.output
    assert "$ maskmill evaluate" not in result.output
    assert not (tmp_path / "demo" / "huggingface").exists()


def test_a_demo_that_was_stopped_at_the_start_can_begin_again(tmp_path: Path, short_demo):
    (tmp_path / ".python_docs.jsonl.gz.tmp").write_text("half")
    steps._write_corpus(tmp_path / "corpus" / "python_docs.jsonl.gz")
    assert [path.name for path in tmp_path.iterdir()] == ["corpus"]


def test_a_folder_with_something_else_is_left_alone(tmp_path: Path):
    (tmp_path / "notes.txt").write_text("mine")
    result = CliRunner().invoke(main, ["demo", "--output", str(tmp_path)])
    assert result.exit_code == 1
    assert "holds something else than a demo" in result.output
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]
