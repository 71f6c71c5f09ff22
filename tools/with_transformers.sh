#!/bin/sh
# Runs the tests with another version of transformers than the pinned one, laid over .venv.
#
#     tools/with_transformers.sh 5.15.1 [arguments of pytest]
#
# The oldest and the newest version that pyproject.toml allows are to pass before a release.
set -eu
cd "$(dirname "$0")/.."
version=$1
shift
over="$PWD/build/transformers-$version"
# What this version wants of tokenizers and huggingface_hub comes along; torch is .venv's own.
if [ ! -d "$over" ]; then
  mkdir -p build
  grep -vE '^(transformers|tokenizers|huggingface[-_]hub)==' constraints.txt > "$over.txt"
  .venv/bin/pip install --quiet --target "$over" --constraint "$over.txt" "transformers==$version"
fi
export PYTHONPATH="$over:$PWD/src" PATH="$PWD/.venv/bin:$PATH"
python -c 'import transformers; print("transformers", transformers.__version__)'
exec python -m pytest "$@"
