"""A table's file, opened and decompressed."""

import io
from collections.abc import Iterator
from contextlib import contextmanager

import pyarrow as pa

from maskmill.pipeline.reading.compression import decompress, tells_of_data
from maskmill.pipeline.reading.files import BLOCK_BYTES, FilePart
from maskmill.pipeline.storage.storage import open_file
from maskmill.tokenizer.errors import DamagedError, InputError, NeedsMemoryError, first_line


@contextmanager
def open_table(part: FilePart) -> Iterator[io.BufferedReader]:
    """A part's file, decompressed. Raises InputError where it is damaged."""
    try:
        with open_file(part.path, part.version) as file, decompress(file, BLOCK_BYTES) as stream:
            yield stream
    except NeedsMemoryError as error:
        raise error.explain(part.path) from error
    except MemoryError:  # of Arrow's, too, which is one of its exceptions
        raise
    except (DamagedError, pa.ArrowException) as error:
        raise InputError(
            f"is cut off or damaged ({first_line(error)})", way_out="copy it again", path=part.path
        ) from error
    except OSError as error:
        if not tells_of_data(error):
            raise
        raise InputError(
            f"is cut off or damaged ({first_line(error)})", way_out="copy it again", path=part.path
        ) from error
