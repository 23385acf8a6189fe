import pytest

from maskmill.model.pretraining.config import TrainConfig
from maskmill.tokenizer.errors import InputError


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"train_batch_size": 0}, "train_batch_size is 0; expected 1 to 2"),
        ({"learning_rate": -1.0}, "learning_rate is -1.0; expected 1e-12 to 100"),
        ({"learning_rate": float("inf")}, "learning_rate is inf; expected 1e-12 to 100"),
        ({"learning_rate": float("nan")}, "learning_rate is nan; expected 1e-12 to 100"),
        ({"num_train_steps": 0}, r"num_train_steps is 0; expected 1 to 2\^31 - 1 steps"),
        ({"num_train_steps": 1 << 31}, r"num_train_steps is 2147483648; expected 1 to 2\^31 - 1 steps"),
        ({"num_train_steps": 5, "num_warmup_steps": 6}, "num_warmup_steps is 6; expected at most num_train_steps"),
    ],
)
def test_a_training_that_makes_no_sense_is_refused(values, sentence):
    with pytest.raises(InputError, match=sentence):
        TrainConfig(**values)
