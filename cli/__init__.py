"""The `rhea` command: one module a command group."""
