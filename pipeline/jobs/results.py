"""What a job gives back: arrays and counts in a file, because an engine gives its caller nothing else.

Plain numbers, never pickled objects: whoever can write to the folder could else run code where they are read.
"""

import io
import json
from collections import Counter
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from maskmill.pipeline.storage.storage import read_bytes, write_bytes

COUNTS = "counts.json"


def write_result(path: str, arrays: Mapping[str, NDArray[Any]], counts: Mapping[str, int]) -> None:
    """Writes arrays and counts, whole or not at all."""
    buffer = io.BytesIO()
    text = np.frombuffer(json.dumps(counts).encode(), np.uint8)
    np.savez(buffer, allow_pickle=False, **{COUNTS: text, **arrays})
    write_bytes(path, buffer.getvalue())


def read_result(path: str) -> tuple[dict[str, NDArray[Any]], Counter[str]]:
    """What `write_result` was given."""
    with np.load(io.BytesIO(read_bytes(path)), allow_pickle=False) as file:
        arrays = {name: file[name] for name in file.files}
    return arrays, Counter(json.loads(arrays.pop(COUNTS).tobytes()))
