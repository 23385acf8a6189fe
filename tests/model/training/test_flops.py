import json
import os
import subprocess
import sys

import pytest

from maskmill.model.bert.config import BertConfig
from maskmill.model.training.flops import train_flops

# On JAX, whose traced step tells every product with its shapes: counts those of `BertPretrainer`, forward and backward.
COUNT = """
import json, sys
import jax, numpy as np
from maskmill.model.bert.encoder import BertPretrainer
from maskmill.model.bert.config import BertConfig

def products(jaxpr):
    for equation in jaxpr.eqns:
        if equation.primitive.name == "dot_general":
            yield equation
        for value in equation.params.values():
            for inner in value if isinstance(value, (list, tuple)) else [value]:
                inner = getattr(inner, "jaxpr", inner)
                if hasattr(inner, "eqns"):
                    yield from products(inner)

def operations(equation):
    (contracted, _), _ = equation.params["dimension_numbers"]
    left = equation.invars[0].aval.shape
    return 2 * int(np.prod(equation.outvars[0].aval.shape)) * int(np.prod([left[i] for i in contracted]))

batch, counts = 2, []
for config, seq, predictions in json.loads(sys.argv[1]):
    model = BertPretrainer(BertConfig.from_dict(config))
    shapes = {name: (batch, seq) for name in ("input_ids", "input_mask", "segment_ids")}
    shapes |= {name: (batch, predictions) for name in ("masked_lm_positions", "masked_lm_ids", "masked_lm_weights")}
    shapes["next_sentence_labels"] = (batch, 1)
    features = {name: np.zeros(shape, "float32" if "weights" in name else "int32") for name, shape in shapes.items()}

    def loss(weights):
        return model.stateless_call(weights, [], features)[0]["loss"]

    weights = [weight.value for weight in model.trainable_variables]
    traced = jax.make_jaxpr(loss)(weights), jax.make_jaxpr(jax.grad(loss))(weights)
    counts.append([sum(map(operations, products(one.jaxpr))) / batch for one in traced])
print(json.dumps(counts))
"""
NAMES = "vocab_size", "hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size"
PRUNED = {"num_attention_heads_per_layer": [3, 1, 2], "intermediate_size_per_layer": [20, 7, 1]}
SHAPES = [
    (dict(zip(NAMES, (90, 8, 1, 2, 24))), 16, 3),
    (dict(zip(NAMES, (70, 12, 3, 3, 20))), 9, 5),
    ({**dict(zip(NAMES, (70, 12, 3, 3, 20))), **PRUNED}, 9, 5),
]


@pytest.fixture(scope="module")
def counts():
    """For each of SHAPES the operations for a sequence: forward, and forward and backward."""
    pytest.importorskip("jax", reason="the [jax] extra is not installed")
    environment = {**os.environ, "KERAS_BACKEND": "jax"}
    command = [sys.executable, "-c", COUNT, json.dumps(SHAPES)]
    run = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    return json.loads(run.stdout)


@pytest.mark.parametrize("i", range(len(SHAPES)))
def test_the_operations_are_those_of_the_traced_step(counts, i):
    values, seq, predictions = SHAPES[i]
    config = BertConfig.from_dict(values)
    forward, whole = counts[i]
    # The segment embeddings are a product with one-hot rows: a way to look up, which is no computation of the model.
    look_up = 2 * seq * config.type_vocab_size * config.hidden_size
    assert 3 * (forward - look_up) == train_flops(config, seq, predictions)
    assert whole - train_flops(config, seq, predictions) in (2 * look_up, 3 * look_up)


def test_base_needs_the_operations_that_its_weights_let_expect():
    base = BertConfig.preset("base", 30522)
    in_layers = 12 * (4 * 768**2 + 2 * 768 * 3072)  # weights, each used once for each token
    assert train_flops(base, 128, 20) == pytest.approx(6 * 128 * in_layers, rel=0.03)
