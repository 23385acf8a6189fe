"""Texts per second of `maskmill embed` on this machine, beside Hugging Face's BERT in PyTorch.

    HF_VENV=.venv-hf python benchmarks/bench_embed.py [small base] [--rounds 3] [--texts 2000]

Both sides get the same folder of weights (random ones), the same texts and the same pooling, the mean, and their
vectors are compared. PyTorch runs where `make test-hf` put it. Every measurement is a process of its own, and the
rounds take turns; a process goes over the texts four times: the first is told, and the last, when all is compiled.
Texts are lines of the documentation of the Python packages installed here.
"""

import argparse
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from needs import ROOT, TORCH_PYTHON, leave_out_torch

VOCAB_FILE = ROOT / "tests" / "golden" / "bert-base-uncased-vocab.txt"
TORCH_BATCH_SIZE = 32

# What is measured: side, precision, way.
Side = tuple[str, str, str]  # backend, precision, order of the texts
SIDES = [
    ("tensorflow", "float32", "bins"),
    ("torch", "float32", "sorted"),
    ("torch", "float32", "as they come"),
    ("tensorflow", "bfloat16", "bins"),
    ("torch", "bfloat16", "sorted"),
    ("jax", "float32", "bins"),
]


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("sizes", nargs="*", default=["small"])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--texts", type=int, default=2000)
    parser.add_argument("--batch-tokens", type=int)
    parser.add_argument("--only", nargs="*", help="of the sides, those that begin so")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        print(json.dumps(measure(*json.loads(arguments.child))))
        return
    sides = [side for side in SIDES if not arguments.only or " ".join(side).startswith(tuple(arguments.only))]
    sides = leave_out_torch(sides)
    for size in arguments.sizes:
        with tempfile.TemporaryDirectory() as name:
            compare(Path(name), size, sides, arguments.rounds, arguments.texts, arguments.batch_tokens)


def compare(
    folder: Path, size: str, sides: Sequence[Side], rounds: int, num_texts: int, batch_tokens: int | None
) -> None:
    texts = collect_texts(num_texts)
    (folder / "texts.json").write_text(json.dumps(texts))
    write_model(folder, size)
    results: dict[Side, list[dict]] = {side: [] for side in sides}
    for _ in range(rounds):
        for side in sides:
            results[side].append(run_child(*side, folder, batch_tokens))
    characters = sum(map(len, texts)) / len(texts)
    title = f"{size}, {len(texts):,} texts of {characters:.0f} characters"
    print(f"\n| {title} | texts/s | CPU s | the first time | differs |")
    print("|---|---|---|---|---|")
    exact = np.load(folder / f"{' '.join(sides[0])}.npy")
    for side, found in results.items():
        seconds, cpu, first = (
            statistics.median(one[name] for one in found) for name in ("seconds", "cpu", "first_cpu")
        )
        difference = np.abs(np.load(folder / f"{' '.join(side)}.npy") - exact).max()
        print(
            f"| {', '.join(side)} | {len(texts) / seconds:.0f} | {cpu:.1f} | {first:.1f} | {difference:.0e} |",
            flush=True,
        )


def collect_texts(number: int) -> list[str]:
    from maskmill.deploy.demo.python_docs import collect_documents

    lines = [line.strip() for one in islice(collect_documents(), 2000) for line in one.text.split("\n") if line.strip()]
    return random.Random(0).sample(lines, min(number, len(lines)))


def write_model(folder: Path, size: str) -> None:
    """A folder of Hugging Face's with random weights."""
    from safetensors.numpy import save_file

    from maskmill.model.bert.config import BertConfig
    from maskmill.model.bert.encoder import BertPretrainer
    from maskmill.model.formats.export import hugging_face_weights

    config = BertConfig.preset(size, len(VOCAB_FILE.read_text().splitlines()))
    values = {**asdict(config), "model_type": "bert", "hidden_act": "gelu_new", "architectures": ["BertForPreTraining"]}
    (folder / "config.json").write_text(json.dumps(values))
    save_file(hugging_face_weights(BertPretrainer(config)), folder / "model.safetensors", metadata={"format": "pt"})
    (folder / "vocab.txt").write_text(VOCAB_FILE.read_text())
    tokenizer = {"tokenizer_class": "BertTokenizer", "do_lower_case": True, "model_max_length": 512}
    (folder / "tokenizer_config.json").write_text(json.dumps(tokenizer))


def run_child(side: str, precision: str, way: str, folder: Path, batch_tokens: int | None) -> dict:
    """Measures in a process of its own."""
    python = str(TORCH_PYTHON) if side == "torch" else sys.executable
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", "PYTHONPATH": str(ROOT), "HF_HUB_OFFLINE": "1"}
    environment["KERAS_BACKEND"] = side if side == "jax" else "tensorflow"
    child = json.dumps([side, precision, way, str(folder), batch_tokens])
    output = subprocess.run(
        [python, __file__, "--child", child], env=environment, stdout=subprocess.PIPE, text=True, check=True
    ).stdout
    return json.loads(output.splitlines()[-1])


def measure(side: str, precision: str, way: str, folder: str, batch_tokens: int | None) -> dict:
    texts = json.loads((Path(folder) / "texts.json").read_text())
    embed = torch_embed(folder, precision, way) if side == "torch" else our_embed(folder, precision, batch_tokens)
    seconds, cpu = [], []
    for _ in range(4):
        began, cpu_began = time.perf_counter(), time.process_time()
        vectors = embed(texts)
        seconds.append(time.perf_counter() - began)
        cpu.append(time.process_time() - cpu_began)
    np.save(Path(folder) / f"{side} {precision} {way}.npy", vectors)
    return {"first_cpu": cpu[0], "seconds": seconds[-1], "cpu": cpu[-1]}


def our_embed(folder: str, precision: Any, batch_tokens: int | None):
    from maskmill.model.tasks.embed import Embedder
    from maskmill.model.tasks.embed_config import EmbedConfig
    from maskmill.model.tasks.trained import open_trained

    embedder = Embedder(open_trained(folder, compute_dtype=precision), EmbedConfig(batch_tokens=batch_tokens))
    return lambda texts: np.stack([embedding.vector for embedding in embedder.embed(texts)])


def torch_embed(folder: str, precision: str, way: str):
    """Dynamic padding, scaled_dot_product_attention; sorted by length as sentence-transformers does, or not."""
    import torch
    from transformers import AutoTokenizer, BertModel

    tokenizer = AutoTokenizer.from_pretrained(folder)
    dtype = getattr(torch, precision)
    model = BertModel.from_pretrained(folder, attn_implementation="sdpa", add_pooling_layer=False, dtype=dtype).eval()

    def embed(texts: list[str]) -> np.ndarray:
        order = sorted(range(len(texts)), key=lambda i: -len(texts[i])) if way == "sorted" else range(len(texts))
        vectors = np.empty((len(texts), model.config.hidden_size), np.float32)
        with torch.inference_mode():
            for start in range(0, len(texts), TORCH_BATCH_SIZE):
                numbers = list(order[start : start + TORCH_BATCH_SIZE])
                batch = tokenizer([texts[i] for i in numbers], padding=True, truncation=True, return_tensors="pt")
                states = model(**batch).last_hidden_state.float()
                mask = batch["attention_mask"][:, :, None].float()
                vectors[numbers] = ((states * mask).sum(1) / mask.sum(1)).numpy()
        return vectors

    return embed


if __name__ == "__main__":
    main()
