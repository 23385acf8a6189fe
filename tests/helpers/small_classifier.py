"""A small model, and small tables whose labels follow from their words, for the tests of fine-tuning."""

import csv
import hashlib
import json
from pathlib import Path

from maskmill.model.bert.config import BertConfig
from maskmill.model.bert.encoder import BertPretrainer
from maskmill.model.training.checkpoint import save_checkpoint
from maskmill.tokenizer.vocab import SPECIAL_TOKENS

GOOD, BAD, NEUTRAL = ("fine", "lovely", "great"), ("awful", "dull", "poor"), ("the", "film", "was", "really", "so")
TOKENS = [*SPECIAL_TOKENS, *GOOD, *BAD, *NEUTRAL]
CONFIG = BertConfig(
    vocab_size=len(TOKENS),
    hidden_size=16,
    num_hidden_layers=1,
    num_attention_heads=2,
    intermediate_size=32,
    max_position_embeddings=32,
    initializer_range=0.2,
)


def write_model(folder: Path, random_seed: int = 1) -> Path:
    """A model folder as 'maskmill train' leaves it, with new weights."""
    folder.mkdir()
    text = "".join(f"{token}\n" for token in TOKENS)
    training = {
        "backend": "tensorflow",
        "bert_config": vars(CONFIG),
        "train_config": {},
        "phases": [],
        "vocab_sha256": hashlib.sha256(text.encode()).hexdigest(),
        "cased": False,
        "init_checkpoint": None,
    }
    (folder / "training.json").write_text(json.dumps(training))
    (folder / "vocab.txt").write_text(text)
    save_checkpoint(folder, 3, BertPretrainer(CONFIG, random_seed).named_weights, keep=1)
    return folder


def rows(number: int) -> list[dict[str, str]]:
    """So many different rows, half of them `pos` by their one word that is no neutral one."""
    made = []
    for i in range(number):
        word = (GOOD, BAD)[i % 2][i // 2 % 3]
        length = 2 + i % 5
        text = " ".join([*(NEUTRAL[(i // 7 + i * k) % 5] for k in range(length)), word, *["film"] * (i // 30)])
        made.append({"id": str(i), "text": text, "label": ("pos", "neg")[i % 2]})
    return made


def write_csv(path: Path, table: list[dict[str, str]]) -> Path:
    """Rows as a CSV file."""
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, table[0])
        writer.writeheader()
        writer.writerows(table)
    return path
