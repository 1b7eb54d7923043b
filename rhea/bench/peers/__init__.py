"""Other memories, measured beside Rhea: each in an environment of its own, driven over a pipe.

`registry` says which, `environment` installs them, `serve` is the process that runs inside, the `driver_*`
files call the peer's public API, `client` is this side of the pipe. A driver imports its peer, numpy and the
standard library, nothing of Rhea (except the driver of Rhea itself, which goes through the same pipe).
"""

from __future__ import annotations

from rhea.bench.peers.client import EmbedTexts, PeerProcess
from rhea.bench.peers.environment import PeerUnavailable, environment_python
from rhea.bench.peers.registry import PEERS, RHEA, RHEA_SMALL, Peer, chosen_peers

__all__ = [
    "PEERS",
    "RHEA",
    "RHEA_SMALL",
    "EmbedTexts",
    "Peer",
    "PeerProcess",
    "PeerUnavailable",
    "chosen_peers",
    "environment_python",
]
