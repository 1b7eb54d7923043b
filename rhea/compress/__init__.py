"""Making replies smaller: text digests and memory tokens (paper: asymmetric noise control)."""
