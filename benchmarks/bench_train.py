"""Training speed on this machine, beside Hugging Face's BERT in PyTorch, and what each trick gives.

    python benchmarks/bench_train.py [small base] [--rounds 3] [--variants]

PyTorch runs where `make test-hf` put it, in `.venv-hf`. Every measurement is a process of its own; the rounds take
turns, so that a slow minute of the machine slows all of them down. Sequences of 128 tokens, 20 predictions, 32 in a
batch, BERT's vocabulary size, dropout 0.1 unless said.
"""

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

from needs import ROOT, TORCH_PYTHON, leave_out_torch

BATCH_SIZE, MAX_SEQ_LENGTH, MAX_PREDICTIONS_PER_SEQ, VOCAB_SIZE = 32, 128, 20, 30522
SIZES = {"tiny": (2, 128), "mini": (4, 256), "small": (4, 512), "base": (12, 768)}
STEPS = {"tiny": 20, "mini": 10, "small": 6, "base": 3}

# What is measured: side, precision, dropout, variant.
SIDES = [
    ("tensorflow", "bfloat16", 0.1, ""),
    ("torch", "bfloat16", 0.1, ""),
    ("tensorflow", "bfloat16", 0.0, ""),
    ("torch", "bfloat16", 0.0, ""),
    ("tensorflow", "float32", 0.1, ""),
    ("jax", "float32", 0.1, ""),
    ("jax", "bfloat16", 0.1, ""),
]
VARIANTS = {  # name -> what is taken back; see `take_back`
    "": "all of it",
    "not fused": "plain TensorFlow ops between the products",
    "all XLA": "XLA for the whole step, the products too",
    "stateless_dropout": "TensorFlow's generator for dropout",
    "three projections": "queries, keys and values in three products",
    "last layer whole": "the last layer at all positions, the masked ones gathered after it",
    "head at all positions": "scores of all 128 positions, and not of 20",
    "products of three axes": "activations [batch, seq, hidden] in the products, and not as a matrix",
}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("sizes", nargs="*", default=["small", "base"])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--variants", action="store_true", help="what each trick gives, in place of the sides")
    parser.add_argument("--only", nargs="*", help="of the sides and variants, those that begin so")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        print(json.dumps(measure(*json.loads(arguments.child))))
        return
    from maskmill.model.bert.config import BertConfig
    from maskmill.model.training.flops import train_flops

    sides = [("tensorflow", "bfloat16", 0.1, name) for name in VARIANTS] if arguments.variants else SIDES
    if arguments.only:
        sides = [side for side in sides if describe(side, arguments.variants).startswith(tuple(arguments.only))]
    sides = leave_out_torch(sides)
    peaks = {precision: run_child("peak", precision, 0, "", "")["flops"] for precision in ("float32", "bfloat16")}
    print(
        f"largest matrix product: {peaks['float32'] / 1e9:.0f} GFLOP/s float32, {peaks['bfloat16'] / 1e9:.0f} bfloat16"
    )
    for size in arguments.sizes:
        results: dict[tuple, list[dict]] = {side: [] for side in sides}
        flops = train_flops(BertConfig.preset(size, VOCAB_SIZE), MAX_SEQ_LENGTH, MAX_PREDICTIONS_PER_SEQ)
        for _ in range(arguments.rounds):
            for side in sides:
                results[side].append(run_child(*side, size))
        print(f"\n| {size} | sequences/s | MFU | CPU s a step | peak GB |\n|---|---|---|---|---|")
        for side, found in results.items():
            rate = statistics.median(each["sequences_per_second"] for each in found)
            cpu = statistics.median(each["cpu_seconds"] for each in found)
            mfu = rate * flops / peaks[side[1]]
            memory = max(each["peak_bytes"] for each in found) / 1e9
            row = [f"{rate:.1f}", f"{mfu:.0%}", f"{cpu:.2f}", f"{memory:.1f}"]
            print(f"| {describe(side, arguments.variants)} | {' | '.join(row)} |", flush=True)


def describe(side: tuple, as_variant: bool) -> str:
    return VARIANTS[side[3]] if as_variant else f"{side[0]}, {side[1]}, dropout {side[2]}"


def run_child(side: str, precision: str, dropout: float, variant: str, size: str) -> dict:
    """Measures in a process of its own."""
    python = str(TORCH_PYTHON) if side == "torch" else sys.executable
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", "PYTHONPATH": str(ROOT)}
    environment["KERAS_BACKEND"] = side if side == "jax" else "tensorflow"
    child = json.dumps([side, precision, dropout, variant, size])
    output = subprocess.run(
        [python, __file__, "--child", child], env=environment, stdout=subprocess.PIPE, text=True, check=True
    ).stdout
    return json.loads(output.splitlines()[-1])


def measure(side: str, precision: str, dropout: float, variant: str, size: str) -> dict:
    if side == "peak":
        from maskmill.model.training.flops import measure_peak

        return {"flops": max(measure_peak(precision) for _ in range(3))}
    step = torch_step(size, dropout) if side == "torch" else our_step(size, precision, dropout, variant)
    for _ in range(2):
        step()
    wall, cpu = [], []
    for _ in range(STEPS[size]):
        began, cpu_began = time.perf_counter(), time.process_time()
        step()
        wall.append(time.perf_counter() - began)
        cpu.append(time.process_time() - cpu_began)
    return {
        "sequences_per_second": BATCH_SIZE / statistics.median(wall),
        "cpu_seconds": statistics.median(cpu),
        "peak_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
    }


def make_batch() -> dict:
    import numpy as np

    rng = np.random.default_rng(0)
    shape = BATCH_SIZE, MAX_SEQ_LENGTH
    input_ids = rng.integers(1000, VOCAB_SIZE, shape).astype("int32")
    input_mask, segment_ids = np.ones(shape, "int32"), np.zeros(shape, "int32")
    input_mask[:, 120:] = 0
    segment_ids[:, 60:120] = 1
    places = np.sort(np.argsort(rng.random((BATCH_SIZE, 118)))[:, :MAX_PREDICTIONS_PER_SEQ]) + 1
    return {
        "input_ids": input_ids,
        "input_mask": input_mask,
        "segment_ids": segment_ids,
        "masked_lm_positions": places.astype("int32"),
        "masked_lm_ids": np.take_along_axis(input_ids, places, 1),
        "masked_lm_weights": np.ones(places.shape, "float32"),
        "next_sentence_labels": rng.integers(0, 2, (BATCH_SIZE, 1)).astype("int32"),
    }


def our_step(size: str, precision: Any, dropout: float, variant: str, put=setattr):
    from dataclasses import replace

    take_back(variant, put)
    from maskmill.model.bert.config import BertConfig
    from maskmill.model.bert.encoder import BertPretrainer
    from maskmill.model.training.optimization import AdamWeightDecay, Schedule
    from maskmill.model.training.step import train_step

    layers, hidden = SIZES[size]
    config = BertConfig.preset(size, VOCAB_SIZE)
    assert (config.num_hidden_layers, config.hidden_size) == (layers, hidden)
    config = replace(config, hidden_dropout_prob=dropout, attention_probs_dropout_prob=dropout)
    model = BertPretrainer(config, compute_dtype=precision)
    run = train_step(model, AdamWeightDecay(model.named_weights, Schedule(1e-4, 1000, 100)))
    features = make_batch()
    return lambda: float(run(features)["loss"])


def take_back(variant: str, put: Callable[[Any, str, Any], None]) -> None:
    """Undoes one of the things that make the step fast, by putting something else in its place in this process."""
    if not variant:
        return
    import keras
    from keras import ops

    from maskmill.model.bert import encoder as bert
    from maskmill.model.bert import fused, heads, layers

    if variant == "not fused":
        for module in (fused, bert, heads):
            for name, function in list(vars(module).items()):
                if hasattr(function, "__wrapped__") and function.__module__ == "maskmill.model.bert.fused":
                    put(module, name, function.__wrapped__)
    elif variant == "all XLA":
        import tensorflow as tf

        put(tf.config, "list_physical_devices", lambda kind=None: ["a GPU, as the step believes"])
    elif variant == "stateless_dropout":
        import tensorflow as tf

        def dropout(x, key, rate):
            seed = tf.bitcast(key, tf.int32)
            return tf.nn.experimental.stateless_dropout(x, rate, seed) if rate and key is not None else x

        put(fused, "dropout", dropout)
    elif variant == "three projections":
        together = bert.TransformerLayer.project

        def project(self, x, *parts):
            return [together(self, x, part)[0] for part in parts]

        put(bert.TransformerLayer, "project", project)
    elif variant == "last layer whole":
        call = bert.BertEncoder.call

        def whole(self, input_ids, input_mask, segment_ids, positions=None, dropout_key=None, gates=None):
            x, pooled = call(self, input_ids, input_mask, segment_ids, None, dropout_key, gates)
            return (x if positions is None else layers.gather(x, positions)), pooled

        put(bert.BertEncoder, "call", whole)
    elif variant == "head at all positions":
        call = bert.BertEncoder.call

        def at_all(self, input_ids, input_mask, segment_ids, positions=None, dropout_key=None, gates=None):
            return call(self, input_ids, input_mask, segment_ids, None, dropout_key, gates)

        def sums(self, x, word_embeddings, masked_lm_ids, masked_lm_weights):
            logits = layers.gather(self.scores(x, word_embeddings), make_batch()["masked_lm_positions"])
            loss, right, is_right = heads.prediction_sums(
                logits, self.output_bias, labels=masked_lm_ids, weights=masked_lm_weights
            )
            return {"masked_lm_loss_sum": loss, "masked_lm_right": right}, is_right

        put(bert.BertEncoder, "call", at_all)
        put(heads.MaskedLMHead, "sums", sums)
    elif variant == "products of three axes":

        def multiply(x, kernel, transposed=False):
            kernel = ops.cast(kernel, x.dtype)
            return ops.matmul(x, ops.transpose(kernel) if transposed else kernel)

        for module in (layers, bert, heads):
            put(module, "multiply", multiply)
    else:
        raise ValueError(variant)
    assert keras.backend.backend() == "tensorflow"


def torch_step(size: str, dropout: float):
    """Hugging Face's model, bfloat16 autocast, scaled_dot_product_attention, masked positions gathered first."""
    import torch
    from transformers import BertConfig, BertForPreTraining

    layers, hidden = SIZES[size]
    config = BertConfig(
        vocab_size=VOCAB_SIZE,
        hidden_size=hidden,
        num_hidden_layers=layers,
        num_attention_heads=hidden // 64,
        intermediate_size=4 * hidden,
        hidden_act="gelu_new",
        hidden_dropout_prob=dropout,
        attention_probs_dropout_prob=dropout,
    )
    model = BertForPreTraining._from_config(config, attn_implementation="sdpa")
    model.train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, fused=True)
    batch = {name: torch.from_numpy(values) for name, values in make_batch().items()}
    positions = batch["masked_lm_positions"].long()[:, :, None].expand(-1, -1, hidden)
    labels, weights = batch["masked_lm_ids"].long().flatten(), batch["masked_lm_weights"].flatten()
    pairs = batch["next_sentence_labels"][:, 0].long()
    cross_entropy = torch.nn.functional.cross_entropy

    def step() -> float:
        with torch.autocast("cpu", dtype=torch.bfloat16):
            output = model.bert(
                batch["input_ids"].long(), batch["input_mask"].long(), token_type_ids=batch["segment_ids"].long()
            )
            masked = output.last_hidden_state.gather(1, positions).reshape(-1, hidden)
            losses = cross_entropy(model.cls.predictions(masked).float(), labels, reduction="none")
            next_sentence = cross_entropy(model.cls.seq_relationship(output.pooler_output).float(), pairs)
            loss = (losses * weights).sum() / (weights.sum() + 1e-5) + next_sentence
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        return float(loss.detach())

    return step


if __name__ == "__main__":
    main()
