"""How long a training takes on this machine, told after its first seconds."""

from typing import TYPE_CHECKING

from maskmill.deploy.terminal.numbers import duration
from maskmill.model.bert.config import PRESETS, BertConfig
from maskmill.pipeline.dataset.schema import DatasetInfo

if TYPE_CHECKING:
    from maskmill.model.training.meter import TrainProgress

SECONDS_TO_MEASURE = 5.0
A_MINUTE, A_DAY = 60.0, 86_400.0


def time_of_presets(seconds: float, config: BertConfig, info: DatasetInfo) -> dict[str, float]:
    """What the same number of sequences takes with smaller presets, in seconds, the largest of them first.

    They are taken to compute as many floating-point operations a second, which a small model does not quite.
    """
    from maskmill.model.training.flops import train_flops

    def operations(of: BertConfig) -> float:
        return train_flops(of, info.max_seq_length, info.max_predictions_per_seq)

    smaller = (BertConfig.preset(name, config.vocab_size) for name in PRESETS)
    times = {name: seconds * operations(of) / operations(config) for name, of in zip(PRESETS, smaller)}
    return dict(sorted(((n, t) for n, t in times.items() if t < 0.9 * seconds), key=lambda pair: -pair[1]))


def describe_time(now: "TrainProgress", config: BertConfig, info: DatasetInfo) -> str:
    """How long the steps that are left take, and where that is days, how long smaller models take."""
    said = f"The {now.num_train_steps - now.step:,} steps left take about {duration(now.seconds_left)} on this machine."
    if now.seconds_left < A_DAY:
        return said
    times = time_of_presets(now.seconds_left, config, info)
    if times:
        said += f" Smaller models: {', '.join(f'{name} {duration(seconds)}' for name, seconds in times.items())}."
    return f"{said} --max-time 8h trains as many steps as fit in 8 hours."
