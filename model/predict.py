"""What a trained model makes of new token ids."""

import numpy as np
from keras import ops

from model.bert import BertPretrainer


def predict_masked(
    model: BertPretrainer, input_ids: np.ndarray, segment_ids: np.ndarray, positions: np.ndarray, top_k: int = 5
) -> tuple[np.ndarray, np.ndarray]:
    """The likeliest tokens at the given positions: ids int32 and probabilities float32, [batch, predictions, top_k].

    Of int32 [batch, seq], [batch, seq] and [batch, predictions]. Every token is attended to: the sequences of a batch
    are equally long, without padding.
    """
    hidden_states, _ = model.encoder(input_ids, np.ones_like(input_ids), segment_ids, positions)
    probs = ops.softmax(model.masked_lm_logits(hidden_states))
    best = ops.top_k(probs, top_k)
    return ops.convert_to_numpy(best[1]).astype(np.int32), ops.convert_to_numpy(best[0])
