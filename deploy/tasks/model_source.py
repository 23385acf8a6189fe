"""The trained model that a command is given."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from maskmill.deploy.terminal.messages import warn
from maskmill.model.bert.config import ComputeDtype

if TYPE_CHECKING:
    from maskmill.model.formats.model_dir import WhichCheckpoint
    from maskmill.model.tasks.trained import TrainedBert


@dataclass(frozen=True)
class ModelSource:
    """Where a model is, and how it is opened."""

    model_dir: str
    checkpoint: "WhichCheckpoint" = "newest"
    cased: bool | None = None  # None: as the files beside it say
    precision: ComputeDtype = "float32"

    def open(self) -> "TrainedBert":
        """The model; prints what the user should know about it."""
        from maskmill.model.tasks.trained import open_trained

        trained = open_trained(self.model_dir, self.checkpoint, self.precision, self.cased)
        for note in trained.notes:
            warn(note)
        return trained
