"""The examples of a dataset in the order of training, whatever its format: a function of seed and epoch alone.

An epoch holds every example once, copy by copy; the shards of a copy are in random order, and the examples are shuffled
in windows. A dataset of tokens has one epoch without end, copy after copy.
"""

import itertools
from bisect import bisect_right
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, replace

import numpy as np
from numpy.typing import NDArray

from maskmill.model.training.prefetch import make_ahead
from maskmill.pipeline.dataset.dataset import Dataset
from maskmill.pipeline.dataset.schema import MANIFEST, DatasetInfo, ShardInfo, Split
from maskmill.pipeline.instances.token_dataset import TokenDataset, cast
from maskmill.pipeline.records.decoding import ExampleDecoder
from maskmill.pipeline.records.parquet_file import Columns, read_parquet
from maskmill.pipeline.records.tfrecord import read_records
from maskmill.tokenizer.errors import InputError

# Examples shuffled at a time: enough to mix the documents of a pool. Two windows are held, the one that is trained on
# and the next: 14 MB each at 128 tokens, 45 MB at 512.
SHUFFLE_WINDOW = 1 << 14
READ_ROWS = 1 << 10  # at a time
_BOOKMARK = "bookmark/"  # begins the names of their numbers

Features = dict[str, np.ndarray]  # by name, [batch, length], int32 and float32


@dataclass(frozen=True)
class Piece:
    """Some examples of a shard, or of a copy of a pool, in their order."""

    examples: list[bytes] | Columns  # serialised, or by the names of features
    name: str  # where they are from
    first: int  # the number of the first of them there, from 0
    bookmark: "Bookmark | None" = None  # of the first of them, where they are drawn

    def __len__(self) -> int:
        return len(self.examples) if isinstance(self.examples, list) else len(self.examples["input_ids"])

    def cut(self, start: int, stop: int | None = None) -> "Piece":
        """Those from one place to another."""
        if isinstance(self.examples, list):
            return Piece(self.examples[start:stop], self.name, self.first + start)
        columns = {name: values[start:stop] for name, values in self.examples.items()}
        bookmark = self.bookmark and replace(self.bookmark, example=self.bookmark.example + start)
        return Piece(columns, self.name, self.first + start, bookmark)


@dataclass(frozen=True)
class Bookmark:
    """A place in a dataset of tokens: a copy, one of its pools in their order, and an example of that."""

    copy: int
    pool: int
    example: int


class Window:
    """Examples that are shuffled together, in the order of reading."""

    def __init__(self, pieces: Sequence[Piece], decoder: ExampleDecoder | None):
        self.pieces = pieces
        self.starts = list(itertools.accumulate(map(len, pieces), initial=0))
        self.decoder = decoder  # of serialised examples
        self.records = [record for piece in pieces if isinstance(piece.examples, list) for record in piece.examples]
        columns = [piece.examples for piece in pieces if not isinstance(piece.examples, list)]
        names = columns[0] if columns else {}
        self.columns = {name: np.concatenate([one[name] for one in columns]) for name in names}

    def __len__(self) -> int:
        return self.starts[-1]

    def name_of(self, place: int) -> str:
        """What an error calls an example."""
        number = bisect_right(self.starts, place) - 1
        piece = self.pieces[number]
        return f"{piece.name}, record {piece.first + place - self.starts[number] + 1}"

    def take(self, places: NDArray[np.int64]) -> Features:
        """The features of some of them. Raises InputError where a record is no example of the dataset."""
        if self.decoder is None:
            return cast({name: values[places] for name, values in self.columns.items()})
        records = [self.records[place] for place in places.tolist()]
        return self.decoder.decode(records, lambda row: self.name_of(int(places[row])))


Bookmarks = dict[int, Bookmark]  # by the number of the window that begins there


def name_bookmark(number: int, bookmarks: Bookmarks, start: int) -> dict[str, float]:
    """The last bookmark before the `start`-th example as numbers by name, to be kept as those of dataset `number`.

    Forgets those before it.
    """
    window = max((one for one in list(bookmarks) if one <= start // SHUFFLE_WINDOW), default=None)
    if window is None:
        return {}
    for old in [one for one in list(bookmarks) if one < window]:
        del bookmarks[old]
    values = {"window": window, **asdict(bookmarks[window])}
    return {f"{_BOOKMARK}{number}/{name}": float(value) for name, value in values.items()}


def read_bookmarks(numbers: Mapping[str, float]) -> dict[int, Bookmarks]:
    """The bookmarks among numbers that `name_bookmark` named, by the number of their dataset."""
    found: dict[int, dict[str, int]] = {}
    for name, value in numbers.items():
        if name.startswith(_BOOKMARK):
            number, field = name.removeprefix(_BOOKMARK).split("/")
            found.setdefault(int(number), {})[field] = int(value)
    return {number: {values.pop("window"): Bookmark(**values)} for number, values in found.items()}


def training_windows(
    dataset: Dataset, random_seed: int, start: int, bookmarks: Bookmarks | None = None
) -> Generator[tuple[Window, NDArray[np.int64]], None, None]:
    """Windows for ever, from the one with the `start`-th example on, each with the order in which it is trained on.

    Of a dataset of tokens, `bookmarks` say where windows begin, and are kept up to date. Without, finding the first
    takes a ninth of the time that drawing all before it took.
    """
    if dataset.info.format == "tokens":
        windows = _drawn_windows(TokenDataset(dataset), random_seed, start, {} if bookmarks is None else bookmarks)
        skip = start % SHUFFLE_WINDOW
    else:
        windows = _stored_windows(dataset, random_seed, start)
        skip = start % dataset.info.examples_of("train") % SHUFFLE_WINDOW
    with closing(make_ahead(windows, 1)) as ahead:
        for epoch, number, window in ahead:
            yield window, np.random.default_rng([random_seed, epoch, 1, number]).permutation(len(window))[skip:]
            skip = 0


def windows_in_order(dataset: Dataset, split: Split) -> Generator[tuple[Window, NDArray[np.int64]], None, None]:
    """The examples of a split, once, in the order of the shards."""
    shards = dataset.info.shards_of(split)
    if dataset.info.format == "tokens":
        pieces = _draw_pieces(TokenDataset(dataset), shards, 0)
    else:
        pieces = _read_pieces(dataset, shards)
    windows = _gather(pieces, _decoder_of(dataset))
    with closing(make_ahead(windows, 1)) as ahead:
        for window in ahead:
            yield window, np.arange(len(window))


def shards_of_epoch(info: DatasetInfo, random_seed: int, epoch: int) -> list[ShardInfo]:
    """The train shards in the order of an epoch: the copies in turn, each with its pools shuffled."""
    order = []
    for copy, shards in itertools.groupby(info.shards_of("train"), key=lambda shard: shard.copy):
        order += _shuffled(list(shards), random_seed, epoch, copy)
    return order


def _shuffled(pools: Sequence[ShardInfo], random_seed: int, epoch: int, copy: int) -> list[ShardInfo]:
    permutation = np.random.default_rng([random_seed, epoch, 0, copy]).permutation(len(pools))
    return [pools[i] for i in permutation]


def _decoder_of(dataset: Dataset) -> ExampleDecoder | None:
    return ExampleDecoder(dataset.info.features) if dataset.info.format == "tfrecord" else None


def _stored_windows(dataset: Dataset, random_seed: int, start: int) -> Generator[tuple[int, int, Window], None, None]:
    """Epoch, number of the window in it, and the window, of records or columns."""
    first_epoch, place = divmod(start, dataset.info.examples_of("train"))
    decoder = _decoder_of(dataset)
    for epoch in itertools.count(first_epoch):
        first = place // SHUFFLE_WINDOW
        pieces = _read_pieces(dataset, shards_of_epoch(dataset.info, random_seed, epoch), first * SHUFFLE_WINDOW)
        for number, window in enumerate(_gather(pieces, decoder), first):
            yield epoch, number, window
        place = 0


def _drawn_windows(
    tokens: TokenDataset, random_seed: int, start: int, bookmarks: Bookmarks
) -> Generator[tuple[int, int, Window], None, None]:
    """As `_stored_windows`, of copies that are drawn: all in one epoch, without end."""
    first = start // SHUFFLE_WINDOW
    begin = _find_bookmark(tokens, random_seed, first, bookmarks)
    pools = tokens.dataset.info.shards_of("train")

    def pieces() -> Iterator[Piece]:
        at = begin
        for copy in itertools.count(begin.copy):
            shards = _shuffled(pools, random_seed, 0, copy)
            yield from _draw_pieces(tokens, shards, copy, at)
            at = Bookmark(copy + 1, 0, 0)

    for number, window in enumerate(_gather(pieces(), None), first):
        bookmarks[number] = window.pieces[0].bookmark or begin
        yield 0, number, window


def _find_bookmark(tokens: TokenDataset, random_seed: int, window: int, bookmarks: Bookmarks) -> Bookmark:
    """Where a window begins, counted from the last bookmark before it."""
    known = max((number for number in list(bookmarks) if number <= window), default=None)
    at, left = (Bookmark(0, 0, 0), window) if known is None else (bookmarks[known], window - known)
    if not left:
        return at
    left = left * SHUFFLE_WINDOW + at.example
    pools = tokens.dataset.info.shards_of("train")
    for copy in itertools.count(at.copy):
        shards = _shuffled(pools, random_seed, 0, copy)
        for place in range(at.pool if copy == at.copy else 0, len(shards)):
            if left == 0:
                return Bookmark(copy, place, 0)
            if left < (examples := tokens.count(shards[place], copy)):
                return Bookmark(copy, place, left)
            left -= examples
    raise AssertionError("copies have no end")


def _gather(pieces: Iterator[Piece], decoder: ExampleDecoder | None) -> Generator[Window, None, None]:
    """Pieces as windows of as many examples as are shuffled together; the last may have fewer."""
    waiting: list[Piece] = []
    room = SHUFFLE_WINDOW
    for piece in pieces:
        while len(piece) >= room:
            yield Window([*waiting, piece.cut(0, room)], decoder)
            piece, waiting, room = piece.cut(room), [], SHUFFLE_WINDOW
        if len(piece):
            waiting.append(piece)
            room -= len(piece)
    if waiting:
        yield Window(waiting, decoder)


def _draw_pieces(
    tokens: TokenDataset, shards: Sequence[ShardInfo], copy: int, begin: Bookmark = Bookmark(0, 0, 0)
) -> Iterator[Piece]:
    """The instances of a copy of some pools in turn, from a bookmark on."""
    for place in range(begin.pool, len(shards)):
        skip = begin.example if place == begin.pool else 0
        name, first = f"{tokens.dataset.path_of(shards[place])}, copy {copy}", 0
        for columns in tokens.draw(shards[place], copy):
            piece = Piece(columns, name, first, Bookmark(copy, place, first))
            first += len(piece)
            if first > skip:
                yield piece.cut(max(0, skip - piece.first))


def _read_pieces(dataset: Dataset, shards: Sequence[ShardInfo], skip: int = 0) -> Iterator[Piece]:
    """The examples of the shards in turn, without the first `skip`; whole shards are skipped unread.

    Raises InputError when a record is damaged, a shard has not as many as the manifest says, or the dataset is no
    longer the one whose files were checked.
    """
    for shard in shards:
        if skip >= shard.examples:
            skip -= shard.examples
            continue
        path, found = dataset.path_of(shard), 0
        with dataset.unchanged():
            for piece in _read_shard(dataset, shard):
                found += len(piece)
                if found > skip:
                    yield piece.cut(max(0, skip - piece.first))
            if found != shard.examples:
                raise InputError(
                    f"has {found} records, {MANIFEST} says {shard.examples}",
                    way_out="restore the file, or generate the dataset again with --overwrite",
                    path=path,
                )
        skip = 0


def _read_shard(dataset: Dataset, shard: ShardInfo) -> Iterator[Piece]:
    """The examples of a shard, READ_ROWS at a time."""
    path, rows, version = dataset.path_of(shard), min(READ_ROWS, SHUFFLE_WINDOW), dataset.versions.get(shard.path)
    first = 0
    if dataset.info.format == "parquet":
        for columns in read_parquet(path, dataset.info.features, rows, version):
            yield Piece(columns, path, first)
            first += len(columns["input_ids"])
        return
    records = read_records(path, version)
    while some := list(itertools.islice(records, rows)):
        yield Piece(some, path, first)
        first += len(some)
