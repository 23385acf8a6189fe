"""Our BERT and Hugging Face's give equal outputs, from one's files and from the other's.

`make test-hf` runs this; `make test` does not. TensorFlow and torch crash each other in one process, so each side runs
in processes of its own; they exchange folders and arrays.
"""

import json
from pathlib import Path

import numpy as np
import pytest
from command import run
from hf_sides import SMALL, keras_side, torch_side, write_inputs

from maskmill.tokenizer.vocab import SPECIAL_TOKENS, Vocab
from maskmill.tokenizer.wordpiece import FullTokenizer

pytestmark = pytest.mark.hf

CONFIGS = {
    "small": SMALL,
    "as wide as base": {"num_hidden_layers": 2, "vocab_size": 30522, "hidden_act": "gelu_pytorch_tanh"},
    "erf": {**SMALL, "hidden_act": "gelu"},
}
OUTPUTS = {
    "masked_lm_loss", "next_sentence_loss", "masked_lm_logits", "next_sentence_logits", "pooled_output",
    "hidden_states", "attention_probs",
}  # fmt: skip


def differences(one: Path, other: Path) -> dict[str, float]:
    """The largest difference of each output."""
    with np.load(one) as a, np.load(other) as b:
        assert set(a) == set(b) == OUTPUTS
        assert all(a[name].shape == b[name].shape for name in a)
        found = {name: float(np.abs(a[name] - b[name]).max()) for name in sorted(a)}
    print("largest differences:", {name: f"{value:.1e}" for name, value in found.items()})
    return found


@pytest.fixture(scope="module", params=CONFIGS)
def made(request, tmp_path_factory):
    """The name of a configuration, and a folder with a BERT of transformers', inputs and its outputs."""
    folder = tmp_path_factory.mktemp("made")
    config = CONFIGS[request.param]
    write_inputs(folder / "inputs.npz", config["vocab_size"])
    torch_side("make", folder / "hf", json.dumps(config), folder / "inputs.npz", folder / "torch.npz")
    return request.param, folder


@pytest.mark.parametrize("backend", ["tensorflow", "jax"])
def test_a_bert_of_transformers_gives_equal_outputs_here(made, tmp_path, backend):
    name, folder = made
    keras_side(backend, folder / "hf", folder / "inputs.npz", tmp_path / "keras.npz")
    largest = max(differences(folder / "torch.npz", tmp_path / "keras.npz").values())
    if name == "erf":  # the other gelu, as the user is told
        assert 1e-5 < largest < 1e-2
    else:
        assert largest < 1e-5


@pytest.fixture(scope="module")
def exported(tmp_path_factory, corpus_file, golden):
    """A folder with `model`, begun with a BERT of transformers' and trained for three steps, and its export."""
    folder = tmp_path_factory.mktemp("exported")
    vocab_file = golden / "bert-base-uncased-vocab.txt"
    config = {**SMALL, "vocab_size": len(Vocab.load(vocab_file))}
    write_inputs(folder / "inputs.npz", config["vocab_size"])
    torch_side("make", folder / "hf", json.dumps(config), folder / "inputs.npz", folder / "torch.npz")
    run(
        "generate", corpus_file, "--vocab-file", vocab_file, "--output", folder / "shards",
        "--max-seq-length", 32, "--max-predictions-per-seq", 5,
    )  # fmt: skip
    run(
        "train", folder / "shards", "--model-dir", folder / "model", "--init-checkpoint", folder / "hf",
        "--num-train-steps", 3, "--train-batch-size", 8, "--learning-rate", 1e-3,
    )  # fmt: skip
    run("export", "--model-dir", folder / "model", "--output", folder / "export")
    return folder


def test_transformers_loads_an_export_whole_and_gives_equal_outputs(exported, tmp_path):
    torch_side("load", exported / "export", exported / "inputs.npz", tmp_path / "torch.npz")
    keras_side("tensorflow", exported / "model", exported / "inputs.npz", tmp_path / "keras.npz")
    assert max(differences(tmp_path / "torch.npz", tmp_path / "keras.npz").values()) < 1e-5
    assert max(differences(tmp_path / "torch.npz", exported / "torch.npz").values()) > 1e-3  # it was trained


def test_texts_have_the_vectors_that_transformers_gives_them(exported, tmp_path, corpus_lines):
    texts = [line for document in corpus_lines for line in document] + ["word " * 200]
    (tmp_path / "texts.json").write_text(json.dumps(texts))
    torch_side("embed", exported / "export", tmp_path / "texts.json", tmp_path / "torch.npz")
    (tmp_path / "texts.txt").write_text("\n".join(texts))
    with np.load(tmp_path / "torch.npz") as expected:
        for name in expected:
            way = ["--layers", name] if "," in name else ["--pooling", name]
            output = ["--output", tmp_path / "vectors.npy", "--overwrite"]
            run("embed", tmp_path / "texts.txt", "--model-dir", exported / "export", *output, *way)
            difference = float(np.abs(np.load(tmp_path / "vectors.npy") - expected[name]).max())
            print(f"largest difference of {name}: {difference:.1e}")
            assert difference < 1e-5


def test_an_export_can_be_begun_with_again(exported, tmp_path):
    for name in ("model", "export"):
        keras_side("tensorflow", exported / name, exported / "inputs.npz", tmp_path / f"{name}.npz")
    assert max(differences(tmp_path / "model.npz", tmp_path / "export.npz").values()) == 0


def test_the_tokenizer_of_transformers_gives_our_ids(exported, tmp_path, golden_lines, bert_vocab):
    texts = [[case["text"]] for case in golden_lines if case["do_lower_case"]]
    texts = [text for text in texts if not any(token in text[0] for token in SPECIAL_TOKENS)]
    texts += [["supercalifragilistic" * 9], ["One sentence.", "Another one"]]
    (tmp_path / "texts.json").write_text(json.dumps(texts))
    torch_side("tokens", exported / "export", tmp_path / "texts.json", tmp_path / "ids.json")
    tokenizer = FullTokenizer(bert_vocab, cased=False)
    cls, sep = bert_vocab.ids["[CLS]"], bert_vocab.ids["[SEP]"]
    expected = [[cls, *(id for part in text for id in (*tokenizer.encode(part), sep))] for text in texts]
    ids = json.loads((tmp_path / "ids.json").read_text())
    assert len(ids) > 800
    different = [text for text, a, b in zip(texts, ids, expected) if a != b]
    assert len(different) == 2  # of the classes of characters that tests/tokenizer/test_huggingface.py holds
