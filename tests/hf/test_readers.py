"""Of docs/data_format.md: its Python for PyTorch and Hugging Face datasets reads what generate writes."""

import subprocess

import pytest
from command import SMALL, run
from documentation import blocks, read_page
from hf_sides import HF_PYTHON

pytestmark = pytest.mark.hf

*_, NUMPY_ALONE, TORCH, DATASETS, PARQUET = blocks(read_page("data_format.md"), "python")
CHECK_TORCH = """
from transformers import BertConfig, BertForPreTraining

tiny = dict(hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16)
outputs = BertForPreTraining(BertConfig(vocab_size=100, **tiny))(**inputs)
assert 4 < outputs.loss < 7, outputs.loss  # ln(100) + ln(2) = 5.3
assert (inputs["labels"] >= 0).sum() == (next(iter(loader))["masked_lm_weights"] > 0).sum()

def rows(loader):
    return sorted(tuple(row) for batch in loader for row in batch["input_ids"].tolist())

shards = Shards("shards/instances-*", window=8)
of_one, of_two = (rows(torch.utils.data.DataLoader(shards, batch_size=8, num_workers=n)) for n in (0, 2))
assert of_one == of_two == sorted(tuple(e["input_ids"].tolist()) for p in shards.paths for e in read_examples(p))
order = [tuple(e["input_ids"].tolist()) for e in shards]
shards.epoch = 1
assert order != [tuple(e["input_ids"].tolist()) for e in shards]
"""
CHECK_PARQUET = """
assert 4 < losses[0] < 12, losses  # ln(30,522) + ln(2) = 11.0
assert len(losses) == -(-len(rows) // 32)
"""
CHECK_DATASETS = """
assert [e["input_ids"].tolist() for e in dataset] == [e["input_ids"].tolist() for e in examples(paths)]
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory, corpus_file, small_vocab_file):
    folder = tmp_path_factory.mktemp("readers")
    (folder / "shards_reader.py").write_text(NUMPY_ALONE)
    options = ["--vocab-file", small_vocab_file, "--output", folder / "shards", *SMALL, "--shards-per-copy", 2]
    run("generate", corpus_file, *options)
    options[3] = folder / "columns"
    run("generate", corpus_file, *options, "--format", "parquet")
    return folder


@pytest.mark.parametrize(
    ("package", "code"),
    [("torch", TORCH + CHECK_TORCH), ("datasets", DATASETS + CHECK_DATASETS), ("datasets", PARQUET + CHECK_PARQUET)],
)
def test_it_is_read_from_beginning_to_end(folder, package, code):
    if not HF_PYTHON.exists() or subprocess.run([HF_PYTHON, "-c", f"import {package}"]).returncode:
        pytest.skip(f"{HF_PYTHON} with {package} is not there; 'make test-hf' makes it")
    (folder / f"with_{package}.py").write_text(f"{code}\n")
    result = subprocess.run([HF_PYTHON, f"with_{package}.py"], cwd=folder, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr[-4000:]
