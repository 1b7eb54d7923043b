"""Rhea: conversational memory middleware.

Standing rules are kept verbatim and always in force; past turns are raw, compressed or omitted, by
evidence, inside a hard token budget; every choice can be explained.
"""
