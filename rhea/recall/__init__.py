"""Episodic Memory: score past turns and decide raw, compressed or omitted."""
