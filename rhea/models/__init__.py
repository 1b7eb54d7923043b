"""Language models: the `ChatModel` protocol, transformers, OpenAI-compatible servers."""
