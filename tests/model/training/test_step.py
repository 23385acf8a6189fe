import gc
import logging
import os
import re
import subprocess
import sys

import keras
import numpy as np
import pytest
from small_dataset import MAX_SEQ_LENGTH, VOCAB_SIZE, write_dataset

from maskmill.model.bert.config import BertConfig
from maskmill.model.bert.encoder import BertPretrainer
from maskmill.model.pretraining.batches import NO_PAIR, train_batches
from maskmill.model.pretraining.dynamic_masking import MaskingRules, remask
from maskmill.model.tasks.batches import BatchFunction
from maskmill.model.training.optimization import AdamSettings, AdamWeightDecay, Schedule
from maskmill.model.training.step import compiled, eval_step, train_step

ON_JAX = keras.backend.backend() == "jax"
CONFIG = BertConfig(
    vocab_size=VOCAB_SIZE,
    hidden_size=16,
    num_hidden_layers=1,
    num_attention_heads=2,
    intermediate_size=32,
    max_position_embeddings=MAX_SEQ_LENGTH,
)
BATCH_SIZE = 8
# What an operation is called that calls back into Python, on either backend, or talks to the host in another way.
TALKS_TO_THE_HOST = re.compile("callback|py_?func|infeed|outfeed|host|^send|^recv|print|iterator", re.IGNORECASE)


@pytest.fixture(scope="module")
def batches(tmp_path_factory):
    directory = tmp_path_factory.mktemp("dataset")
    dataset = write_dataset(directory, [[20, 17]])
    stream = train_batches(dataset, BATCH_SIZE, random_seed=1)
    return [next(stream) for _ in range(3)], MaskingRules.load(dataset)


def operations_and_shapes(function, *arguments):
    """What a compiled function consists of: names of operations, and shapes with None for what is not known."""
    if ON_JAX:
        lowered = function.lower(*arguments)
        text = lowered.as_text()
        shapes = [
            [None if size == "?" else int(size) for size in sizes.split("x")[:-1]]
            for sizes in re.findall(r"tensor<((?:[\d?]+x)*)\w+>", text)
        ]
        calls = re.findall(r'custom_call_target="([^"]+)"', lowered.compile().as_text())
        return [*re.findall(r"stablehlo\.(\w+)", text), *re.findall(r"@(\w+)\(", text), *calls], shapes
    graph = function.get_concrete_function(*arguments).graph
    graphs = [graph, *(function.graph for function in graph._functions.values() if hasattr(function, "graph"))]
    operations = [operation for graph in graphs for operation in graph.get_operations()]
    names = {operation.type for operation in operations}
    names |= {node.op for function in graph.as_graph_def().library.function for node in function.node_def}
    shapes = [output.shape for operation in operations if not is_unused(operation) for output in operation.outputs]
    return sorted(names), [[None] if shape.rank is None else shape.as_list() for shape in shapes]


def is_unused(operation):
    """An argument of a loop that its condition does not read: TensorFlow leaves its shape out."""
    return "redundant_placeholder" in operation.name


def make_step(rules, accumulation_steps, masks_anew):
    """A model, its optimizer, and the step that trains it."""
    model = BertPretrainer(CONFIG)
    optimizer = AdamWeightDecay(model.named_weights, Schedule(1e-3, 10, 2))
    masks = (lambda features, key: remask(features, key, rules)) if masks_anew else None
    return model, optimizer, train_step(model, optimizer, accumulation_steps=accumulation_steps, remask=masks)


kinds_of_steps = pytest.mark.parametrize(("accumulation_steps", "masks_anew"), [(1, False), (2, True)])


@kinds_of_steps
def test_the_compiled_step_has_static_shapes_and_no_word_with_the_host(batches, accumulation_steps, masks_anew):
    (first, *others), rules = batches
    _, _, step = make_step(rules, accumulation_steps, masks_anew)
    arguments = (step.state, first) if ON_JAX else (first,)
    names, shapes = operations_and_shapes(step.run, *arguments)
    assert not [name for name in names if TALKS_TO_THE_HOST.search(name)]
    assert [BATCH_SIZE // accumulation_steps, MAX_SEQ_LENGTH, CONFIG.hidden_size] in shapes
    assert not [shape for shape in shapes if None in shape]
    for features in (first, *others):
        step(features)
    times_compiled = step.run._cache_size() if ON_JAX else step.run.experimental_get_tracing_count()
    assert times_compiled == 1


def live_bytes():
    """The memory of all of JAX's arrays; that which two of them share counts once."""
    import jax

    gc.collect()
    return sum({array.unsafe_buffer_pointer(): array.nbytes for array in jax.live_arrays()}.values())


@pytest.mark.skipif(not ON_JAX, reason="TensorFlow has no other values than those of the variables")
@kinds_of_steps
def test_a_training_on_jax_keeps_12_bytes_a_weight_and_writes_each_state_over_the_one_before(
    batches, accumulation_steps, masks_anew
):
    (first, *others), rules = batches
    before = live_bytes()
    model, optimizer, step = make_step(rules, accumulation_steps, masks_anew)
    weights_and_means = 12 * CONFIG.num_weights

    def assert_nothing_more():
        assert weights_and_means <= live_bytes() - before < 1.05 * weights_and_means

    assert_nothing_more()
    memory = step.run.lower(step.state, first).compile().memory_analysis()
    assert memory.alias_size_in_bytes >= weights_and_means
    for features in (first, *others):
        step(features)
    assert_nothing_more()
    evaluation = float(eval_step(model)(first)["loss"])
    state = [np.asarray(variable).copy() for variable in (*model.named_weights.values(), *optimizer.variables.values())]
    assert_nothing_more()
    assert np.isfinite([evaluation, *(values.sum() for values in state)]).all()
    old = model.encoder.pooler.kernel.value
    step(first)
    assert old.is_deleted()
    assert_nothing_more()


@pytest.mark.skipif(ON_JAX, reason="takes long to compile, and is the same")
def test_lamb_leaves_the_weights_alone_that_a_dataset_without_pairs_does_not_train(batches):
    (first, *_), _ = batches
    features = {**first, "next_sentence_labels": np.full_like(first["next_sentence_labels"], NO_PAIR)}
    model = BertPretrainer(CONFIG)
    before = {name: np.asarray(weight).copy() for name, weight in model.named_weights.items()}
    optimizer = AdamWeightDecay(model.named_weights, Schedule(1e-3, 10, 0), AdamSettings(layer_adaptation=True))
    step = train_step(model, optimizer)
    for _ in range(2):
        step(features)
    after = {name: np.asarray(weight) for name, weight in model.named_weights.items()}
    unchanged = {name for name in before if np.array_equal(before[name], after[name])}
    of_pairs = {f"{name}/{part}" for name in ("bert/pooler", "next_sentence") for part in ("kernel", "bias")}
    assert unchanged == of_pairs


def test_a_word_with_the_host_and_an_unknown_shape_would_be_seen():
    x = np.ones((2, 3), np.float32)
    if ON_JAX:
        import jax

        def talks(x):
            return jax.pure_callback(lambda x: x, jax.ShapeDtypeStruct(x.shape, x.dtype), x)

        names, _ = operations_and_shapes(jax.jit(talks), x)
    else:
        import tensorflow as tf

        def talks(x):
            return tf.numpy_function(lambda x: x, [x], tf.float32)

        names, shapes = operations_and_shapes(tf.function(talks), x)
        assert [None] in shapes
        # And within a function that is called.
        names, shapes = operations_and_shapes(tf.function(tf.function(talks)), x)
        assert [None] in shapes
    assert [name for name in names if TALKS_TO_THE_HOST.search(name)]


@pytest.mark.skipif(ON_JAX, reason="runs on JAX already")
def test_the_compiled_step_is_such_on_jax_too():
    pytest.importorskip("jax", reason="the [jax] extra is not installed")
    environment = {**os.environ, "KERAS_BACKEND": "jax"}
    run = subprocess.run([sys.executable, "-m", "pytest", __file__], env=environment, capture_output=True, text=True)
    assert run.returncode == 0, run.stdout[-4000:]


def test_a_function_of_many_shapes_is_compiled_for_each_without_a_warning():
    model = BertPretrainer(CONFIG)
    said: list[str] = []
    handler = logging.Handler()
    handler.emit = lambda record: said.append(record.getMessage())
    logging.getLogger("tensorflow").addHandler(handler)
    try:
        run = compiled(model.trainable_variables, lambda features: features["x"] @ model.encoder.pooler.kernel)
        for rows in range(1, 12):
            x = np.ones((rows, 16), np.float32)
            expected = x @ np.asarray(model.encoder.pooler.kernel)
            np.testing.assert_allclose(np.asarray(run({"x": x})), expected, rtol=1e-5)
    finally:
        logging.getLogger("tensorflow").removeHandler(handler)
    assert said == []


def test_a_function_of_batches_reads_the_weights_as_they_are_compiled_or_not():
    model = BertPretrainer(CONFIG)
    run = BatchFunction(model, lambda features: features["x"] @ model.encoder.pooler.kernel)
    for factor in range(1, 5):  # from the third time on compiled
        model.encoder.pooler.kernel.assign(np.full((16, 16), factor, np.float32))
        np.testing.assert_allclose(np.asarray(run({"x": np.ones((2, 16), np.float32)})), 16 * factor)
