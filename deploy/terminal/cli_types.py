"""Kinds of values on the command line."""

import math
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import click

from maskmill.tokenizer.errors import InputError


class Place(click.Path):
    """A path on this machine, or one in Cloud Storage (`gs://bucket/name`), as a string."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Checks what can be checked here, and refuses other URLs, and nothing (that of a variable that is not set)."""
        if not str(value):
            self.fail("it is empty; expected a path.", param, ctx)
        if str(value).startswith("gs://"):
            if not str(value).removeprefix("gs://").strip("/"):
                self.fail(f"{value} names no bucket; expected gs://BUCKET/NAME.", param, ctx)
            if not self.dir_okay and "/" not in str(value).removeprefix("gs://"):
                self.fail(f"{value} is a bucket; expected gs://BUCKET/NAME.", param, ctx)
            return str(value).rstrip("/")
        if "://" in str(value):
            self.fail(f"{value} is neither on this machine nor in Cloud Storage; give a path or gs://...", param, ctx)
        return super().convert(value, param, ctx)


MAX_SHOWN = 60  # characters of a value that is refused
MOST = (1 << 31) - 1  # of a number whose option says nothing else
MOST_WORKERS = 1_000  # processes on this machine
INTEGER = re.compile(r"[+-]?[0-9]{1,30}")
DECIMAL = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)(e[+-]?[0-9]+)?", re.IGNORECASE)


def clip(value: object) -> str:
    """A value that is refused, in one short line."""
    text = str(value)
    text = text if text.isprintable() else text.encode("unicode_escape").decode()
    return text if len(text) <= MAX_SHOWN else f"{text[:MAX_SHOWN]}..."


class Whole(click.IntRange):
    """A whole number in decimal digits. It has a largest value, also where none is given: that of int32."""

    name = "whole number"

    def __init__(self, min: int | None = None, max: int = MOST):
        super().__init__(-MOST if min is None else min, max)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        assert self.min is not None
        assert self.max is not None
        number = int(value) if isinstance(value, int) or INTEGER.fullmatch(str(value)) else None
        if number is None or not self.min <= number <= self.max:
            least, most = f" from {self.min:,} to {self.max:,}", f" of at most {self.max:,}"
            expected = least if self.min != -MOST else "" if number is None else most
            self.fail(f"{clip(value)} is given; expected a whole number{expected}.", param, ctx)
        return number

    def _describe_range(self) -> str:
        if self.min == -MOST or (self.max or 0) > MOST:
            return ""
        return f"x>={self.min}" if self.max == MOST else f"{self.min}<=x<={self.max}"


class Number(click.FloatRange):
    """A finite decimal number, within a range."""

    name = "number"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """A text to the number. One that is too small to be told from 0 is refused: it would be another number."""
        text = str(value)
        number = float(text) if DECIMAL.fullmatch(text) else math.nan
        is_lost = number == 0 and bool(re.match(r"[^e]*[1-9]", text, re.IGNORECASE))
        if not math.isfinite(number) or is_lost or not self._holds(number):
            self.fail(f"{clip(value)} is given; expected {self._range_in_words()}.", param, ctx)
        return number

    def _holds(self, number: float) -> bool:
        above = self.min is None or number > self.min or (number == self.min and not self.min_open)
        return above and (self.max is None or number < self.max or (number == self.max and not self.max_open))

    def _describe_range(self) -> str:
        return "" if self.min is None and self.max is None else super()._describe_range()

    def _range_in_words(self) -> str:
        parts = []
        if self.min is not None:
            parts.append(f"{'more than' if self.min_open else 'at least'} {self.min:g}")
        if self.max is not None:
            parts.append(f"{'less than' if self.max_open else 'at most'} {self.max:g}")
        return f"a number of {' and '.join(parts)}" if parts else "a finite number such as 0.1"


def strict(kind: click.ParamType) -> click.ParamType:  # type: ignore[type-arg]
    """The type of an option: our numbers in place of click's, which take nan, 1_000 and numbers of any size."""
    if isinstance(kind, (Whole, Number)):
        return kind
    if isinstance(kind, click.IntRange):
        return Whole(None if kind.min is None else int(kind.min), MOST if kind.max is None else int(kind.max))
    if isinstance(kind, click.FloatRange):
        return Number(kind.min, kind.max, kind.min_open, kind.max_open)
    if isinstance(kind, click.types.IntParamType):
        return Whole()
    return Number() if isinstance(kind, click.types.FloatParamType) else kind


SEED = Whole(0, (1 << 63) - 1)

UNITS = {"B": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12}
SIZE = re.compile(r"((?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:e[0-9]+)?)(?: ?([KMGT]?B))?", re.IGNORECASE)
MOST_BYTES = 10**18


class Bytes(click.ParamType):  # type: ignore[type-arg]
    """A number of bytes such as 500MB, 8GB or 1.5e9, of one byte or more."""

    name = "size"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        parts = SIZE.fullmatch(str(value))
        size = float(parts[1]) * UNITS[(parts[2] or "B").upper()] if parts else 0.0
        if not 1 <= size <= MOST_BYTES:
            self.fail(f"{clip(value)} is given; expected a number of bytes such as 500MB or 8GB.", param, ctx)
        return int(size)


SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
TIME = re.compile(r"(?=[0-9.])(([0-9]+\.?[0-9]*|\.[0-9]+)[smhd])+", re.IGNORECASE)


class Duration(click.ParamType):  # type: ignore[type-arg]
    """A time such as 90s, 30m, 1h30m or 2d, in seconds."""

    name = "time"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        if isinstance(value, float):
            return value
        seconds = 0.0
        if TIME.fullmatch(value):
            for number, unit in re.findall(r"([0-9.]+)([smhd])", value, re.IGNORECASE):
                seconds += float(number) * SECONDS[unit.lower()]
        if not 1 <= seconds <= MOST:
            self.fail(f"{clip(value)} is given; expected a time such as 90s, 30m, 1h30m or 2d.", param, ctx)
        return seconds


@contextmanager
def wrong_usage() -> Iterator[None]:
    """Turns the InputError of an option's value into wrong usage, exit code 2."""
    try:
        yield
    except InputError as error:
        raise click.UsageError(str(error)) from error
