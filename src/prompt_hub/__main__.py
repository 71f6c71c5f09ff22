"""``python -m prompt_hub``, for torchrun and accelerate launch."""

from prompt_hub.cli.main import run

run()
