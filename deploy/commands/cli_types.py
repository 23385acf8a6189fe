"""Kinds of values on the command line."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import click

from tokenizer.errors import InputError


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


class Field(click.ParamType):  # type: ignore[type-arg]
    """The name of a column or field."""

    name = "field"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Refuses an empty name, as of a variable that is not set."""
        if not value:
            self.fail("it is empty; expected the name of a column or field.", param, ctx)
        return str(value)


UNITS = {"": 1, "B": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12}


class Bytes(click.ParamType):  # type: ignore[type-arg]
    """A number of bytes such as 500MB, 8GB or 1.5e9."""

    name = "size"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """A text to bytes."""
        parts = re.fullmatch(r"([\d.]+(?:e\d+)?)\s*([KMGT]?I?B?)", str(value).upper().replace("E", "e"))
        try:
            number, unit = parts.groups() if parts else ("", "")
            return int(float(number) * UNITS[unit])
        except (KeyError, ValueError):
            self.fail(f"{value} is no size; expected a number of bytes such as 500MB or 8GB.", param, ctx)


@contextmanager
def wrong_usage() -> Iterator[None]:
    """Turns the InputError of an option's value into wrong usage, exit code 2."""
    try:
        yield
    except InputError as error:
        raise click.UsageError(str(error)) from error
