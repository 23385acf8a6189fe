"""What our BERT computes on the backend that KERAS_BACKEND names: run by test_transformers.py.

python keras_side.py INIT_CHECKPOINT INPUTS OUTPUTS
"""

import sys

import keras
import numpy as np

from maskmill.model.bert.encoder import BertPretrainer
from maskmill.model.formats.checkpoint_formats import read_init_checkpoint
from maskmill.model.formats.init_checkpoint import initialize


def main(init_checkpoint: str, inputs: str, outputs: str) -> None:
    """Losses, scores, hidden states and attentions of the model at `init_checkpoint`, named as in `torch_side.py`."""
    checkpoint = read_init_checkpoint(init_checkpoint)
    model = BertPretrainer(checkpoint.config)
    notes = initialize(model, checkpoint, checkpoint.tokens)
    assert all("erf form" in note for note in notes), notes
    with np.load(inputs) as arrays:
        features = dict(arrays)
    tokens = [features[name] for name in ("input_ids", "input_mask", "segment_ids")]
    hidden_states, attention_probs = model.encoder.all_layers(*tokens)
    sequence_output, pooled_output = model.encoder(*tokens)
    losses = model(features)
    kernel, bias = (model.named_weights[f"next_sentence/{part}"] for part in ("kernel", "bias"))
    given = {
        # Google's denominator has 1e-5 more than torch's.
        "masked_lm_loss": losses["masked_lm_loss_sum"] / losses["masked_lm_weight"],
        "next_sentence_loss": losses["next_sentence_loss"],
        "masked_lm_logits": model.masked_lm_logits(sequence_output),
        "next_sentence_logits": keras.ops.matmul(pooled_output, kernel) + bias,
        "pooled_output": pooled_output,
        "hidden_states": keras.ops.stack(hidden_states),
        "attention_probs": keras.ops.stack(attention_probs),
    }
    np.savez(outputs, **{name: keras.ops.convert_to_numpy(output) for name, output in given.items()})


if __name__ == "__main__":
    main(*sys.argv[1:])
