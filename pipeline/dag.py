"""The Beam DAGs. Each reads like its picture; what happens in a step is in `transforms.py` and behind it.

Results come back as files, because a runner gives its caller nothing else.
"""

import json
from collections.abc import Callable, Collection, Container, Sequence
from pathlib import Path
from typing import Any

import apache_beam as beam
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.pvalue import AsDict

from pipeline.documents import ReadOptions, list_files
from pipeline.plan import Target
from pipeline.pools import Pools
from pipeline.schema import write_text_atomically
from pipeline.transforms import (
    COUNTS,
    BuildShards,
    CountWords,
    MeasureText,
    ReadDocuments,
    SplitSentences,
    TokenizeDocuments,
)
from pipeline.unfinished import Unfinished
from tokenizer.counts import MAX_FREQUENT_WORDS, FrequentWords, WordCounts
from tokenizer.vocab import Vocab

Build = Callable[[beam.Pipeline], None]  # adds the steps of a DAG to a pipeline


def run(build: Build, beam_options: Sequence[str]) -> None:
    """Builds a DAG, runs it with Beam's own options, and waits for its end."""
    with beam.Pipeline(options=PipelineOptions(list(beam_options))) as pipeline:
        build(pipeline)


def measure_corpus(pipeline: beam.Pipeline, inputs: Sequence[str], options: ReadOptions, result: Path) -> None:
    """Inputs -> `{"documents": n, "bytes": n, ...}`: a cheap first reading, nothing split or tokenised."""
    raw, reading_counts = _read(pipeline, inputs, options)  # list[RawDocument]
    measures = raw | "Measure" >> beam.ParDo(MeasureText())  # (name, number)
    counts = (measures, reading_counts) | beam.Flatten() | "Sum" >> beam.CombinePerKey(sum)
    _write_json(counts, result)


def count_words(
    pipeline: beam.Pipeline,
    inputs: Sequence[str],
    options: ReadOptions,
    cased: bool,
    frequent: FrequentWords | None,
    result: Path,
) -> None:
    """Inputs -> `{"reading": counts, "words": {word: how often}}`, words as BERT's basic tokenizer makes them.

    With too many distinct words there is `"frequent"` instead of them: those to count in a second run.
    """
    raw, reading_counts = _read(pipeline, inputs, options)  # list[RawDocument]
    words = raw | "Count words" >> beam.CombineGlobally(CountWords(cased, frequent))  # WordCounts
    counts = reading_counts | "Sum" >> beam.CombinePerKey(sum)

    def write(words: WordCounts, reading: dict[str, int]) -> None:
        found: dict[str, Any] = {"reading": reading}
        if words.sketch:
            found["frequent"] = words.sketch.find_frequent(MAX_FREQUENT_WORDS).to_json()
        else:
            found["words"] = words.words
        write_text_atomically(result, json.dumps(found, ensure_ascii=True))

    _ = words | "Write" >> beam.Map(write, AsDict(counts))


def generate_shards(
    pipeline: beam.Pipeline,
    inputs: Sequence[str],
    options: ReadOptions,
    vocab: Vocab,
    targets: Sequence[Target],
    pools: Pools,
    wanted: Collection[int],
    finished: Sequence[Container[str]],
) -> None:
    """Inputs -> the TFRecord shards of the wanted pools, for every target those that are not finished."""
    raw, _ = _read(pipeline, inputs, options)  # list[RawDocument]
    documents = (
        raw
        | "Split" >> beam.ParDo(SplitSentences(options))  # list[Sentences]
        | "Tokenize"
        >> beam.ParDo(
            TokenizeDocuments(vocab, targets[0].config, pools, wanted, Unfinished(targets[0].output))
        ).with_output_types(tuple[int, bytes])
    )
    # A pool that no document chose has its shards too, empty ones.
    every_pool = pipeline | "Name pools" >> beam.Create([(pool, b"") for pool in wanted])
    _ = (
        (documents, every_pool)
        | beam.Flatten()
        | "Gather pools" >> beam.GroupByKey()  # (pool, packed documents): the one shuffle
        | "Build shards" >> beam.ParDo(BuildShards(vocab, targets, pools, finished))
    )


def _read(pipeline: beam.Pipeline, inputs: Sequence[str], options: ReadOptions) -> Any:
    """Inputs -> lists of raw documents, and the counts of reading. The graph does not grow with the files."""
    return (
        pipeline
        | "Name inputs" >> beam.Create([list(inputs)])
        | "List files" >> beam.FlatMap(list_files)  # path
        | "Share files" >> beam.Reshuffle()
        | "Read" >> beam.ParDo(ReadDocuments(options)).with_outputs(COUNTS, main="documents")
    )


def _write_json(counts: beam.PCollection, result: Path) -> None:
    def write(counts: dict[str, int]) -> None:
        write_text_atomically(result, json.dumps(counts, ensure_ascii=False))

    _ = counts | beam.combiners.ToDict() | "Write" >> beam.Map(write)
