"""`python -m rhea.models.prepare`: convert the packaged model once, so that the first chat starts quickly."""

from __future__ import annotations

import sys

from rhea.errors import RheaError
from rhea.models.packaged import packaged_model_path, prepared_folder

__all__ = ["main"]


def main() -> int:
    """Convert and say where; exit code 2 with one line when the model is missing."""
    try:
        folder = prepared_folder(packaged_model_path())
    except RheaError as error:
        sys.stderr.write(f"rhea: {error}\n")
        return 2
    sys.stderr.write(f"the embedded model is ready in {folder}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
