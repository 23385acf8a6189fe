"""JSON files: parsed within limits, checked against types, and sealed with a checksum where maskmill writes them.

A file may come from anybody. Whatever is in it, InputError is raised: one sentence with the path and the way out.
"""

import hashlib
import json
import math
from collections.abc import Callable, Mapping
from dataclasses import MISSING, fields
from functools import cache
from types import NoneType, UnionType
from typing import TYPE_CHECKING, Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from maskmill.tokenizer.errors import InputError, first_line

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

    Made = TypeVar("Made", bound=DataclassInstance)
else:
    Made = TypeVar("Made")

MAX_BYTES = 16 << 20  # where the kind of file has no limit of its own
MAX_DEPTH = 64  # of lists and objects within each other
MAX_QUOTED = 240  # characters of what is said of a value
SEAL = "sha256"  # the last member of a sealed file: the checksum of the others
VERSION = "format_version"  # the first member; a file that lost one of the two by damage still has the other
FORMAT_VERSION = 1
NOT_SEALED = "fails its own checksum: it was changed since it was written, or an older maskmill wrote it"

Check = Callable[[Any], bool]


def parse_json(content: bytes | str) -> Any:
    """The value of a JSON text. Raises ValueError, never RecursionError or another error.

    NaN, Infinity, numbers too large for a float, doubled member names, and values nested more than MAX_DEPTH deep are
    refused.
    """
    try:
        value = json.loads(
            content, object_pairs_hook=_unique_members, parse_constant=_refuse_constant, parse_float=_finite
        )
    except RecursionError:
        value = None
        is_deep = True
    else:
        is_deep = _is_deeper_than(value, MAX_DEPTH)
    if is_deep:
        raise ValueError(f"its values are nested more than {MAX_DEPTH} deep")
    return value


def parse_object(content: bytes, path: object, way_out: str, max_bytes: int = MAX_BYTES) -> dict[str, Any]:
    """The members of the JSON object that a file holds.

    Args:
        content: of the file; of a longer file than `max_bytes` its first `max_bytes` + 1 bytes are enough.
        path: of the file, for what is said of it.
        way_out: what to do when the file cannot be used, as the end of a sentence.
        max_bytes: the most bytes that the file may have.
    """
    if len(content) > max_bytes:
        raise InputError(
            f"has more than {max_bytes >> 20:,} MiB, too large for a file of this kind", way_out=way_out, path=path
        )
    try:
        value = parse_json(content)
        json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError as error:
        raise InputError("is damaged (a string in it is half a surrogate pair)", way_out=way_out, path=path) from error
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"is not JSON ({first_line(error)})", way_out=way_out, path=path) from error
    except ValueError as error:
        raise InputError(f"is damaged ({first_line(error)})", way_out=way_out, path=path) from error
    if not isinstance(value, dict):
        raise InputError("holds no JSON object", way_out=way_out, path=path)
    return value


def make(kind: type[Made], values: object, path: object, way_out: str) -> Made:
    """A dataclass with the members of a JSON object as its fields, whose types are checked; lists become tuples.

    Raises InputError where a member is missing, unknown, of another type, or refused by the class itself.
    """
    checks, required = _checks_of(kind)
    wrong = None
    if not isinstance(values, dict):
        wrong = f"{brief(values)} where an object is expected"
    elif unknown := values.keys() - checks.keys():
        wrong = f"an unknown member {brief(min(unknown))}"
    elif missing := required - values.keys():
        wrong = f"it has no {min(missing)}"
    else:
        wrong = next((f"{name} is {brief(value)}" for name, value in values.items() if not checks[name](value)), None)
    if wrong is None:
        assert isinstance(values, dict)
        given = {name: tuple(value) if isinstance(value, list) else value for name, value in values.items()}
        try:
            return kind(**given)
        except InputError as error:
            wrong = " ".join(str(error).split())[:MAX_QUOTED]
    raise InputError(f"is damaged ({wrong})", way_out=way_out, path=path)


def require_types(values: Mapping[str, Any], types: Mapping[str, Any], path: object, way_out: str) -> None:
    """Raises InputError naming the first member that is missing or of another type; others may be there."""
    for name, kind in types.items():
        if name not in values:
            raise InputError(f"is damaged (it has no {name})", way_out=way_out, path=path)
        if not check_of(kind)(values[name]):
            raise InputError(f"is damaged ({name} is {brief(values[name])})", way_out=way_out, path=path)


def brief(value: object) -> str:
    """A value in few characters, for a sentence.

    >>> brief("x" * 100)
    "'xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx..."
    """
    if isinstance(value, dict | list) and len(value) > 3:
        return f"{'an object' if isinstance(value, dict) else 'a list'} of {len(value):,}"
    try:
        text = repr(value)
    except ValueError:  # an int of more digits than Python writes
        text = "a number of thousands of digits"
    return text if len(text) <= MAX_QUOTED // 4 else f"{text[: MAX_QUOTED // 4]}..."


@cache
def check_of(kind: Any) -> Check:
    """A function that says whether a value of JSON is of a type.

    >>> check_of(int)(True), check_of(float)(1), check_of(dict[str, list[int]])({"a": [1, "b"]})
    (False, True, False)
    """
    origin, arguments = get_origin(kind), get_args(kind)
    if kind is Any:
        return lambda value: True
    if origin is Literal:
        return lambda value: type(value) in (str, int, bool, NoneType) and value in arguments
    if origin in (Union, UnionType):
        checks = [check_of(one) for one in arguments]
        return lambda value: any(check(value) for check in checks)
    if origin in (list, tuple):
        of_item = check_of(arguments[0])
        return lambda value: isinstance(value, list) and all(map(of_item, value))
    if origin is dict:
        of_value = check_of(arguments[1])
        return lambda value: isinstance(value, dict) and all(map(of_value, value.values()))
    if kind is float:
        return lambda value: type(value) in (int, float)
    return lambda value: type(value) is kind


def seal(values: Mapping[str, Any]) -> str:
    """JSON that holds a checksum of itself, by which every change of its bytes is noticed, see `is_sealed`."""
    digest = hashlib.sha256(_to_json(values).encode()).hexdigest()
    return _to_json({**values, SEAL: digest})


def is_sealed(content: bytes) -> bool:
    """Whether JSON is, byte by byte, what `seal` made. Raises ValueError when it is no JSON."""
    values = parse_json(content)
    if not isinstance(values, dict):
        return False
    values.pop(SEAL, None)
    try:
        return seal(values).encode() == content
    except UnicodeEncodeError:
        return False


def seal_versioned(values: Mapping[str, Any]) -> str:
    """As `seal`, with a version of the form as the first member; `parse_sealed` reads it."""
    return seal({VERSION: FORMAT_VERSION, **values})


def parse_sealed(content: bytes, path: object, way_out: str) -> dict[str, Any]:
    """The members that `seal_versioned` was given, or those of a file of an older maskmill, which has no checksum.

    Raises InputError when the file was changed since it was written.
    """
    values = parse_object(content, path, way_out)
    if VERSION not in values and SEAL not in values:
        return values
    if not is_sealed(content):
        raise InputError("is damaged (it fails its own checksum)", way_out=way_out, path=path)
    if (version := values.pop(VERSION, None)) != FORMAT_VERSION:
        raise InputError(
            f"has {VERSION} {brief(version)}, this maskmill reads {FORMAT_VERSION}",
            way_out="use the maskmill that wrote it",
            path=path,
        )
    del values[SEAL]
    return values


@cache
def _checks_of(kind: type[Any]) -> tuple[dict[str, Check], frozenset[str]]:
    """A check for each field of a dataclass, and the fields without a default."""
    hints = get_type_hints(kind)
    required = (field.name for field in fields(kind) if field.default is MISSING and field.default_factory is MISSING)
    return {field.name: check_of(hints[field.name]) for field in fields(kind)}, frozenset(required)


def _to_json(values: Mapping[str, Any]) -> str:
    return json.dumps(values, indent=1, ensure_ascii=False) + "\n"


def _is_deeper_than(value: Any, most: int) -> bool:
    level = [value]
    for _ in range(most + 1):
        level = [
            item
            for one in level
            if isinstance(one, dict | list)
            for item in (one.values() if isinstance(one, dict) else one)
        ]
        if not level:
            return False
    return True


def _unique_members(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) < len(pairs):
        seen: set[str] = set()
        name = next(name for name, _ in pairs if name in seen or seen.add(name))  # type: ignore[func-returns-value]
        raise ValueError(f"two members have the name {brief(name)}")
    return members


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is no JSON number")


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"the number {text[:20]} is too large")
    return value
