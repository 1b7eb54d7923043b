"""Rhea: conversational memory middleware.

Standing rules are kept verbatim and always in force; past turns are raw, compressed or omitted, by
evidence, inside a hard token budget; every choice can be explained.

Names load on first use, so that `import rhea` stays quick and loads no torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rhea.asynchronous import AsyncConversation, AsyncReply, AsyncRhea, AsyncTurn
    from rhea.compress.base import Compressor
    from rhea.compress.lazy import MemoryTokens
    from rhea.compress.text import TextCompressor
    from rhea.embed import Embedder, SentenceTransformerEmbedder
    from rhea.errors import RheaError
    from rhea.memory import Conversation, Reply, Rhea, Turn
    from rhea.models.base import ChatModel, TokenCounter
    from rhea.models.counting import FallbackCounter, TokenizerCounter
    from rhea.models.openai import OpenAIModel
    from rhea.models.transformers import Sampling, TransformersModel
    from rhea.models.vllm import VLLMModel
    from rhea.settings import Settings
    from rhea.types import Context

__all__ = [
    "AsyncConversation",
    "AsyncReply",
    "AsyncRhea",
    "AsyncTurn",
    "ChatModel",
    "Compressor",
    "Context",
    "Conversation",
    "Embedder",
    "FallbackCounter",
    "MemoryTokens",
    "OpenAIModel",
    "Reply",
    "Rhea",
    "RheaError",
    "Sampling",
    "SentenceTransformerEmbedder",
    "Settings",
    "TextCompressor",
    "TokenCounter",
    "TokenizerCounter",
    "TransformersModel",
    "Turn",
    "VLLMModel",
]

_HOMES = {
    "rhea.asynchronous": ("AsyncConversation", "AsyncReply", "AsyncRhea", "AsyncTurn"),
    "rhea.compress.base": ("Compressor",),
    "rhea.compress.lazy": ("MemoryTokens",),
    "rhea.compress.text": ("TextCompressor",),
    "rhea.embed": ("Embedder", "SentenceTransformerEmbedder"),
    "rhea.errors": ("RheaError",),
    "rhea.memory": ("Conversation", "Reply", "Rhea", "Turn"),
    "rhea.models.base": ("ChatModel", "TokenCounter"),
    "rhea.models.counting": ("FallbackCounter", "TokenizerCounter"),
    "rhea.models.openai": ("OpenAIModel",),
    "rhea.models.transformers": ("Sampling", "TransformersModel"),
    "rhea.models.vllm": ("VLLMModel",),
    "rhea.settings": ("Settings",),
    "rhea.types": ("Context",),
}
_HOME_OF = {name: module for module, names in _HOMES.items() for name in names}


def __getattr__(name: str) -> Any:
    if name not in _HOME_OF:
        raise AttributeError(f"module 'rhea' has no attribute {name!r}")
    value = getattr(import_module(_HOME_OF[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
