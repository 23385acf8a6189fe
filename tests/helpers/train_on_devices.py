"""Trains on all devices that JAX has here, and writes what it found: run by test_distribution.py in processes."""

import dataclasses
import json
import re
import sys
from pathlib import Path
from unittest import mock

import jax

from maskmill.model.bert.config import BertConfig
from maskmill.model.bert.encoder import BertPretrainer
from maskmill.model.pretraining.batches import train_batches
from maskmill.model.pretraining.config import TrainConfig
from maskmill.model.pretraining.dynamic_masking import MaskingRules, remask
from maskmill.model.pretraining.train import train
from maskmill.model.training.distribution import ONE_DEVICE, find_devices
from maskmill.model.training.optimization import AdamWeightDecay, Schedule
from maskmill.model.training.step import train_step
from maskmill.pipeline.dataset.dataset import Dataset
from maskmill.tokenizer.errors import InputError

BERT = BertConfig(
    vocab_size=100,
    hidden_size=32,
    num_hidden_layers=1,
    num_attention_heads=2,
    intermediate_size=64,
    max_position_embeddings=16,
    hidden_dropout_prob=0.1,
    attention_probs_dropout_prob=0.1,
)
TRAIN = TrainConfig(
    train_batch_size=16,
    learning_rate=1e-3,
    num_train_steps=5,
    num_warmup_steps=2,
    eval_every=5,
    save_checkpoints_steps=100,
    save_summary_steps=1,
)
CASES = {
    "plain": TRAIN,
    "in_parts_masked_anew": dataclasses.replace(
        TRAIN, gradient_accumulation_steps=2, dynamic_masking=True, eval_every=None
    ),
}


def look_at_a_step(dataset: Path) -> dict:
    """Where a batch and the weights lie, and what the devices send one another."""
    devices = find_devices()
    model = BertPretrainer(BERT)
    optimizer = AdamWeightDecay(model.named_weights, Schedule(1e-3, 5, 2))
    opened = Dataset.open(dataset)
    rules = MaskingRules.load(opened)
    step = train_step(model, optimizer, remask=lambda features, key: remask(features, key, rules))
    batch = devices.place(next(train_batches(opened, 16, 1)))
    exchanged = re.findall(
        r"= (\S+|\(.*?\)) (all-reduce|all-gather|all-to-all|collective-permute|reduce-scatter)(?:-start)?\(",
        step.run.lower(step.state, batch).compile().as_text(),
    )
    step(batch)
    values = jax.tree.leaves(step.state)
    return {
        "rows": [shard.data.shape[0] for shard in jax.numpy.asarray(batch["input_ids"]).addressable_shards],
        "copies": sorted({len(value.addressable_shards) for value in values if value.is_fully_replicated}),
        "replicated": all(value.is_fully_replicated for value in values),
        "exchanged": sorted({name for _, name in exchanged}),
        "shapes": sorted({shape for shapes, _ in exchanged for shape in re.findall(r"\w+\[[\d,]*\]", shapes)}),
        "weights": sorted({f"f32[{','.join(map(str, value.shape))}]" for value in values}),
    }


def main(dataset: Path, folder: Path) -> None:
    """Trains each case on one device and on all, into folders of their own, and writes `found.json`."""
    with mock.patch("maskmill.model.pretraining.train.draw_training"):
        with mock.patch("maskmill.model.pretraining.train.find_devices", return_value=ONE_DEVICE):
            for name, config in CASES.items():
                train(dataset, folder / "on_one" / name, BERT, config)
        for name, config in CASES.items():
            train(dataset, folder / "on_all" / name, BERT, config)
    found = look_at_a_step(dataset)
    try:
        train(dataset, folder / "refused", BERT, dataclasses.replace(TRAIN, train_batch_size=12))
    except InputError as error:
        found["refusal"] = str(error)
    (folder / "found.json").write_text(json.dumps(found))


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
