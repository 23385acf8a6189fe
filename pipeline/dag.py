"""The Beam DAGs. Each reads like its picture; what happens in a step is in `transforms.py` and behind it.

Results come back as files, because a runner gives its caller nothing else.
"""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import apache_beam as beam
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.pvalue import AsDict, AsList

from pipeline.config import InstanceConfig
from pipeline.documents import ReadOptions, list_files
from pipeline.manifest import write_manifest
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
from tokenizer.counts import MAX_FREQUENT_WORDS, FrequentWords, WordCounts
from tokenizer.vocab import Vocab

Build = Callable[[beam.Pipeline], None]  # adds the steps of a DAG to a pipeline


def run(build: Build, beam_options: Sequence[str]) -> None:
    """Builds a DAG, runs it with Beam's own options, and waits for its end."""
    with beam.Pipeline(options=PipelineOptions(list(beam_options))) as pipeline:
        build(pipeline)


def measure_corpus(pipeline: beam.Pipeline, inputs: Sequence[str], options: ReadOptions, result: Path) -> None:
    """Inputs -> `{"documents": n, "characters": n, ...}`: a cheap first reading, nothing split or tokenised."""
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
    config: InstanceConfig,
    pools: Pools,
    output: Path,
) -> None:
    """Inputs -> TFRecord shards, the vocabulary, and, last, the manifest."""
    raw, reading_counts = _read(pipeline, inputs, options)  # list[RawDocument]
    documents, tokenizing_counts = (
        raw
        | "Split" >> beam.ParDo(SplitSentences(options))  # list[Sentences]
        | "Tokenize"
        >> beam.ParDo(TokenizeDocuments(vocab, config, pools))
        .with_output_types(tuple[int, bytes])
        .with_outputs(COUNTS, main="documents")
    )
    # A pool that no document chose has its shards too, empty ones.
    every_pool = pipeline | "Name pools" >> beam.Create([(pool, b"") for pool in range(len(pools))])
    shards, shard_counts = (
        (documents, every_pool)
        | beam.Flatten()
        | "Gather pools" >> beam.GroupByKey()  # (pool, packed documents): the one shuffle
        | "Build shards" >> beam.ParDo(BuildShards(vocab, config, pools, output)).with_outputs(COUNTS, main="shards")
    )
    counts = (
        (reading_counts, tokenizing_counts, shard_counts)
        | "All counts" >> beam.Flatten()
        | "Sum" >> beam.CombinePerKey(sum)
    )
    _ = (
        pipeline
        | beam.Create([output])
        | "Write manifest" >> beam.Map(write_manifest, vocab, config, pools, AsList(shards), AsDict(counts))
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
