"""Fine-tunes a Hugging Face model with transformers and PyTorch: the other side of bench_finetune.py.

    .venv-hf/bin/python benchmarks/finetune_torch.py MODEL rows.npz '{"learning_rate": 1e-4, ...}'

rows.npz holds `input_ids`, `input_mask` and `segment_ids` of the rows to train on (`train_...`) and of those held out
(`eval_...`), and `train_labels`; the last argument has the names of `FinetuneConfig`. AdamW with PyTorch's settings but
for a weight decay of 0.01 that spares biases and LayerNorm, linear warm-up and decay, gradients clipped to a norm of 1:
what the examples of transformers do. Prints a list for each epoch: the label of each row that is held out.
"""

import json
import math
import sys

import numpy as np
import torch
from transformers import AutoModelForSequenceClassification, get_linear_schedule_with_warmup
from transformers.utils import logging

Rows = dict[str, torch.Tensor]


def main() -> None:
    model_dir, path, config = sys.argv[1], sys.argv[2], json.loads(sys.argv[3])
    with np.load(path) as arrays:
        train, held_out = (
            {name.partition("_")[2]: torch.from_numpy(arrays[name]).long() for name in arrays if name.startswith(part)}
            for part in ("train_", "eval_")
        )
    logging.set_verbosity_error()  # that the classifier has new weights
    logging.disable_progress_bar()
    torch.manual_seed(config["random_seed"])
    model = AutoModelForSequenceClassification.from_pretrained(model_dir, num_labels=int(train["labels"].max()) + 1)
    print(json.dumps(fine_tune(model, train, held_out, config)))


def fine_tune(model: torch.nn.Module, train: Rows, held_out: Rows, config: dict) -> list[list[int]]:
    """Trains the model -> the labels that it predicts after each epoch."""
    size, rows = config["train_batch_size"], len(train["labels"])
    steps = config["num_train_epochs"] * math.ceil(rows / size)
    spared = [one for name, one in model.named_parameters() if "LayerNorm" in name or name.endswith("bias")]
    others = [one for one in model.parameters() if all(one is not other for other in spared)]
    groups = [{"params": others, "weight_decay": config["weight_decay_rate"]}, {"params": spared, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, lr=config["learning_rate"])
    schedule = get_linear_schedule_with_warmup(optimizer, int(steps * config["warmup_proportion"]), steps)
    predicted = []
    for _ in range(config["num_train_epochs"]):
        model.train()
        for batch in torch.randperm(rows).split(size):
            logits = logits_of(model, train, batch, config["precision"])
            torch.nn.functional.cross_entropy(logits, train["labels"][batch]).backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            schedule.step()
            optimizer.zero_grad()
        model.eval()
        with torch.no_grad():
            batches = torch.arange(len(held_out["input_ids"])).split(size)
            logits = torch.cat([logits_of(model, held_out, batch, config["precision"]) for batch in batches])
        predicted.append(logits.argmax(dim=1).tolist())
    return predicted


def logits_of(model: torch.nn.Module, rows: Rows, batch: torch.Tensor, precision: str) -> torch.Tensor:
    """float32 [batch, labels]"""
    longest = int(rows["input_mask"][batch].sum(dim=1).max())
    ids, mask, segments = (rows[name][batch, :longest] for name in ("input_ids", "input_mask", "segment_ids"))
    with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bfloat16"):
        return model(input_ids=ids, attention_mask=mask, token_type_ids=segments).logits.float()


if __name__ == "__main__":
    main()
