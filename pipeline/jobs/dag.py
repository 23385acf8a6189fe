"""The Beam DAGs. Each reads like its picture; what happens in a step is in `transforms.py` and behind it.

On one machine, `measure_corpus` and `generate_shards` are jobs of their own, each run in several processes, the latter
in passes. Elsewhere `generate_dataset` does all of it in one job, which needs nobody to wait for it. `work_on_table` is
for what uses a trained model. What each is given is in `jobs.py`.
"""

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from difflib import get_close_matches
from functools import partial
from itertools import islice
from typing import Any

import apache_beam as beam
import numpy as np
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.pvalue import AsDict, AsSingleton
from apache_beam.runners.runner import PipelineResult

from maskmill.pipeline.dataset.outputs import remove_rejected_folder, remove_temporaries
from maskmill.pipeline.dataset.target import Target
from maskmill.pipeline.dataset.unfinished import Unfinished
from maskmill.pipeline.instances.pools import Pools
from maskmill.pipeline.jobs.corpus import divide_corpus, name_inputs
from maskmill.pipeline.jobs.jobs import (
    EVERYTHING,
    BuildDatasets,
    CountWords,
    GenerateDataset,
    GenerateShards,
    MeasureCorpus,
    Share,
    WorkOnTable,
)
from maskmill.pipeline.jobs.manifest import write_manifest
from maskmill.pipeline.jobs.results import write_result
from maskmill.pipeline.jobs.token_input import list_pools
from maskmill.pipeline.jobs.transforms import (
    COUNTS,
    BuildShards,
    ChooseDocuments,
    ListKeys,
    MeasureText,
    ReadDocuments,
    ReadPools,
    SplitSentences,
    SumWords,
    TokenizeDocuments,
    WorkOnPart,
)
from maskmill.pipeline.reading.documents import ReadOptions
from maskmill.pipeline.reading.duplicates import find_duplicates
from maskmill.pipeline.reading.files import FilePart, list_parts
from maskmill.pipeline.tables.rows import list_table_parts
from maskmill.tokenizer.counts import WordCounts
from maskmill.tokenizer.vocab import Vocab

Build = Callable[[beam.Pipeline], None]  # adds the steps of a DAG to a pipeline
ALIKE = 0.8  # of the names of two options: a misspelt one, and no option of Flink's beside one of Beam's
Side = Any  # a value, or a view of a collection that will hold it: steps take either


def submit(build: Build, beam_options: Sequence[str]) -> PipelineResult:
    """Builds a DAG and starts it with Beam's own options."""
    pipeline = beam.Pipeline(options=PipelineOptions(list(beam_options)))
    build(pipeline)
    return pipeline.run()


def find_unknown_options(beam_options: Sequence[str]) -> dict[str, str | None]:
    """The options that Beam does not have, each with the one of Beam's that it looks like, if there is one.

    Beam itself only logs them. Some belong to the engine alone, such as Flink's --object_reuse.
    """
    parsers: list[Any] = []
    PipelineOptions([]).get_all_options(add_extra_args_fn=parsers.append)
    known = [name for action in parsers[0]._actions for name in action.option_strings]
    names = [option.partition("=")[0] for option in beam_options]
    return {name: next(iter(get_close_matches(name, known, 1, ALIKE)), None) for name in names if name not in known}


def measure_corpus(pipeline: beam.Pipeline, job: MeasureCorpus) -> None:
    """Inputs -> the keys of documents with ids, and `{"documents": n, "bytes": n, ...}`."""
    parts = pipeline | "List" >> _list_files(job.inputs, job.share)
    keys, corpus = parts | "Measure" >> _measure(job.options, job.rejected, job.duplicates)
    _ = keys | "Write" >> beam.Map(partial(_write_keys, job.result), AsSingleton(corpus))


def count_words(pipeline: beam.Pipeline, job: CountWords) -> None:
    """Inputs -> WordCounts and counts of reading."""
    parts = pipeline | "List" >> _list_files(job.inputs, job.share)
    raw, reading_counts = parts | "Read" >> _read(ReadDocuments(job.options), ())  # list[Document]
    words = raw | "Count words" >> beam.CombineGlobally(SumWords(job.cased, job.frequent))  # WordCounts
    counts = reading_counts | "Sum" >> beam.CombinePerKey(sum)
    _ = words | "Write" >> beam.Map(partial(_write_words, job.result), AsDict(counts))


def generate_shards(pipeline: beam.Pipeline, job: GenerateShards) -> None:
    """Inputs -> the shards of the wanted pools, for every target those that are not finished."""
    wanted = pipeline | "Name pools" >> beam.Create(list(range(len(job.pools)) if job.wanted is None else job.wanted))
    documents = _choose_documents(_list_input(pipeline, job), job, job.pools, job.duplicates)
    _ = documents | "Build" >> _build(wanted, job.vocab, job.targets, job.pools)


def generate_dataset(pipeline: beam.Pipeline, job: GenerateDataset) -> None:
    """Inputs -> datasets, whole: the corpus is measured, then read again to be built, the manifests come last."""
    parts = _list_input(pipeline, job)
    duplicates: Side = ()
    if job.corpus is None:
        if job.options.id_field:
            keys, _ = parts | "Find ids" >> _measure(job.options, None, duplicates)
            duplicates = AsSingleton(keys | "Find duplicates" >> beam.Map(find_duplicates))
        _, corpus = parts | "Measure" >> _measure(job.options, job.rejected, duplicates)
    else:
        corpus = pipeline | "Measured before" >> beam.Create([dict(job.corpus)])
    pools = corpus | "Divide" >> beam.Map(  # Pools
        divide_corpus, name_inputs(job.inputs), job.targets, job.max_rejected, job.overwrite
    )
    documents = _choose_documents(parts, job, AsSingleton(pools), duplicates)
    every_pool = pools | "Name pools" >> beam.FlatMap(lambda pools: range(len(pools)))
    shards = documents | "Build" >> _build(every_pool, job.vocab, job.targets, AsSingleton(pools))  # ShardInfo
    _ = (
        shards
        | "Wait for shards" >> beam.combiners.Count.Globally()
        | "Write manifests"
        >> beam.FlatMap(_write_manifests, job.targets, job.vocab, job.facts, AsSingleton(pools), AsSingleton(corpus))
        | "Wait for manifests" >> beam.Reshuffle()
        | "Clean up" >> beam.Map(_clean_up)
    )


def work_on_table(pipeline: beam.Pipeline, job: WorkOnTable) -> None:
    """A table -> whatever the job's `work` writes of each of its parts."""
    part_bytes, input_format, share = job.part_bytes, job.input_format, job.share

    def list_share(name: bytes) -> Iterator[FilePart]:
        return islice(list_table_parts(os.fsdecode(name), part_bytes, input_format), share[0], None, share[1])

    _ = (
        pipeline
        | "Name table" >> beam.Create([os.fsencode(job.table)])  # which need not be UTF-8
        | "List parts" >> beam.FlatMap(list_share)  # FilePart
        | "Share parts" >> beam.Reshuffle()
        | "Work" >> beam.ParDo(WorkOnPart(job.work))
    )


@beam.ptransform_fn
def _list_files(pipeline: beam.Pipeline, inputs: Sequence[str], share: Share = EVERYTHING) -> Any:
    """Inputs -> the parts of the files that they name. The graph does not grow with the files."""

    def list_share(names: bytes) -> Iterator[FilePart]:
        return islice(list_parts(map(os.fsdecode, names.split(b"\0"))), share[0], None, share[1])

    return (
        pipeline
        | "Name inputs"
        >> beam.Create([b"\0".join(map(os.fsencode, inputs))])  # names may be no UTF-8, which Beam wants
        | "List files" >> beam.FlatMap(list_share)  # FilePart
        | "Share files" >> beam.Reshuffle()
    )


@beam.ptransform_fn
def _read(parts: beam.PCollection, reader: ReadDocuments, duplicates: Side) -> Any:
    """Parts of files -> lists of raw documents, and the counts of reading."""
    return parts | "Read files" >> beam.ParDo(reader, duplicates).with_outputs(COUNTS, main="documents")


@beam.ptransform_fn
def _measure(parts: beam.PCollection, options: ReadOptions, rejected: str | None, duplicates: Side) -> Any:
    """Parts of files -> one element each: the keys of documents with ids, and the measures with counts of reading."""
    raw, reading_counts = parts | "Read" >> _read(ReadDocuments(options, rejected), duplicates)  # list[Document]
    measures = raw | "Measure text" >> beam.ParDo(MeasureText())  # (name, number)
    counts = (measures, reading_counts) | beam.Flatten() | "Sum" >> beam.CombinePerKey(sum)
    begin = parts.pipeline | "Begin" >> beam.Create([None])
    corpus = begin | "Collect" >> beam.Map(lambda _, counts: counts, AsDict(counts))
    keys = raw | "List keys" >> beam.ParDo(ListKeys()) | "Join" >> beam.CombineGlobally(b"".join)  # bytes
    return keys, corpus


@beam.ptransform_fn
def _tokenize(
    parts: beam.PCollection,
    options: ReadOptions,
    choose: ChooseDocuments,
    tokenize: TokenizeDocuments,
    pools: Side,
    duplicates: Side,
) -> Any:
    """Parts of files -> (pool, packed document) for each document that chose a wanted pool."""
    raw, _ = parts | "Read" >> _read(ReadDocuments(options), duplicates)  # list[Document]
    return (
        raw
        | "Choose" >> beam.ParDo(choose, pools)  # list[ChosenDocument]
        | "Split" >> beam.ParDo(SplitSentences(options))  # list[Sentences]
        | "Tokenize" >> beam.ParDo(tokenize).with_output_types(tuple[int, bytes])
    )


@beam.ptransform_fn
def _list_pools(pipeline: beam.Pipeline, inputs: Sequence[str]) -> Any:
    """Datasets of tokens -> their pools. The graph does not grow with these."""
    return (
        pipeline
        | "Name datasets" >> beam.Create([os.fsencode(name) for name in inputs])
        | "List pools" >> beam.FlatMap(lambda name: list_pools(os.fsdecode(name)))  # Dataset, of one pool
        | "Share pools" >> beam.Reshuffle()
    )


def _list_input(pipeline: beam.Pipeline, job: BuildDatasets) -> beam.PCollection:
    """The parts of the files of documents, or the pools of datasets of tokens."""
    return pipeline | "List" >> (_list_files(job.inputs) if job.corpus is None else _list_pools(job.inputs))


def _choose_documents(parts: beam.PCollection, job: BuildDatasets, pools: Side, duplicates: Side) -> beam.PCollection:
    """What `_list_input` lists -> (pool, packed document) for each document that chooses a wanted pool."""
    config = job.targets[0].config
    if job.corpus is not None:
        read = ReadPools(job.vocab, config, job.wanted, job.progress)
        return parts | "Read pools" >> beam.ParDo(read, pools).with_output_types(tuple[int, bytes])
    choose, tokenize = ChooseDocuments(config, job.wanted), TokenizeDocuments(job.vocab, config.cased, job.progress)
    return parts | "Tokenize" >> _tokenize(job.options, choose, tokenize, pools, duplicates)


@beam.ptransform_fn
def _build(
    documents: beam.PCollection, every_pool: beam.PCollection, vocab: Vocab, targets: Sequence[Target], pools: Side
) -> Any:
    """Packed documents by pool -> the shards of the pools. A pool that no document chose has its shards too."""
    no_documents = every_pool | "Without documents" >> beam.Map(lambda pool: (pool, b"")).with_output_types(
        tuple[int, bytes]
    )
    return (
        (documents, no_documents)
        | beam.Flatten()
        | "Gather pools" >> beam.GroupByKey()  # (pool, packed documents): the one shuffle
        | "Build shards" >> beam.ParDo(BuildShards(vocab, targets), pools)  # ShardInfo
    )


def _write_manifests(
    _: int, targets: Sequence[Target], vocab: Vocab, facts: Mapping[str, Any], pools: Pools, corpus: dict[str, int]
) -> Iterator[str]:
    for target in targets:
        write_manifest(target, vocab, pools, corpus, facts)
    return (target.output for target in targets)


def _clean_up(output: str) -> None:
    Unfinished(output).remove()
    remove_rejected_folder(output)
    remove_temporaries(output)  # of workers that were killed


def _write_keys(path: str, keys: bytes, corpus: dict[str, int]) -> None:
    write_result(path, {"keys": np.frombuffer(keys, np.uint8)}, corpus)


def _write_words(path: str, words: WordCounts, counts: dict[str, int]) -> None:
    write_result(path, words.to_arrays(), counts)
