"""When a training saves and evaluates; what the loop does is in test_train_loop.py and test_finetuning.py."""

from maskmill.model.training.loop import Policy

STEPS = range(11)


def due(asks):
    return [step for step in STEPS if asks(step)]


def test_it_saves_every_so_many_steps_and_at_the_end():
    policy = Policy(num_train_steps=10, save_every=4, keep_checkpoints=3, eval_every=3)
    assert due(policy.saves_at) == [0, 4, 8, 10]
    assert due(policy.evaluates_at) == [3, 6, 9, 10]


def test_a_fine_tuning_also_saves_what_it_evaluates():
    policy = Policy(10, save_every=4, keep_checkpoints=3, eval_every=3, saves_what_it_evaluates=True)
    assert due(policy.saves_at) == [0, 3, 4, 6, 8, 9, 10]


def test_without_an_interval_nothing_is_evaluated():
    assert due(Policy(10, save_every=4, keep_checkpoints=3, eval_every=None).evaluates_at) == []
