"""What the tests of this folder share: a dataset and a model trained on it, made by the commands."""

import json
from pathlib import Path

import pytest
from command import SMALL, SMALL_BERT, SMALL_TRAIN, run


@pytest.fixture(scope="module")
def folder(tmp_path_factory, corpus_file, small_vocab_file) -> Path:
    """Holds `shards`, `model` and `bert.json`, made by the commands; and what they printed."""
    folder: Path = tmp_path_factory.mktemp("model")
    (folder / "bert.json").write_text(json.dumps({**SMALL_BERT, "max_position_embeddings": 32}))
    run(
        "generate", corpus_file, "--vocab-file", small_vocab_file, "--output", folder / "shards",
        *SMALL, "--eval-fraction", 0.2,
    )  # fmt: skip
    output = run(
        "train", folder / "shards", "--model-dir", folder / "model", "--bert-config", folder / "bert.json", *SMALL_TRAIN
    )
    assert f"Wrote {folder}/model: 6 steps" in output
    return folder
