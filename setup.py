"""Packaging. The folders of the checkout install as `maskmill.tokenizer`, `maskmill.pipeline` and so on."""

from setuptools import find_packages, setup

FOLDERS = ("tokenizer", "pipeline", "model", "deploy")

CORE = [  # all that a worker needs: no TensorFlow
    "apache-beam[gcp]>=2.77,<3",
    "click>=8.2",
    "google-cloud-storage>=3",
    "google-crc32c>=1.5",
    "isal>=1.7",
    "numpy>=2",
    "orjson>=3.9",
    "packaging>=22",
    "pyarrow>=16",
    "rich>=13",
    "safetensors>=0.5",
    "sentencex>=1.0",
    "tokenizers>=0.21,<1",
]
REPORT = [
    "jinja2>=3.1",
    "matplotlib>=3.8",
]
KERAS = [  # what the model needs on either backend, and what one looks at its data with
    *REPORT,
    "keras>=3.12,<4",
    "tensorboard>=2.19",
    "uniplot>=0.20",
]
COMPARE = ["scipy>=1.11"]  # not in the core: workers would install its 110 MB
TENSORFLOW = ["tensorflow>=2.19,<3"]
JAX = ["jax>=0.6"]
TEST = [
    *COMPARE,
    *TENSORFLOW,  # an oracle of records and batches
    "build>=1.2",
    "gcp-storage-emulator>=2024.8",
    "hypothesis>=6.100",
    "mypy>=1.13",
    "playwright>=1.50",  # drives the browser that looks at reports
    "pytest>=8.3",
    "pytest-xdist>=3.6",
    "ruff>=0.8",
    "setuptools>=77",
]

setup(
    name="maskmill",
    version="0.1.0",
    description="Raw documents to BERT pre-training shards on Apache Beam, and a Keras BERT trained on them.",
    license="Apache-2.0",
    license_files=["LICENSE"],
    python_requires=">=3.11",
    package_dir={f"maskmill.{name}": name for name in FOLDERS},
    packages=[
        f"maskmill.{name}"
        for name in find_packages(include=[f"{folder}*" for folder in FOLDERS])
        if name != "deploy.flex_template"  # runs in a checkout
    ],
    package_data={
        "maskmill.tokenizer": ["unicode_14.txt"],
        "maskmill.deploy.data": ["prices.json"],
        "maskmill.deploy.report": ["style.css", "template.html.j2"],
    },
    install_requires=CORE,
    extras_require={
        "report": REPORT,
        "compare": COMPARE,
        "train": [*KERAS, *COMPARE, *TENSORFLOW],
        "jax": [*KERAS, *COMPARE, *JAX],
        "tpu": [*KERAS, "jax[tpu]>=0.6"],
        "test": TEST,
    },
    entry_points={"console_scripts": ["maskmill = maskmill.deploy.cli:main"]},
)
