"""Rhea behind the interfaces of other frameworks, and out of their stores.

`langchain` is a `BaseChatMessageHistory`, `openai_agents` a `Session`; each needs the extra of its name.
`importers` reads what mem0, LlamaIndex, LangChain and openai-agents have stored. Nothing here is imported
by `import rhea`.
"""

from __future__ import annotations

__all__ = ["importers", "langchain", "openai_agents"]
