"""Finds what a user's message does to their standing instructions: functions over text and vectors, no database.

Patterns give a first opinion (`by_patterns`). With the packaged embedder the evidence on every sentence and every
active rule is weighed (`evidence`, `weigh`), and a small encoder reads what is still open (`reader`).
Paper: Instructional Memory, extended by changing, withdrawing and expiring rules.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from rhea.instructions.by_patterns import PatternPass, one_time
from rhea.instructions.changes import changes_from
from rhea.instructions.detection import Detection
from rhea.instructions.evidence import collect, collect_rules
from rhea.instructions.reader import Reader, packaged_reader
from rhea.instructions.sentences import split_sentences
from rhea.instructions.standing import read_message
from rhea.instructions.weigh import Judgement
from rhea.instructions.weigh import judge as weigh
from rhea.instructions.weights import EMBEDDER, packaged_weights
from rhea.types import Instruction

if TYPE_CHECKING:
    from rhea.embed import Embedder

__all__ = ["Detection", "InstructionDetector"]

_OPEN = 1.4
"""Log-odds (a probability of .8) under which the judge, where there is one, is asked."""


class InstructionDetector:
    """Finds standing instructions in a user's message.

    Args:
        embedder: its vectors are part of the evidence; without the packaged one only patterns decide.
        judge: asks a language model whether a sentence that stays open binds later replies (the paper's second
            step); off by default.
        reader: reads what patterns and weights leave open; ``None`` for the packaged one.
    """

    def __init__(
        self,
        embedder: Embedder | None = None,
        judge: Callable[[str], bool] | None = None,
        *,
        reader: Reader | None = None,
    ) -> None:
        self._embedder = embedder
        self._judge = judge
        self._reader = reader

    def load(self) -> None:
        """Read the weights and the reader now instead of in the first message that needs them.

        Raises:
            EmbedderError: a data file that ships with Rhea cannot be read.
        """
        if self._embedder is None or self._embedder.id != EMBEDDER:
            return
        packaged_weights()
        (self._reader or packaged_reader()).stands([("", "")])

    def detect(self, text: str, active: Sequence[Instruction]) -> Detection:
        """What ``text`` adds, confirms, supersedes and revokes.

        Args:
            text: the user's message, verbatim.
            active: rules in force, oldest first.
        """
        readings = read_message(split_sentences(text))
        first = PatternPass(readings, active, self._embedder).run()
        if self._embedder is None or self._embedder.id != EMBEDDER:
            return first
        message = collect(readings, self._embedder)
        if not message.readings:
            return first
        rules = collect_rules(message, active, first, self._embedder) if active else None
        judged = weigh(message, rules, packaged_weights(), self._reader or packaged_reader())
        if self._judge is not None:
            judged = self._asked(judged, [r.sentence.text for r in message.readings])
        return changes_from(readings, message, rules, judged, first)

    def _asked(self, judged: Judgement, sentences: Sequence[str]) -> Judgement:
        """The judge decides about what is still open."""
        stands = judged.stands.copy()
        for k in np.flatnonzero(np.abs(stands) < _OPEN).tolist():
            if self._judge is not None and not one_time(sentences[k]):
                stands[k] = 1.0 if self._judge(sentences[k]) else -1.0
        return Judgement(stands, judged.ends, judged.part)
