"""The crash tests' helper module lies beside them and is found by the child processes too."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
