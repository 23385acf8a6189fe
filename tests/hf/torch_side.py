"""What Hugging Face's BERT computes, on torch: run by test_transformers.py in an environment of its own, `.venv-hf`.

python torch_side.py make   FOLDER CONFIG INPUTS OUTPUTS   a BERT of random weights, saved; what it gives
python torch_side.py load   FOLDER INPUTS OUTPUTS          a BERT that was exported; what it gives
python torch_side.py tokens FOLDER TEXTS IDS               JSON lists of texts -> JSON list of ids
python torch_side.py embed  FOLDER TEXTS OUTPUTS           JSON list of texts -> vectors, each text by itself
"""

import json
import sys

import numpy as np
import torch
from transformers import AutoTokenizer, BertConfig, BertForPreTraining, BertModel


def outputs_of(model: BertForPreTraining, inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Losses, scores, hidden states and attentions, named as in `keras_side.py`."""
    tensors = {name: torch.from_numpy(array).long() for name, array in inputs.items()}
    rows = torch.arange(len(tensors["input_ids"]))[:, None]
    labels = torch.full_like(tensors["input_ids"], -100)
    is_masked = inputs["masked_lm_weights"] > 0
    labels[rows.expand(is_masked.shape)[is_masked], tensors["masked_lm_positions"][is_masked]] = tensors[
        "masked_lm_ids"
    ][is_masked]
    features = {
        "input_ids": tensors["input_ids"],
        "attention_mask": tensors["input_mask"],
        "token_type_ids": tensors["segment_ids"],
    }
    with torch.no_grad():
        given = model(**features, output_hidden_states=True, output_attentions=True)
        pooled_output = model.bert(**features).pooler_output
        cross_entropy = torch.nn.functional.cross_entropy
        outputs = {
            "masked_lm_loss": cross_entropy(given.prediction_logits.flatten(0, 1), labels.flatten()),
            "next_sentence_loss": cross_entropy(given.seq_relationship_logits, tensors["next_sentence_labels"][:, 0]),
            "masked_lm_logits": given.prediction_logits,
            "next_sentence_logits": given.seq_relationship_logits,
            "pooled_output": pooled_output,
            "hidden_states": torch.stack(given.hidden_states),
            "attention_probs": torch.stack(given.attentions),
        }
        both = model(**features, labels=labels, next_sentence_label=tensors["next_sentence_labels"]).loss
        assert torch.isclose(both, outputs["masked_lm_loss"] + outputs["next_sentence_loss"])
    return {name: output.numpy() for name, output in outputs.items()}


def make(folder: str, config: str) -> BertForPreTraining:
    """A BERT with random weights everywhere, biases and normalisations too; saved with `save_pretrained`."""
    torch.manual_seed(0)
    model = BertForPreTraining(BertConfig(**json.loads(config), attn_implementation="eager"))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.02 * torch.randn_like(parameter))
    model.eval().save_pretrained(folder)
    return model


def load(folder: str) -> BertForPreTraining:
    """A BERT from a folder, whose weights are all there and none else."""
    model, info = BertForPreTraining.from_pretrained(folder, attn_implementation="eager", output_loading_info=True)
    assert not any(info.values()), info
    return model.eval()


def embed(folder: str, texts: list[str]) -> dict[str, np.ndarray]:
    """The last hidden states pooled in each way, and the mean of the last two layers side by side."""
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = BertModel.from_pretrained(folder, attn_implementation="eager").eval()
    vectors: dict[str, list[torch.Tensor]] = {"mean": [], "max": [], "cls": [], "2,3": []}
    for text in texts:
        with torch.no_grad():
            states = model(**tokenizer(text, return_tensors="pt", truncation=True), output_hidden_states=True)
        last = states.hidden_states[-1][0]
        vectors["mean"].append(last.mean(dim=0))
        vectors["max"].append(last.amax(dim=0))
        vectors["cls"].append(last[0])
        vectors["2,3"].append(torch.cat(states.hidden_states[2:4], dim=-1)[0].mean(dim=0))
    return {name: torch.stack(rows).numpy() for name, rows in vectors.items()}


def main(how: str, folder: str, *arguments: str) -> None:
    """See above."""
    if how == "tokens":
        texts, ids = arguments
        tokenizer = AutoTokenizer.from_pretrained(folder)
        with open(texts, encoding="utf-8") as file, open(ids, "w", encoding="utf-8") as target:
            json.dump([tokenizer(*text)["input_ids"] for text in json.load(file)], target)
        return
    if how == "embed":
        texts, outputs = arguments
        with open(texts, encoding="utf-8") as file:
            np.savez(outputs, **embed(folder, json.load(file)))
        return
    *config, inputs, outputs = arguments
    model = make(folder, *config) if how == "make" else load(folder)
    with np.load(inputs) as arrays:
        np.savez(outputs, **outputs_of(model, dict(arrays)))


if __name__ == "__main__":
    main(*sys.argv[1:])
