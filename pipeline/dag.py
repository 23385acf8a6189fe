"""The Beam DAGs. Each reads like its picture; what happens in a step is in `transforms.py` and behind it.

Results come back as files, pickled, because a runner gives its caller nothing else.
"""

import pickle
from collections.abc import Callable, Collection, Container, Iterator, Sequence
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import apache_beam as beam
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.pvalue import AsDict

from pipeline.documents import ReadOptions
from pipeline.files import FilePart, list_parts
from pipeline.plan import Target
from pipeline.pools import Pools
from pipeline.transforms import (
    COUNTS,
    BuildShards,
    ChooseDocuments,
    CountWords,
    ListKeys,
    MeasureText,
    ReadDocuments,
    SplitSentences,
    TokenizeDocuments,
)
from pipeline.unfinished import Unfinished
from tokenizer.counts import FrequentWords
from tokenizer.vocab import Vocab

Build = Callable[[beam.Pipeline], None]  # adds the steps of a DAG to a pipeline
Share = tuple[int, int]  # (i, n): of all parts of the files number i and every n-th after it
EVERYTHING: Share = (0, 1)


def run(build: Build, beam_options: Sequence[str]) -> None:
    """Builds a DAG, runs it with Beam's own options, and waits for its end."""
    with beam.Pipeline(options=PipelineOptions(list(beam_options))) as pipeline:
        build(pipeline)


def measure_corpus(
    pipeline: beam.Pipeline,
    inputs: Sequence[str],
    options: ReadOptions,
    result: Path,
    duplicates: Container[bytes] = (),
    rejected: Path | None = None,
    share: Share = EVERYTHING,
) -> None:
    """Inputs -> (keys of documents with ids, `{"documents": n, "bytes": n, ...}`): a cheap first reading."""
    reader = ReadDocuments(options, duplicates, rejected)
    raw, reading_counts = _read(pipeline, inputs, reader, share)  # list[RawDocument]
    measures = raw | "Measure" >> beam.ParDo(MeasureText())  # (name, number)
    keys = raw | "List keys" >> beam.ParDo(ListKeys()) | "Join" >> beam.CombineGlobally(b"".join)  # bytes
    counts = (measures, reading_counts) | beam.Flatten() | "Sum" >> beam.CombinePerKey(sum)
    _ = keys | "Pair" >> beam.Map(_pair, AsDict(counts)) | "Write" >> beam.Map(partial(_write_result, result))


def count_words(
    pipeline: beam.Pipeline,
    inputs: Sequence[str],
    options: ReadOptions,
    cased: bool,
    frequent: FrequentWords | None,
    result: Path,
    share: Share = EVERYTHING,
) -> None:
    """Inputs -> (WordCounts, counts of reading); words as BERT's basic tokenizer makes them."""
    raw, reading_counts = _read(pipeline, inputs, ReadDocuments(options), share)  # list[RawDocument]
    words = raw | "Count words" >> beam.CombineGlobally(CountWords(cased, frequent))  # WordCounts
    counts = reading_counts | "Sum" >> beam.CombinePerKey(sum)
    _ = words | "Pair" >> beam.Map(_pair, AsDict(counts)) | "Write" >> beam.Map(partial(_write_result, result))


def generate_shards(
    pipeline: beam.Pipeline,
    inputs: Sequence[str],
    options: ReadOptions,
    vocab: Vocab,
    targets: Sequence[Target],
    pools: Pools,
    wanted: Collection[int],
    finished: Sequence[Container[str]],
    duplicates: Container[bytes] = (),
) -> None:
    """Inputs -> the TFRecord shards of the wanted pools, for every target those that are not finished."""
    config, progress = targets[0].config, Unfinished(targets[0].output)
    raw, _ = _read(pipeline, inputs, ReadDocuments(options, duplicates))  # list[RawDocument]
    documents = (
        raw
        | "Choose" >> beam.ParDo(ChooseDocuments(config, pools, wanted))  # list[ChosenDocument]
        | "Split" >> beam.ParDo(SplitSentences(options))  # list[Sentences]
        | "Tokenize"
        >> beam.ParDo(TokenizeDocuments(vocab, config.cased, progress)).with_output_types(tuple[int, bytes])
    )
    # A pool that no document chose has its shards too, empty ones.
    every_pool = pipeline | "Name pools" >> beam.Create([(pool, b"") for pool in wanted])
    _ = (
        (documents, every_pool)
        | beam.Flatten()
        | "Gather pools" >> beam.GroupByKey()  # (pool, packed documents): the one shuffle
        | "Build shards" >> beam.ParDo(BuildShards(vocab, targets, pools, finished))
    )


def _read(pipeline: beam.Pipeline, inputs: Sequence[str], reader: ReadDocuments, share: Share = EVERYTHING) -> Any:
    """Inputs -> lists of raw documents, and the counts of reading. The graph does not grow with the files."""

    def list_share(inputs: Sequence[str]) -> Iterator[FilePart]:
        return islice(list_parts(inputs), share[0], None, share[1])

    return (
        pipeline
        | "Name inputs" >> beam.Create([list(inputs)])
        | "List files" >> beam.FlatMap(list_share)  # FilePart
        | "Share files" >> beam.Reshuffle()
        | "Read" >> beam.ParDo(reader).with_outputs(COUNTS, main="documents")
    )


def _pair(one: Any, counts: dict[str, int]) -> tuple[Any, dict[str, int]]:
    return one, counts


def _write_result(path: Path, result: object) -> None:
    path.write_bytes(pickle.dumps(result))
