"""Tiny causal language models with random weights, a byte tokenizer and a chat template, made on the spot."""

from __future__ import annotations

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import (
    LlamaConfig,
    LlamaForCausalLM,
    MistralConfig,
    MistralForCausalLM,
    PreTrainedTokenizerFast,
    Qwen2Config,
    Qwen2ForCausalLM,
)

from rhea.compress.format import CompressorSpec, describe_base
from rhea.models.prompts import PromptEncoder

CHATML = (
    "{% for m in messages %}{{ '<|im_start|>' + m['role'] + '\n' + m['content'] + '<|im_end|>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
INST = (
    "{{ '<s>' }}{% for m in messages %}{% if m['role'] == 'system' %}{{ raise_exception('no system role') }}"
    "{% elif m['role'] == 'user' %}{{ '[INST] ' + m['content'] + ' [/INST]' }}"
    "{% else %}{{ m['content'] + '<|im_end|>' }}{% endif %}{% endfor %}"
)
SHAPE = {
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "tie_word_embeddings": True,
    "initializer_range": 0.1,
}
FAMILIES = {
    "llama": (LlamaConfig, LlamaForCausalLM, CHATML),
    "mistral": (MistralConfig, MistralForCausalLM, INST),
    "qwen2": (Qwen2Config, Qwen2ForCausalLM, CHATML),
}


def make_prompts(template: str = CHATML) -> PromptEncoder:
    vocabulary = {c: i for i, c in enumerate(sorted(pre_tokenizers.ByteLevel.alphabet()))}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    wrapped = PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<|im_end|>", bos_token="<s>")
    wrapped.add_special_tokens({"additional_special_tokens": ["<|im_start|>"]})
    wrapped.chat_template = template
    return PromptEncoder(wrapped, "tiny")


def make_network(family: str = "llama", seed: int = 0, **changes: object) -> torch.nn.Module:
    config, model, _ = FAMILIES[family]
    torch.manual_seed(seed)
    return model(config(vocab_size=260, **{**SHAPE, **changes})).eval()


def make_spec(network: torch.nn.Module, prompts: PromptEncoder, **changes: object) -> CompressorSpec:
    base = describe_base(network, "tiny", prompts.tokenizer.chat_template)
    ranks = {"encoder_rank": 8, "encoder_alpha": 16, "decoder_rank": 8, "decoder_alpha": 16}
    return CompressorSpec(base=base, tokens=4, trained_tokens=(2, 4), cut=32, user_tail=8, **{**ranks, **changes})
