# Everything runs in a virtual environment of its own, made from Python 3.11 or newer.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV ?= .venv
HF_VENV ?= .venv-hf
CODE = tokenizer pipeline model deploy tests benchmarks setup.py

.PHONY: demo test browser test-flink test-slow test-hf test-images lint types bench fuzz clean

demo: $(VENV)/train  ## all of it, on the documentation of the installed Python packages
	$(VENV)/bin/maskmill demo --output demo

test: lint types browser  ## what CI runs
	$(VENV)/bin/pytest -n 3 --dist loadfile --no-loadscope-reorder

browser: $(VENV)/test  ## Chromium for the tests of reports, by apt-get where this is root's and there is none
	$(VENV)/bin/python tests/helpers/browser.py

test-flink: $(VENV)/test  ## a Flink cluster of three processes, and Prism, made and ended here; downloads 400 MB at first
	$(VENV)/bin/pytest -m flink tests/flink

test-slow: $(VENV)/test  ## trainings in several processes, stopped and killed, of which make test has a short form
	$(VENV)/bin/pytest -n 2 --dist loadfile -m slow

test-hf: $(VENV)/test $(HF_VENV)/transformers  ## equal to Hugging Face's BERT; takes 5 GB at first
	HF_VENV=$(HF_VENV) $(VENV)/bin/pytest -m hf tests/hf

lint: $(VENV)/test
	$(VENV)/bin/ruff check $(CODE)
	$(VENV)/bin/ruff format --check $(CODE)

types: $(VENV)/test  ## mypy finds the packages by links that have their names
	mkdir -p .types/maskmill
	for folder in tokenizer pipeline model deploy; do ln -sfn ../../$$folder .types/maskmill/$$folder; done
	$(VENV)/bin/mypy
	$(VENV)/bin/mypy --config-file benchmarks/mypy.ini benchmarks/*.py

bench: $(VENV)/test  ## speed and memory, see benchmarks/README.md
	$(VENV)/bin/python benchmarks/bench_generate.py

fuzz: $(VENV)/test  ## damaged files of every format, many more than the tests try
	MASKMILL_FUZZ_CASES=20000 $(VENV)/bin/pytest tests/pipeline/reading/test_fuzz.py tests/tokenizer/test_hostile_json.py

test-images: $(VENV)/test  ## builds the images and runs them; as root, after: apt-get install buildah debootstrap
	$(VENV)/bin/python tests/images/build_and_run.py

clean:
	rm -rf $(VENV) $(HF_VENV) build dist demo *.egg-info .pytest_cache .mypy_cache .types .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(VENV)/train: setup.py pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(VENV)/bin/pip install --quiet --editable '.[train]'
	touch $@

$(VENV)/test: setup.py pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(VENV)/bin/pip install --quiet --editable '.[jax,test]'
	touch $@

# An environment of its own: torch and TensorFlow crash each other in one process, and torch is large.
$(HF_VENV)/transformers:
	$(PYTHON) -m venv $(HF_VENV)
	$(HF_VENV)/bin/pip install --quiet 'datasets>=3' 'numpy>=2' 'torch>=2.6' 'transformers>=5'
	touch $@
