"""Instructional Memory: find standing rules in the user's own words, supersede and revoke them.

A message goes through `sentences` and `foreign` (whose words are these?), `patterns` and `standing` (what does each
sentence look like?), `by_patterns` (the first opinion), `evidence`, `weigh` and `reader` (the second), and `changes`;
`detect` calls them in this order. `in_force` says which rules bind a turn and how they are placed in the prompt.
"""
