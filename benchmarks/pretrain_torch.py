"""Pre-trains a Hugging Face BERT with transformers and PyTorch: the other side of bench_pretrain.py.

    .venv-hf/bin/python benchmarks/pretrain_torch.py batches.npz '{"learning_rate": 5e-5, ...}'

batches.npz holds the features of whole batches, [batches, batch, ...], to train on (`train_...`) and held out
(`eval_...`). The settings are `shape` (the names of Hugging Face's BertConfig), `has_pairs`, `learning_rate`,
`warmup_steps`, `num_train_steps`, `random_seed` and `measures_speed`. The model, its first weights, its dropout and its
loss are those of BertForPreTraining, or of BertForMaskedLM without pairs; AdamW, the schedule and the limit of the
gradients are what the Trainer of transformers has by default. Prints a JSON object: the held-out metrics, or with
`measures_speed` the seconds of a step.
"""

import json
import math
import sys
import time
from statistics import median

import torch
from numpy import load
from transformers import BertConfig, BertForMaskedLM, BertForPreTraining, get_linear_schedule_with_warmup
from transformers.utils import logging

STEPS_OF_SPEED = 30  # the first third compile nothing, but fill caches, and do not count


def main() -> None:
    path, settings = sys.argv[1], json.loads(sys.argv[2])
    with load(path) as arrays:
        parts = {
            part: {name.removeprefix(part): torch.from_numpy(arrays[name]) for name in arrays if name.startswith(part)}
            for part in ("train_", "eval_")
        }
    logging.set_verbosity_error()
    torch.manual_seed(settings["random_seed"])
    model = (BertForPreTraining if settings["has_pairs"] else BertForMaskedLM)(BertConfig(**settings["shape"]))
    seconds = train(model, parts["train_"], settings)
    if settings["measures_speed"]:
        print(json.dumps({"seconds_per_step": median(seconds[STEPS_OF_SPEED // 3 :])}))
    else:
        print(json.dumps(evaluate(model, parts["eval_"], settings["has_pairs"])))


def train(model: torch.nn.Module, batches: dict[str, torch.Tensor], settings: dict) -> list[float]:
    """Takes the steps -> the seconds of each."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=settings["learning_rate"], weight_decay=0.0)
    steps = settings["num_train_steps"]
    schedule = get_linear_schedule_with_warmup(optimizer, settings["warmup_steps"], steps)
    model.train()
    seconds = []
    for step in range(STEPS_OF_SPEED if settings["measures_speed"] else steps):
        began = time.perf_counter()
        model(**inputs_of(batches, step, settings["has_pairs"])).loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        optimizer.zero_grad()
        seconds.append(time.perf_counter() - began)
    return seconds


def inputs_of(batches: dict[str, torch.Tensor], batch: int, has_pairs: bool) -> dict[str, torch.Tensor]:
    """What the model takes: every position has a label, and -100 says that there is nothing to predict."""
    found = {name: values[batch].long() for name, values in batches.items() if name != "masked_lm_weights"}
    is_real = batches["masked_lm_weights"][batch] > 0
    labels = torch.full_like(found["input_ids"], -100)
    rows = torch.arange(len(labels))[:, None].expand(is_real.shape)
    labels[rows[is_real], found["masked_lm_positions"][is_real]] = found["masked_lm_ids"][is_real]
    inputs = {"input_ids": found["input_ids"], "attention_mask": found["input_mask"], "labels": labels}
    if has_pairs:
        inputs |= {
            "token_type_ids": found["segment_ids"],
            "next_sentence_label": found["next_sentence_labels"].flatten(),
        }
    return inputs


def evaluate(model: torch.nn.Module, batches: dict[str, torch.Tensor], has_pairs: bool) -> dict[str, float]:
    model.eval()
    loss = right = tokens = right_pairs = pairs = 0.0
    with torch.no_grad():
        for batch in range(len(batches["input_ids"])):
            inputs = inputs_of(batches, batch, has_pairs)
            labels = inputs.pop("labels")
            next_sentence_label = inputs.pop("next_sentence_label", None)
            output = model(**inputs)
            logits = output.prediction_logits if has_pairs else output.logits
            is_masked = labels >= 0
            logits, labels = logits[is_masked], labels[is_masked]
            loss += torch.nn.functional.cross_entropy(logits, labels, reduction="sum").item()
            right += (logits.argmax(-1) == labels).sum().item()
            tokens += len(labels)
            if next_sentence_label is not None:
                right_pairs += (output.seq_relationship_logits.argmax(-1) == next_sentence_label).sum().item()
                pairs += len(next_sentence_label)
    metrics = {"masked_lm_loss": loss / tokens, "masked_lm_accuracy": right / tokens}
    return {**metrics, "next_sentence_accuracy": right_pairs / pairs if pairs else math.nan}


if __name__ == "__main__":
    main()
