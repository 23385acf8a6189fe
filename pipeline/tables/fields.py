"""What a table is: its format and the columns that are read. Standard library only, for the command line."""

from dataclasses import dataclass
from typing import Literal

from maskmill.tokenizer.errors import InputError

TableFormat = Literal["auto", "csv", "tsv", "jsonl", "parquet"]


@dataclass(frozen=True)
class Fields:
    """The columns of a table, or the fields of a JSON line; `a.b` is b in a. Raises InputError for an empty name."""

    text_field: str = "text"
    text_pair_field: str | None = None  # of the second text, where a row is a pair
    label_field: str | None = None  # None: the labels are not read

    def __post_init__(self) -> None:
        for name, field in vars(self).items():
            if field == "":
                raise InputError(f"{name} is empty", expected="the name of a column")
        names = self.names
        for name in names:
            if names.count(name) > 1:
                raise InputError(
                    f"column {name} is named twice", expected="another one for each of text, pair and label"
                )

    @property
    def names(self) -> list[str]:
        """Those that are to be read: text, pair, label."""
        return [name for name in (self.text_field, self.text_pair_field, self.label_field) if name]

    @property
    def texts(self) -> list[str]:
        """Those of them that hold text."""
        return [name for name in (self.text_field, self.text_pair_field) if name]
