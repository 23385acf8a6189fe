"""What `maskmill report` is asked for. Standard library only, for the command line."""

from collections.abc import Sequence
from dataclasses import dataclass

from maskmill.tokenizer.errors import InputError

MOST_DATASETS = 2


@dataclass(frozen=True)
class ReportRequest:
    """What a report shows, and where it is written. Raises InputError for more datasets than it can show."""

    datasets: Sequence[str]  # what `open_dataset` opens, one or two
    output: str  # the HTML file, here or in Cloud Storage
    vocab_file: str | None = None  # of two datasets, for those that have no manifest
    documents: Sequence[str] = ()  # what the datasets were made from, to see the words that became [UNK]
    num_workers: int | None = None  # processes that read; None: by the size of the datasets
    overwrite: bool = False  # whether a file of that name may be replaced

    def __post_init__(self) -> None:
        if len(self.datasets) > MOST_DATASETS:
            raise InputError(
                f"{len(self.datasets)} datasets are given", way_out="a report shows one, or two over each other"
            )
