"""Builds the images for real and runs what they hold: `make test-images`. Not part of `make test`: it takes minutes.

There needs to be neither a Docker daemon nor an image registry: buildah builds, and the public bases are replaced by
ones made here, Debian's Python 3.11 from debootstrap, with Beam from PyPI for the worker. So what the public bases
themselves hold is not tested. Where Go is, the worker's base gets Beam's own boot program, and a Beam job runs in the
image as on a cluster; else that step is left out, and said to be.

All of it lies in one temporary folder and is deleted, unless MASKMILL_IMAGES names one to keep. STORAGE_DRIVER=overlay
is faster than vfs, where it works.
"""

import os
import shutil
import tempfile
from contextlib import ExitStack
from pathlib import Path

from bases import ROOT, make_bases
from beam_job import run_job
from buildah import Images, stop, timed

GENERATE = """
set -e
cd "$(mktemp -d)"
for document in $(seq 60); do for line in 1 2 3 4 5; do
  echo "document $document says in sentence $line that the cat sat on the mat and the dog ran to the park."
done; echo; done > corpus.txt
maskmill vocab corpus.txt --output vocab.txt --vocab-size 200
maskmill generate corpus.txt --vocab-file vocab.txt --output shards --max-seq-length 32 --max-predictions-per-seq 5 \
  --dupe-factor 2 --eval-fraction 0.2
ls shards
"""
TRAIN = """
maskmill train shards --model-dir model --bert-config tiny --num-train-steps 4 --train-batch-size 8
maskmill evaluate shards --model-dir model
"""
DOCTOR = "if maskmill --help | grep -q '^  doctor '; then maskmill doctor; else echo 'maskmill doctor: not there'; fi"
MODULES = "import importlib.util as u; print(*[m for m in ('tensorflow', 'keras', 'jax') if u.find_spec(m)])"


def check_tools() -> None:
    """Stops where the machine cannot build images, and says what to install."""
    missing = [tool for tool in ("buildah", "debootstrap") if not shutil.which(tool)]
    if missing:
        stop(f"{' and '.join(missing)} not found; install with: apt-get install buildah debootstrap")
    if os.geteuid():
        stop("must run as root: debootstrap and buildah's chroot isolation need it")


def check_worker(images: Images, container: str, has_boot: bool) -> None:
    """The worker's image generates, has no TensorFlow, and is Beam's own boot to a cluster."""
    assert images.run(container, "id", "-u").strip() == "0"
    assert not images.run(container, "python", "-c", MODULES).strip(), "TensorFlow is in the worker's image"
    with timed("generated in the worker's image"):
        assert "dataset_info.json" in images.run(container, "sh", "-c", GENERATE)
    print(images.run(container, "sh", "-c", DOCTOR), end="")
    assert images.entry_point(container) == ["/opt/apache/beam/boot"]
    if has_boot:
        with timed("ran a Beam job in the worker's image"):
            run_job(images, container)
    else:
        print("-- no Go here, so no boot program: no Beam job was run in the worker's image")


def check_trainer(images: Images, container: str) -> None:
    """The trainer's image is nobody's root, generates and trains."""
    assert images.run(container, "id", "-u").strip() == "1000", "the trainer runs as root"
    assert images.entry_point(container) == ["maskmill"]
    assert images.run(container, "python", "-c", MODULES).split()[:2] == ["tensorflow", "keras"]
    with timed("generated and trained in the trainer's image"):
        print(images.run(container, "sh", "-c", GENERATE + TRAIN).splitlines()[-1])
    print(images.run(container, "sh", "-c", DOCTOR), end="")


def check_launcher(images: Images, container: str) -> None:
    """The launcher's image holds the file that Google's launcher calls, which ends in one command of maskmill's."""
    assert not images.run(container, "python", "-c", MODULES).strip()
    asked = "import sys, maskmill.deploy.cli; from maskmill.deploy.flex_template.main import to_arguments as to; "
    asked += "print(*to(sys.argv[1:], maskmill.deploy.cli.generate))"
    flags = "--inputs=gs://b/a", "--vocab_file=gs://b/v", "--output=gs://b/o", "--runner=DataflowRunner", "--x=y"
    line = images.run(container, "python", "-c", asked, *flags)
    assert line == "generate --runner dataflow --no-wait --vocab-file=gs://b/v --output=gs://b/o gs://b/a -- --x=y\n"
    refused = 'python "$FLEX_TEMPLATE_PYTHON_PY_FILE" --dupe_factor=x 2>&1 | grep "^Error"'
    print(images.run(container, "sh", "-c", refused), end="")
    sources = "import pathlib, maskmill.deploy as deploy; print(pathlib.Path(deploy.__file__).parent.parent)"
    assert images.run(container, "python", "-c", sources).strip() == "/template"
    images.run(container, "python", "-m", "build", "--no-isolation", "--sdist", "--outdir", "/tmp/sdist", "/template")


def main() -> None:
    """Builds and checks all three."""
    check_tools()
    with ExitStack() as stack:
        kept = os.environ.get("MASKMILL_IMAGES")
        folder = Path(kept or stack.enter_context(tempfile.TemporaryDirectory(prefix="maskmill-images-")))
        folder.mkdir(parents=True, exist_ok=True)
        images = Images(folder)
        has_boot = make_bases(images)
        for name, dockerfile, base, check in (
            ("maskmill-worker", "Dockerfile.worker", "maskmill-beam", lambda *a: check_worker(*a, has_boot)),
            ("maskmill-launcher", "flex_template/Dockerfile", "maskmill-python", check_launcher),
            ("maskmill-trainer", "Dockerfile.trainer", "maskmill-python", check_trainer),
        ):
            images.build(name, ROOT / "deploy" / dockerfile, ROOT, base)
            with images.container(base) as below, images.container(name) as container:
                print(images.run(container, "maskmill", "--version"), end="")
                check(images, container)
                size, base_size = images.megabytes(container), images.megabytes(below)
                print(f"== {name}: {size} MB, of which {base_size} MB are its base", flush=True)
    print("test-images: all passed")


if __name__ == "__main__":
    main()
