#!/bin/sh
# Runs the tests with another version of transformers than the pinned one, laid over .venv.
#
#     tools/with_transformers.sh 'transformers==5.15.1' [arguments of pytest]
#     tools/with_transformers.sh 'transformers<6' [arguments of pytest]
#
# So the oldest that pyproject.toml allows, and the newest. Not the benchmarks' tests, which count the operations
# of the pinned version.
set -eu
cd "$(dirname "$0")/.."
wanted=$1
shift
over="$PWD/build/$(printf %s "$wanted" | tr -c 'a-z0-9.' -)"
# What that version wants of tokenizers and huggingface_hub comes along; torch is .venv's own.
if [ ! -d "$over" ]; then
  mkdir -p build
  grep -vE '^(transformers|tokenizers|huggingface[-_]hub)==' constraints.txt > "$over.txt"
  .venv/bin/pip install --quiet --target "$over" --constraint "$over.txt" "$wanted"
fi
export PYTHONPATH="$over:$PWD/src" PATH="$PWD/.venv/bin:$PATH"
python -c 'import transformers; print("transformers", transformers.__version__)'
exec python -m pytest --ignore tests/benchmarks "$@"
