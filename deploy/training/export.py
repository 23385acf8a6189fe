"""`maskmill export`: its options, and what it does."""

from typing import TYPE_CHECKING

import click

from maskmill.deploy.terminal.cli_types import Place
from maskmill.deploy.terminal.command import MAKES, READS, RUNS, Command, option, under
from maskmill.deploy.terminal.options import BACKEND, CHECKPOINT, MODEL_DIR
from maskmill.pipeline.dataset.schema import VOCAB
from maskmill.pipeline.storage.local_claims import create_folder
from maskmill.pipeline.storage.storage import list_names, require_empty, write_text

if TYPE_CHECKING:
    from maskmill.model.formats.model_dir import WhichCheckpoint


@click.command(
    cls=Command,
    stopped="Stopped; nothing was written.",
    examples=(
        "maskmill export --model-dir model --output bert",
        "maskmill export --model-dir gs://BUCKET/model --checkpoint best --output bert",
    ),
)
@under(READS, MODEL_DIR, CHECKPOINT)
@under(MAKES, option("--output", required=True, type=Place(file_okay=False), help="Folder to write."))
@under(RUNS, BACKEND)
def export(model_dir: str, output: str, checkpoint: "WhichCheckpoint", backend: str) -> None:
    """Write a model for Hugging Face transformers and Keras.

    The output is a folder that transformers loads. It also has a file that Keras loads without maskmill.
    """
    from maskmill.deploy.terminal.backend import choose_backend

    choose_backend(backend)
    export_model(model_dir, output, checkpoint)


def export_model(model_dir: str, output: str, checkpoint: "WhichCheckpoint") -> None:
    """Writes the model as a folder that Hugging Face `transformers` loads, whole or not at all.

    Raises InputError when the folder is there and not empty.
    """
    from maskmill.deploy.terminal.tables import new_talk
    from maskmill.model.formats import export
    from maskmill.model.formats.model_dir import read_training
    from maskmill.pipeline.storage.mirror import mirror
    from maskmill.tokenizer.huggingface import to_tokenizer_json
    from maskmill.tokenizer.vocab import Vocab

    require_empty(output)  # before it is mirrored
    with mirror(model_dir) as source, mirror(output, is_new=True) as target, create_folder(target.local) as folder:
        export.export(source.local, folder, checkpoint)
        vocab = Vocab.load(folder / VOCAB)
        cased = read_training(source.local)["cased"]
        write_text(folder / "tokenizer.json", to_tokenizer_json(vocab, cased))
    new_talk().print(f"Wrote {output}: {', '.join(list_names(output))}")
