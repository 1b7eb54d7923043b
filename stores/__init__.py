"""Storage: SQL is the truth, FAISS is a cache of it."""
