"""`embed` at work: texts to files of vectors."""

import time

from maskmill.deploy.tasks.embed import EmbedRequest
from maskmill.deploy.tasks.texts import MOST_CHARACTERS, TextReader
from maskmill.deploy.tasks.vectors import create_vectors, paths_of
from maskmill.deploy.terminal.inputs import check_apart, describe
from maskmill.deploy.terminal.messages import warn
from maskmill.deploy.terminal.numbers import count
from maskmill.deploy.terminal.progress import Bar
from maskmill.deploy.terminal.tables import new_talk, warn_of_unknown
from maskmill.model.tasks.embed_config import EmbedConfig
from maskmill.pipeline.storage.storage import claim_files

MOST_VALUES = 1 << 25  # of vectors of tokens in memory at once, 128 MB, if a character is a token


def embed_texts(request: EmbedRequest) -> None:
    """Writes a vector for every text of the inputs, and says what was cut or rejected."""
    from maskmill.model.tasks.embed import Embedder

    console, output, config = new_talk(), request.output, request.config
    reader = TextReader(request.inputs, request.reading)
    for path in paths_of(output):
        check_apart(request.inputs, reader.files, path)
    with claim_files(paths_of(output), request.overwrite) as claim:
        trained = request.source.open()
        embedder = Embedder(trained, config)
        console.print(f"Reading {describe(reader.files)}")
        started = time.monotonic()
        texts = long = windows = tokens = unknown = 0
        by_token = config.pooling == "tokens"
        most_characters = min(MOST_CHARACTERS, MOST_VALUES // embedder.width) if by_token else MOST_CHARACTERS
        names = trained.token_names if by_token else None
        with (
            Bar(console, "Embedding") as bar,
            create_vectors(claim, output, embedder.width, config.dtype, request.with_text, names) as file,
        ):
            for some in reader.read_some(most_characters):
                embeddings = list(embedder.embed([one.text for one in some]))
                file.write(some, embeddings)
                texts += len(some)
                long += sum(one.is_cut or one.num_windows > 1 for one in embeddings)
                windows += sum(one.num_windows for one in embeddings)
                tokens += sum(one.num_tokens for one in embeddings)
                unknown += sum(one.num_unknown for one in embeddings)
                done = f"{texts:,} texts, {texts / (time.monotonic() - started):,.0f} texts/s"
                bar.draw(done, texts)
                bar.print_line(done)
    reader.show_dirt()
    warn_of_unknown(unknown / max(tokens, 1))
    if long:
        warn(describe_long(config, embedder.window_length - 2, long, texts, windows))
    seconds = time.monotonic() - started
    console.print(
        f"Wrote {' and '.join(paths_of(output))}: {count(texts, 'text')}, vectors of {embedder.width:,}, "
        f"in {seconds:.1f} s, {texts / seconds:,.0f} texts/s"
    )


def describe_long(config: EmbedConfig, most_tokens: int, long: int, texts: int, windows: int) -> str:
    """What became of the texts that are longer than the model takes."""
    said = f"{long:,} of {count(texts, 'text')} {'has' if long == 1 else 'have'} more than {most_tokens} tokens"
    if config.stride:
        how = "the largest values were" if config.pooling == "max" else "the average was"
        return f"{said}: of their {windows - texts + long:,} windows {how} taken"
    if config.pooling == "tokens":
        return f"{said}, and the rest was cut off"
    return f"{said}, and the rest was cut off; --stride {max(1, most_tokens // 2)} averages over windows of all of it"
