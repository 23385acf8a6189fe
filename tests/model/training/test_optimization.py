import keras
import numpy as np
import pytest

from maskmill.model.training.optimization import AdamSettings, AdamWeightDecay, Schedule, clip_by_global_norm


def test_the_learning_rate_warms_up_then_decays_from_step_0_on():
    schedule = Schedule(1e-3, num_train_steps=20, num_warmup_steps=4)
    rates = [float(schedule.at(step)) for step in (0, 1, 3, 4, 10, 20, 25)]
    assert rates == pytest.approx([0, 0.25e-3, 0.75e-3, 0.8e-3, 0.5e-3, 0, 0])


def test_without_warm_up_the_learning_rate_starts_at_its_peak():
    assert float(Schedule(1e-3, num_train_steps=20, num_warmup_steps=0).at(0)) == pytest.approx(1e-3)


@pytest.mark.parametrize("warmup", [0, 1, 4, 20])
def test_the_schedule_of_transformers_falls_from_its_peak(warmup):
    """`get_linear_schedule_with_warmup` of transformers, whose step 0 is our step 1."""
    ours = Schedule(1e-3, num_train_steps=20, num_warmup_steps=warmup, decays_from_warmup=True)
    for step in range(1, 21):
        theirs = step / warmup if step < warmup else (20 - step) / max(1, 20 - warmup)
        if not step == warmup == 20:  # both are at the peak there
            assert float(ours.at(step)) == pytest.approx(1e-3 * theirs, abs=1e-9)


def test_clipping_scales_all_gradients_by_one_factor():
    gradients = [np.array([3.0], np.float32), np.array([[0.0, 4.0]], np.float32)]
    clipped = [np.asarray(gradient) for gradient in clip_by_global_norm(gradients, 1.0)]
    np.testing.assert_allclose(clipped[0], [0.6], rtol=1e-6)
    np.testing.assert_allclose(clipped[1], [[0.0, 0.8]], rtol=1e-6)


def test_gradients_within_the_norm_are_left_as_they_are():
    gradient = np.array([0.3, -0.4], np.float32)
    np.testing.assert_array_equal(clip_by_global_norm([gradient], 1.0)[0], gradient)


def test_weight_decay_spares_layer_norms_and_biases():
    names = ("bert/layer_0/query/kernel", "bert/layer_0/query/bias", "bert/embeddings/layer_norm/gamma")
    weights = {name: keras.Variable([1.0], name="weight") for name in names}
    optimizer = AdamWeightDecay(
        weights, Schedule(0.1, num_train_steps=10, num_warmup_steps=0), AdamSettings(weight_decay_rate=0.5)
    )
    optimizer.apply([np.zeros(1, np.float32)] * 3)
    assert [float(weight.value[0]) for weight in weights.values()] == pytest.approx([1 - 0.09 * 0.5, 1, 1])


def test_with_bias_correction_it_is_adamw():
    rng = np.random.default_rng(0)
    weight, gradients = rng.normal(0, 0.1, (3, 2)).astype("float32"), rng.normal(0, 1, (4, 3, 2)).astype("float32")
    variables = [keras.Variable(weight, name="weight") for _ in range(2)]
    schedule = Schedule(0.1, num_train_steps=1000, num_warmup_steps=0)
    ours = AdamWeightDecay({"kernel": variables[0]}, schedule, AdamSettings(clip_norm=1e6, bias_correction=True))
    keras_s = keras.optimizers.AdamW(0.1, weight_decay=0.01, epsilon=1e-6)
    for step, gradient in enumerate(gradients, start=1):
        ours.apply([gradient])
        keras_s.learning_rate = float(schedule.at(step))
        keras_s.apply([gradient], [variables[1]])
    # Keras adds epsilon before it corrects the second mean; beside gradients of 1 that is next to nothing.
    np.testing.assert_allclose(variables[0], variables[1], atol=2e-4)


def test_without_bias_correction_the_first_hundreds_of_updates_are_two_to_six_times_as_long():
    schedule = Schedule(1e-3, num_train_steps=10_000, num_warmup_steps=0)
    moved = {}
    for bias_correction in (False, True):
        weight, steps = keras.Variable([0.0], name="weight"), []
        settings = AdamSettings(weight_decay_rate=0, bias_correction=bias_correction)
        optimizer = AdamWeightDecay({"kernel": weight}, schedule, settings)
        for _ in range(288):
            before = float(weight.value[0])
            optimizer.apply([np.array([0.5], np.float32)])
            steps.append(float(weight.value[0]) - before)
        moved[bias_correction] = np.array(steps)
    ratios = moved[False] / moved[True]
    assert ratios[[0, 11, 287]] == pytest.approx([3.16, 6.57, 2.0], abs=0.01)
    assert ratios.argmax() == 11


def lamb_step(weight, gradient, learning_rate):
    """One step of LAMB from nothing, in numpy, for a gradient that needs no clipping."""
    update = 0.1 * gradient / (np.sqrt(0.001 * gradient**2) + 1e-6) + 0.01 * weight
    return weight - learning_rate * update * np.linalg.norm(weight) / np.linalg.norm(update)


def test_lamb_moves_a_matrix_by_the_learning_rate_times_its_norm_and_a_bias_as_adam_does():
    rng = np.random.default_rng(0)
    kernel, bias, gradient, bias_gradient = (rng.normal(0, 0.1, shape).astype("float32") for shape in ((3, 2), 2) * 2)
    names = {"dense/kernel": kernel, "dense/bias": bias, "other/kernel": np.zeros(2, np.float32)}
    weights = {name: keras.Variable(value, name="weight") for name, value in names.items()}
    schedule = Schedule(0.1, num_train_steps=10, num_warmup_steps=0)
    optimizer = AdamWeightDecay(weights, schedule, AdamSettings(layer_adaptation=True))
    optimizer.apply([gradient, bias_gradient, np.ones(2, np.float32) * 0.1])
    expected = lamb_step(kernel, gradient, 0.09)
    np.testing.assert_allclose(weights["dense/kernel"], expected, rtol=1e-5)
    moved = np.linalg.norm(np.asarray(weights["dense/kernel"]) - kernel)
    assert moved == pytest.approx(0.09 * np.linalg.norm(kernel), rel=1e-5)
    adam = bias - 0.09 * 0.1 * bias_gradient / (np.sqrt(0.001 * bias_gradient**2) + 1e-6)
    np.testing.assert_allclose(weights["dense/bias"], adam, rtol=1e-5)
    assert np.isfinite(np.asarray(weights["other/kernel"])).all()  # a weight of nothing has no norm to move by
    assert np.asarray(weights["other/kernel"])[0] == pytest.approx(-0.09 * 0.01 / (np.sqrt(1e-5) + 1e-6), rel=1e-4)


@pytest.mark.parametrize("steps_before", [0, 3])
def test_lamb_leaves_a_matrix_alone_in_a_step_without_a_gradient_and_adam_decays_it(steps_before):
    start, gradient = np.array([3.0, 4.0], np.float32), np.array([0.3, -0.4], np.float32)
    after = {}
    for lamb in (True, False):
        weight = keras.Variable(start, name="weight")
        schedule = Schedule(0.1, num_train_steps=1000, num_warmup_steps=0)
        optimizer = AdamWeightDecay({"bert/pooler/kernel": weight}, schedule, AdamSettings(layer_adaptation=lamb))
        for _ in range(steps_before):
            optimizer.apply([gradient])
        before = np.asarray(weight).copy()
        optimizer.apply([np.zeros(2, np.float32)])
        after[lamb] = before, np.asarray(weight).copy()
    np.testing.assert_array_equal(*after[True])
    before, decayed = after[False]
    if not steps_before:
        np.testing.assert_allclose(decayed, before * (1 - 0.1 * (1 - 1 / 1000) * 0.01), rtol=1e-6)
    assert (decayed != before).all()


def test_state_has_googles_names():
    weights = {"bert/pooler/kernel": keras.Variable([1.0], name="weight")}
    optimizer = AdamWeightDecay(weights, Schedule(0.1, num_train_steps=10, num_warmup_steps=0))
    assert list(optimizer.variables) == ["global_step", "bert/pooler/kernel/adam_m", "bert/pooler/kernel/adam_v"]
