"""What a run will be given, as far as `doctor` is told."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from maskmill.deploy.engines.engine_options import Engine
from maskmill.pipeline.reading.documents import ReadOptions


@dataclass(frozen=True)
class Request:
    """The arguments of a run; what is not given is not looked at."""

    engine: Engine
    beam_options: Sequence[str] = ()
    inputs: Sequence[str] = ()
    vocab_file: str | None = None
    output: str | None = None
    cased: bool = False
    reading: ReadOptions = field(default_factory=ReadOptions)
