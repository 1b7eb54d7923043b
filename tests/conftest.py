"""Settings that every test shares: no hub, caches and data of its own, quiet tokenizers."""

from __future__ import annotations

import os

os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["TOKENIZERS_PARALLELISM"] = "false"
os.environ.pop("RHEA_DATABASE_URL", None)
