"""The Beam DAGs. Each reads like its picture; what happens in a step is in `transforms.py` and behind it.

On one machine, `spill_corpus` tokenises and `build_pools` builds, each of them in several processes. Elsewhere
`generate_dataset` does all of it in one job, which needs nobody to wait for it. `work_on_table` is for what uses a
trained model. What each is given is in `jobs.py`.
"""

import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from difflib import get_close_matches
from functools import partial
from itertools import chain, islice
from typing import Any

import apache_beam as beam
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.pvalue import AsDict, AsIter, AsSingleton
from apache_beam.runners.runner import PipelineResult

from maskmill.pipeline.dataset.config import InstanceConfig
from maskmill.pipeline.dataset.outputs import remove_rejected_folder, remove_temporaries
from maskmill.pipeline.dataset.target import Target
from maskmill.pipeline.dataset.unfinished import Unfinished
from maskmill.pipeline.instances.pools import Pools
from maskmill.pipeline.jobs.corpus import count_back, divide_corpus, name_inputs
from maskmill.pipeline.jobs.jobs import (
    EVERYTHING,
    BuildPools,
    CountWords,
    GenerateDataset,
    Share,
    SpillCorpus,
    WorkOnTable,
)
from maskmill.pipeline.jobs.manifest import write_manifest
from maskmill.pipeline.jobs.results import write_result
from maskmill.pipeline.jobs.token_input import list_pools
from maskmill.pipeline.jobs.transforms import (
    COMMON,
    COUNTS,
    BuildFromSpill,
    BuildShards,
    ChoosePools,
    DealCopies,
    FindRepeatedIds,
    ListRepeated,
    MeasureDocuments,
    PoolKey,
    ReadDocuments,
    ReadTokens,
    SpillDocuments,
    SpillIds,
    SumWords,
    TokenizeDocuments,
    WorkOnPart,
    count_copies,
    is_common,
    key_of,
    list_digests,
    list_ids,
)
from maskmill.pipeline.reading.documents import ReadOptions
from maskmill.pipeline.reading.files import FilePart, group_parts, list_parts
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


def spill_corpus(pipeline: beam.Pipeline, job: SpillCorpus) -> None:
    """Parts of the input -> their tokenised documents in the spill, and `{"documents": n, "bytes": n, ...}`."""
    written: list[beam.PCollection] = []
    counts = pipeline | "No counts" >> beam.Create([("documents", 0)])
    if job.token_pools:
        pools = pipeline | "List pools" >> beam.Create(job.token_pools)  # Dataset, of one pool
        tokenized = pools | "Read pools" >> beam.ParDo(ReadTokens(job.vocab, job.config, job.progress))
    else:
        parts = pipeline | "List parts" >> beam.Create([job.parts])  # Sequence[FilePart]
        documents, measures = parts | "Measure" >> _measure(job.options, job.config, job.rejected)
        counts = (counts, measures) | beam.Flatten()
        tokenize = TokenizeDocuments(job.options, job.vocab, job.config.cased, job.progress)
        tokenized = documents | "Tokenize" >> beam.ParDo(tokenize)
        if job.options.id_field:
            written.append(documents | "Spill ids" >> beam.ParDo(SpillIds(job.folder, job.name)))
    written.append(tokenized | "Spill" >> beam.ParDo(SpillDocuments(job.folder, job.name, job.buffer_bytes)))
    totals = counts | "Sum" >> beam.CombinePerKey(sum)
    _ = (
        pipeline
        | "End" >> beam.Create([None])
        | "Write counts" >> beam.Map(_write_counts, job.result, AsDict(totals), *map(AsIter, written))  # when all is
    )


def build_pools(pipeline: beam.Pipeline, job: BuildPools) -> None:
    """The numbers of the wanted pools -> their shards, for every target those that are not finished."""
    _ = (
        pipeline
        | "Name pools" >> beam.Create(list(job.wanted))
        | "Build shards" >> beam.ParDo(BuildFromSpill(job.vocab, job.targets, job.folder, job.tasks), job.pools)
    )


def count_words(pipeline: beam.Pipeline, job: CountWords) -> None:
    """Inputs -> WordCounts and counts of reading."""
    parts = pipeline | "List" >> _list_files(job.inputs, job.share)
    documents, of_reading = parts | "Read" >> _read(job.options)
    words = documents | "Count words" >> beam.CombineGlobally(SumWords(job.cased, job.frequent))  # WordCounts
    counts = of_reading | "Sum" >> beam.CombinePerKey(sum)
    _ = words | "Write" >> beam.Map(partial(_write_words, job.result), AsDict(counts))


def generate_dataset(pipeline: beam.Pipeline, job: GenerateDataset) -> None:
    """Inputs -> datasets, whole: the corpus is measured, then read again to be built, the manifests come last."""
    config = job.targets[0].config
    if job.corpus is None:
        parts = pipeline | "List" >> _list_files(job.inputs)
        corpus, copies, repeated, listed = parts | "Measure" >> _measure_corpus(job.options, config, job.rejected)
        documents, _ = parts | "Read" >> _measure(job.options, config)
        tokenized = documents | "Tokenize" >> beam.ParDo(TokenizeDocuments(job.options, job.vocab, config.cased))
    else:
        tokenized = pipeline | "List" >> _list_pools(job.inputs) | "Read" >> beam.ParDo(ReadTokens(job.vocab, config))
        corpus = pipeline | "Measured before" >> beam.Create([dict(job.corpus)])
        copies = tokenized | "Count copies" >> beam.Map(count_copies) | "Sum copies" >> beam.CombinePerKey(sum)
        repeated, listed = (pipeline | name >> beam.Create([]) for name in ("No repeated ids", "None listed"))
    divide = partial(divide_corpus, name=name_inputs(job.inputs), targets=job.targets, max_rejected=job.max_rejected)
    pools = corpus | "Divide" >> beam.Map(divide, overwrite=job.overwrite, listed=AsIter(listed))  # Pools
    common = copies | "Find common documents" >> beam.Filter(is_common, AsSingleton(pools), AsSingleton(corpus))
    rejected = repeated | "Name rejected" >> beam.Map(lambda one: one.as_tokenized(config))
    every_pool = pools | "Name pools" >> beam.FlatMap(lambda pools: [key_of(n, pools) for n in range(len(pools))])
    documents = (tokenized, rejected) | "Documents" >> beam.Flatten()  # TokenizedDocument
    gathered = documents | "Gather" >> _gather(every_pool, job, AsSingleton(pools), AsDict(common))
    shards = gathered | "Build shards" >> beam.ParDo(BuildShards(job.vocab, job.targets))
    _ = (
        shards  # ShardInfo
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
    """Inputs -> groups of parts of the files that they name. The graph does not grow with the files."""

    def list_share(names: bytes) -> Iterator[list[FilePart]]:
        parts = list_parts(map(os.fsdecode, names.split(b"\0")))
        return islice(group_parts(parts), share[0], None, share[1])

    return (
        pipeline
        | "Name inputs"
        >> beam.Create([b"\0".join(map(os.fsencode, inputs))])  # names may be no UTF-8, which Beam wants
        | "List files" >> beam.FlatMap(list_share)  # list[FilePart]
        | "Share files" >> beam.Reshuffle()
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


@beam.ptransform_fn
def _read(parts: beam.PCollection, options: ReadOptions, rejected: str | None = None) -> Any:
    """Groups of parts of files -> lists of documents, each with its part, and the counts of reading."""
    return parts | beam.ParDo(ReadDocuments(options, rejected)).with_outputs(COUNTS, main="documents")


@beam.ptransform_fn
def _measure(parts: beam.PCollection, options: ReadOptions, config: InstanceConfig, rejected: str | None = None) -> Any:
    """Groups of parts of files -> list[ReadDocument], and counts of reading and of the documents."""
    documents, of_reading = parts | "Read" >> _read(options, rejected)
    measured, of_documents = documents | "Measure" >> beam.ParDo(MeasureDocuments(config)).with_outputs(
        COUNTS, main="documents"
    )
    return measured, (of_reading, of_documents) | beam.Flatten()


@beam.ptransform_fn
def _measure_corpus(parts: beam.PCollection, options: ReadOptions, config: InstanceConfig, rejected: str) -> Any:
    """Groups of parts -> one element with all counts, the copies of each digest, and the documents with repeated ids.

    The latter are listed with the rejected ones, too; when that is done, the last output ends, which has no elements.
    """
    documents, counts = parts | "Read" >> _measure(options, config, rejected)
    digests = documents | "List digests" >> beam.FlatMap(list_digests)  # (digest, number)
    repeated, listed = documents | "Find ids" >> _find_repeated(options, rejected)
    counts_back = repeated | "Count back" >> beam.FlatMap(lambda one: count_back(one.measured).items())
    digests_back = repeated | "Take back" >> beam.Map(lambda one: (one.digest, -1))
    sums = (counts, counts_back, digests, digests_back) | beam.Flatten() | "Sum" >> beam.CombinePerKey(sum)
    copies = sums | "Of digests" >> beam.Filter(lambda one: isinstance(one[0], bytes))
    totals = sums | "Of the corpus" >> beam.Filter(lambda one: isinstance(one[0], str))
    begin = parts.pipeline | "Begin" >> beam.Create([None])
    corpus = begin | "Collect" >> beam.Map(lambda _, totals: +Counter(totals), AsDict(totals))
    return corpus, copies, repeated, listed


@beam.ptransform_fn
def _find_repeated(documents: beam.PCollection, options: ReadOptions, rejected: str) -> Any:
    """Lists of documents -> those rejected for their ids, and an output that ends when all of them are listed."""
    if not options.id_field:  # each shuffle costs an engine time, also one of nothing
        nothing = documents.pipeline | beam.Create([])
        return nothing, nothing
    repeated = (
        documents
        | "List ids" >> beam.FlatMap(list_ids)  # (hash of the id, (digest, MeasuredDocument as JSON))
        | "Gather ids" >> beam.GroupByKey()
        | "Find repeated ids" >> beam.ParDo(FindRepeatedIds())
    )
    listed = (
        repeated
        | "Key by part" >> beam.Map(lambda one: (one.measured.part.number, one.measured.to_json()))
        | "Gather parts" >> beam.GroupByKey()
        | "List rejected" >> beam.ParDo(ListRepeated(rejected))
    )
    return repeated, listed


@beam.ptransform_fn
def _gather(
    documents: beam.PCollection, every_pool: beam.PCollection, job: GenerateDataset, pools: Side, common: Side
) -> Any:
    """Tokenised documents -> (pool, its documents), in the one shuffle of all of them. Pools without any are there."""
    config = job.targets[0].config
    of_pool = tuple[PoolKey, tuple[int, bytes]]  # (pool, (hash of the id, packed document))
    choose = ChoosePools(are_dealt=not config.dedup)
    chosen, of_common = documents | "Choose" >> beam.ParDo(choose, pools, common).with_outputs(COMMON, main="documents")
    parts = [chosen | "Chosen" >> beam.Map(lambda one: one).with_output_types(of_pool)]
    parts.append(every_pool | "Without documents" >> beam.Map(lambda key: (key, (0, b""))).with_output_types(of_pool))
    if choose.are_dealt:
        common_documents = of_common | "Gather common documents" >> beam.GroupByKey()
        deal = beam.ParDo(DealCopies(config)).with_output_types(of_pool)
        parts.append(common_documents | "Deal out copies" >> deal)
    return parts | beam.Flatten() | "Gather pools" >> beam.GroupByKey()


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


def _write_counts(_: None, path: str, counts: dict[str, int], *written: Iterable[Any]) -> None:
    for _ in chain(*written):
        pass  # which has no elements: it only has to be done
    write_result(path, {}, counts)


def _write_words(path: str, words: WordCounts, counts: dict[str, int]) -> None:
    write_result(path, words.to_arrays(), counts)
