"""The instruction reader with its real weights."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from rhea.instructions.reader import InstructionReader, packaged_reader

pytestmark = pytest.mark.slow
STANDS = [
    ("From here on I'd like your answers in Portuguese.", "_ What is a mortgage?"),
    ("What is a mortgage?", "From here on I'd like your answers in Portuguese. _"),
    ("It should have four stanzas.", "Write a poem about a lighthouse. _"),
]
ENDS = [
    ("You can use emojis again.", "Never use emojis."),
    ("You can use emojis again.", "Call me Captain."),
    ("What is the capital of Peru?", "Never use emojis."),
]


@pytest.fixture(scope="module")
def reader() -> InstructionReader:
    found = packaged_reader()
    assert found is not None
    return found


def test_a_rule_is_told_from_a_question_and_from_a_constraint_of_one_text(reader: InstructionReader) -> None:
    rule, question, constraint = reader.stands(STANDS)
    assert rule > 0 > max(question, constraint)


def test_a_withdrawal_ends_the_rule_that_it_means(reader: InstructionReader) -> None:
    meant, other, unrelated = reader.ends(ENDS)
    assert meant > 0 > max(other, unrelated)


def test_answers_do_not_depend_on_what_is_read_beside_them(reader: InstructionReader) -> None:
    long = ("word " * 300, "other " * 300)
    together = reader.stands([long, *STANDS] * 9)
    alone = [float(reader.stands([pair])[0]) for pair in STANDS]
    np.testing.assert_allclose(together[1:4], alone, atol=1e-3)
    assert reader.ends([]).shape == (0,)


def test_several_threads_load_it_once_and_read_alike() -> None:
    fresh = InstructionReader(device="cpu")
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda _: fresh.stands(STANDS), range(8)))
    for one in answers:
        np.testing.assert_allclose(one, answers[0], atol=1e-4)
