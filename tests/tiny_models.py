"""Tiny random backbones of every family, written as ordinary Hugging Face folders."""

from __future__ import annotations

import random
from pathlib import Path

import torch
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import PreTrainedTokenizerFast

WORDS = (
    "the film was good bad great awful plot actor scene story boring lovely negative positive moderate "
    "conflict no neutral yes true false acceptable unacceptable sentiment question answer context people "
    "dog cat runs sleeps happy sad house garden red blue summary dialogue"
).split()


def corpus(lines: int = 400) -> list[str]:
    chooser = random.Random(0)
    return [" ".join(chooser.choices(WORDS, k=chooser.randint(3, 12))) + " ." for _ in range(lines)]


def byte_bpe(kind: str) -> PreTrainedTokenizerFast:
    """A byte-level BPE tokenizer with GPT-2, RoBERTa or T5/BART special tokens."""
    special = {
        "gpt2": ["<|endoftext|>"],
        "llama": ["<unk>", "<s>", "</s>"],
        "roberta": ["<s>", "<pad>", "</s>", "<unk>", "<mask>"],
        "t5": ["<pad>", "</s>", "<unk>"],
        "bart": ["<s>", "<pad>", "</s>", "<unk>", "<mask>"],
    }[kind]
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=400, special_tokens=special, initial_alphabet=alphabet)
    tokenizer.train_from_iterator(corpus(), trainer)
    ids = {token: tokenizer.token_to_id(token) for token in special}
    if kind in ("roberta", "bart"):
        tokenizer.post_processor = processors.RobertaProcessing(
            ("</s>", ids["</s>"]), ("<s>", ids["<s>"]), add_prefix_space=False
        )
        names = dict(
            bos_token="<s>", eos_token="</s>", cls_token="<s>", sep_token="</s>", pad_token="<pad>",
            unk_token="<unk>", mask_token="<mask>",
        )  # fmt: skip
    elif kind == "t5":
        tokenizer.post_processor = processors.TemplateProcessing(
            single="$A </s>", special_tokens=[("</s>", ids["</s>"])]
        )
        names = dict(pad_token="<pad>", eos_token="</s>", unk_token="<unk>")
    elif kind == "llama":
        tokenizer.post_processor = processors.TemplateProcessing(
            single="<s> $A", special_tokens=[("<s>", ids["<s>"])]
        )
        names = dict(bos_token="<s>", eos_token="</s>", unk_token="<unk>")
    else:
        names = dict(bos_token="<|endoftext|>", eos_token="<|endoftext|>", unk_token="<|endoftext|>")
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, **names)


def wordpiece() -> PreTrainedTokenizerFast:
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece()
    tokenizer.train_from_iterator(corpus(), trainers.WordPieceTrainer(vocab_size=160, special_tokens=special))
    tokenizer.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="[PAD]", unk_token="[UNK]", cls_token="[CLS]",
        sep_token="[SEP]", mask_token="[MASK]",
    )  # fmt: skip


def build(kind: str, folder: Path, positions: int = 96, width: int = 32, layers: int = 2) -> Path:
    """Write a tiny random model of ``kind`` and its tokenizer into ``folder``."""
    import transformers as hf

    torch.manual_seed(sum(map(ord, kind)))
    if kind in ("bert", "distilbert"):
        tokenizer = wordpiece()
    else:
        names = {"opt": "gpt2", "qwen2": "gpt2", "t5-v1.1": "t5"}
        tokenizer = byte_bpe(names.get(kind, kind))
    size = dict(vocab_size=len(tokenizer))
    encoder = dict(hidden_size=width, num_hidden_layers=layers, num_attention_heads=4, intermediate_size=64)
    pad = tokenizer.pad_token_id
    if kind == "bert":
        model = hf.BertForMaskedLM(hf.BertConfig(**size, **encoder, max_position_embeddings=positions))
    elif kind == "distilbert":
        model = hf.DistilBertForMaskedLM(
            hf.DistilBertConfig(
                **size, dim=32, n_layers=layers, n_heads=4, hidden_dim=64, max_position_embeddings=positions
            )
        )
    elif kind == "roberta":
        config = hf.RobertaConfig(
            **size, **encoder, max_position_embeddings=positions + 2, pad_token_id=pad, type_vocab_size=1
        )
        model = hf.RobertaForMaskedLM(config)
    elif kind == "gpt2":
        model = hf.GPT2LMHeadModel(
            hf.GPT2Config(**size, n_embd=32, n_layer=layers, n_head=4, n_positions=positions)
        )
    elif kind == "opt":
        config = hf.OPTConfig(
            **size, hidden_size=32, num_hidden_layers=layers, num_attention_heads=4, ffn_dim=64,
            max_position_embeddings=positions, word_embed_proj_dim=32, pad_token_id=0,
        )  # fmt: skip
        model = hf.OPTForCausalLM(config)
    elif kind == "llama":
        config = hf.LlamaConfig(**size, **encoder, num_key_value_heads=2, max_position_embeddings=positions)
        model = hf.LlamaForCausalLM(config)
    elif kind == "qwen2":
        config = hf.Qwen2Config(**size, **encoder, num_key_value_heads=2, max_position_embeddings=positions)
        model = hf.Qwen2ForCausalLM(config)
    elif kind in ("t5", "t5-v1.1"):
        gated = kind == "t5-v1.1"
        config = hf.T5Config(
            **size, d_model=width, d_kv=8, d_ff=64, num_layers=layers, num_heads=4,
            decoder_start_token_id=pad, pad_token_id=pad, eos_token_id=tokenizer.eos_token_id,
            feed_forward_proj="gated-gelu" if gated else "relu", tie_word_embeddings=not gated,
        )  # fmt: skip
        model = hf.T5ForConditionalGeneration(config)
    elif kind == "bart":
        config = hf.BartConfig(
            **size, d_model=32, encoder_layers=layers, decoder_layers=layers, encoder_attention_heads=4,
            decoder_attention_heads=4, encoder_ffn_dim=64, decoder_ffn_dim=64,
            max_position_embeddings=positions,
            pad_token_id=pad, bos_token_id=0, eos_token_id=2, decoder_start_token_id=2,
            scale_embedding=True,
        )  # fmt: skip
        model = hf.BartForConditionalGeneration(config)
        model.generation_config.forced_bos_token_id = 0
        model.final_logits_bias = torch.randn_like(model.final_logits_bias)
    else:
        raise ValueError(kind)
    with torch.no_grad():
        # Larger weights than the default initialisation: otherwise all logits are nearly alike and a
        # wrong position or mask would go unnoticed.
        for name, parameter in model.named_parameters():
            if parameter.ndim > 1 or name.endswith("bias"):
                parameter.normal_(0, 0.15)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


MASKED = ("bert", "distilbert", "roberta")
CAUSAL = ("gpt2", "opt", "llama", "qwen2")
SEQ2SEQ = ("t5", "t5-v1.1", "bart")
KINDS = MASKED + CAUSAL + SEQ2SEQ
