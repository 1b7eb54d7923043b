"""Detection: what counts as a standing instruction, where it stands, and what it does to those already there."""

from __future__ import annotations

import numpy as np
import pytest
from rules_of_tests import rule as active

from rhea.embed import SentenceTransformerEmbedder
from rhea.instructions import detect as detect_module
from rhea.instructions.detect import InstructionDetector
from rhea.instructions.foreign import foreign_ranges
from rhea.instructions.sentences import split_sentences
from rhea.instructions.weigh import Judgement
from rhea.instructions.weights import EMBEDDER
from rhea.testing import HashEmbedder
from rhea.types import InstructionKind, Scope

detector = InstructionDetector()


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("From now on answer in French.", InstructionKind.RULE),
        ("Answer in French.", InstructionKind.RULE),
        ("Never mention prices.", InstructionKind.RULE),
        ("For this entire chat, use at most one adjective.", InstructionKind.RULE),
        ("You are a pirate in this chat.", InstructionKind.ROLE),
        ("I don't fly.", InstructionKind.PREFERENCE),
        ("I'm allergic to peanuts.", InstructionKind.PREFERENCE),
        ("Antworte ab jetzt nur auf Englisch.", InstructionKind.RULE),
        ("Ich esse kein Fleisch.", InstructionKind.PREFERENCE),
        ("À partir de maintenant, réponds en anglais.", InstructionKind.RULE),
        ("A partir de ahora responde en inglés.", InstructionKind.RULE),
        ("D'ora in poi rispondi in tedesco.", InstructionKind.RULE),
        ("Vanaf nu antwoord je altijd in het Engels.", InstructionKind.RULE),
        ("Sono allergica alle noci.", InstructionKind.PREFERENCE),
        ("Não como carne.", InstructionKind.PREFERENCE),
        ("plz dont put links in ur answers", InstructionKind.RULE),
        ("Every film you suggest must be older than I am.", InstructionKind.RULE),
        ("whenever i paste a link just tell me what the page is about", InstructionKind.RULE),
        ("If I misspell a name, please correct me.", InstructionKind.RULE),
    ],
)
def test_standing_instructions_are_found(text: str, kind: InstructionKind) -> None:
    (change,) = detector.detect(text, ()).changes
    assert (change.action, change.text, change.kind) == ("add", text, kind)


@pytest.mark.parametrize(
    "text",
    [
        "Write a poem of four lines.",
        "End your answer with a question.",
        "Make it shorter.",
        "Translate it into German.",
        "Why do you always answer in bullet points?",
        "I don't like the second paragraph.",
        "My neighbour never waters his plants.",
        "I work as a nurse and have two children.",
        "I'm a vegan chef looking for a job.",
        "I don't own a bike yet.",
        "Whenever I open the lid, it squeaks.",
        "Could you look into the second point?",
        "I'd like to know about the price.",
        "Write a mail saying that from now on nobody may park here.",
        "Schreib einen Aushang, dass die Tür ab jetzt immer geschlossen bleibt.",
        "Call me a taxi.",
        "Hello!",
        "",
        "   ",
        "😀😀😀",
    ],
)
def test_what_binds_one_reply_or_nothing_is_left_alone(text: str) -> None:
    assert not detector.detect(text, ()).changes


@pytest.mark.parametrize("text", ["Call me Bo. What is tin?", "Use they/them pronouns for me. What is tin?"])
def test_how_to_address_the_user_lasts_whatever_else_is_asked(text: str) -> None:
    assert len(detector.detect(text, ()).changes) == 1


@pytest.mark.slow
def test_what_patterns_do_not_see_the_learned_head_does_and_plain_facts_are_left_alone() -> None:
    both = InstructionDetector(SentenceTransformerEmbedder())
    for text in ("Cruise ships are my idea of hell.", "I'd go for a window seat over an aisle one any day."):
        assert both.detect(text, ()).changes, text
    for text in ("I am a nurse.", "I live in a small flat.", "I turned forty last week.", "Cut it to fifty words."):
        assert not both.detect(text, ()).changes, text


def test_only_the_sentence_that_holds_the_rule_is_kept_with_its_place() -> None:
    text = "Hi there, Dr. Weber. For the rest of this chat, answer in rhyme.  What is tin?"
    (change,) = detector.detect(text, ()).changes
    assert change.text == "For the rest of this chat, answer in rhyme."
    assert text[change.start : change.end] == change.text


def test_items_under_a_heading_of_rules_are_rules() -> None:
    text = "Rules for this chat:\n- Never use emojis.\n- Answer in two sentences."
    assert [c.text for c in detector.detect(text, ()).changes] == ["Never use emojis.", "Answer in two sentences."]


def test_a_rule_that_ends_in_a_list_takes_its_items_along() -> None:
    text = "From now on give every answer in this form:\n- a title\n- two short paragraphs\n\nWhat is peat?"
    changes = detector.detect(text, ()).changes
    assert changes[0].text.startswith("From now on")
    assert text[changes[0].start : changes[0].end] == changes[0].text


@pytest.mark.parametrize(
    ("text", "turns"),
    [
        ("For the next three answers, use bullet points.", 3),
        ("Use bullet points for my next 5 questions, please.", 5),
        ("Antworte in den nächsten zwei Antworten auf Englisch.", 2),
        ("For the next three answers, use bullet points. What is rye?", 2),
    ],
)
def test_a_number_of_answers_is_counted_from_the_first_one_after_it(text: str, turns: int) -> None:
    (change,) = detector.detect(text, ()).changes
    assert change.expires_after == turns


def test_until_is_kept_verbatim_and_ends_the_rule() -> None:
    (change,) = detector.detect("Until I say stop, answer in rhyme.", ()).changes
    assert change.until == "I say stop"
    (ended,) = detector.detect("Stop.", [active(4, change.text, until=change.until)]).changes
    assert (ended.action, ended.target_ids) == ("revoke", (4,))


def test_stop_without_such_a_rule_changes_nothing() -> None:
    assert not detector.detect("Stop.", [active(1, "Answer in German.")]).changes


def test_all_our_chats_is_the_users_scope() -> None:
    (change,) = detector.detect("In all our conversations, use metric units.", ()).changes
    assert change.scope is Scope.USER


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("From now on answer in French.", "Answer in German instead."),
        ("Always answer with five bullet points.", "Make that three bullet points."),
        ("I want you to act as a strict history teacher.", "From now on be a friendly museum guide instead."),
        ("You are a pirate in this chat.", "From now on you are a butler."),
        ("Call me Doctor.", "From now on call me Ada."),
        ("Always use imperial units.", "From now on use metric units."),
        ("Never use emojis in this chat.", "From now on use emojis in every answer."),
        ("Antworte immer in zwei Sätzen.", "Antworte ab jetzt in fünf Sätzen."),
    ],
)
def test_another_value_for_the_same_thing_supersedes(old: str, new: str) -> None:
    (change,) = detector.detect(new, [active(7, old)]).changes
    assert (change.action, change.text, change.target_ids) == ("supersede", new, (7,))


def test_the_same_rule_again_is_confirmed_and_not_added() -> None:
    (change,) = detector.detect("Always answer in German.", [active(3, "From now on answer in German.")]).changes
    assert (change.action, change.target_ids) == ("confirm", (3,))


def test_a_rule_given_again_for_all_chats_replaces_the_narrow_one() -> None:
    old = active(3, "Always answer in German.")
    (change,) = detector.detect("In all our chats, always answer in German.", [old]).changes
    assert (change.action, change.scope) == ("supersede", Scope.USER)


def test_when_unsure_both_stay_and_a_note_says_so() -> None:
    found = detector.detect("From now on answer in two sentences.", [active(1, "Keep your answers under fifty words.")])
    assert [c.action for c in found.changes] == ["add"]
    assert "both are kept" in found.notes[0]


@pytest.mark.parametrize(
    ("rule", "text"),
    [
        ("Do not use commas in your answers.", "You can use commas again."),
        ("Talk like a pirate from now on.", "Forget the pirate thing."),
        ("Keep all your answers under thirty words.", "Ignore what I said about length."),
        ("Always answer in rhyme.", "You don't have to answer in rhyme anymore."),
        ("End every reply with a joke.", "Stop ending your replies with a joke."),
        ("Benutze in deinen Antworten nie Kommas.", "Du darfst wieder Kommas benutzen."),
        ("Rede ab jetzt wie ein Pirat.", "Vergiss das mit dem Piraten."),
        ("Add a proverb to every reply.", "The proverbs wear me out, you can leave them out."),
        ("Begin every answer with 'Aye'.", "Scratch that rule about 'Aye'."),
    ],
)
def test_withdrawing_ends_the_rule_meant_and_no_other(rule: str, text: str) -> None:
    others = [active(1, "Never mention politics."), active(2, rule), active(3, "Call me Bo.")]
    (change,) = detector.detect(text, others).changes
    assert (change.action, change.target_ids) == ("revoke", (2,))


def test_forgetting_all_rules_ends_every_one() -> None:
    (change,) = detector.detect(
        "Forget all my rules.", [active(1, "Answer in French."), active(2, "Be brief.")]
    ).changes
    assert change.target_ids == (1, 2)


def test_forgetting_something_else_ends_nothing() -> None:
    assert not detector.detect("Forget about the picnic.", [active(1, "Always answer in German.")]).changes


def test_an_exception_for_one_reply_leaves_the_rule_and_is_told() -> None:
    found = detector.detect("Just this once, answer in English.", [active(1, "From now on answer in Italian.")])
    assert not found.changes
    assert "exception" in found.notes[0]


def test_a_judge_decides_what_stays_open_and_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    packaged = HashEmbedder()
    packaged.id = EMBEDDER
    asked: list[str] = []

    def judge(sentence: str) -> bool:
        asked.append(sentence)
        return sentence.startswith("Mornings")

    odds = np.array([0.5, 3.0, -0.5, -3.0], dtype=np.float32)
    monkeypatch.setattr(detect_module, "weigh", lambda *_: Judgement(odds, np.zeros(0, dtype=np.float32)))
    text = "Evenings suit me. I loathe tables. Mornings do not. The sky is blue."
    found = InstructionDetector(packaged, judge).detect(text, ())
    assert asked == ["Evenings suit me.", "Mornings do not."]
    assert [c.text for c in found.changes] == ["I loathe tables.", "Mornings do not."]
    assert [c.text for c in InstructionDetector(packaged).detect(text, ()).changes] == [
        "Evenings suit me.",
        "I loathe tables.",
    ]


def test_offsets_are_exact_for_every_sentence_of_a_messy_text() -> None:
    text = "  First, e.g. this.\n\n\t* item one! And more?\r\n1. two… \u2028“Quoted.” Last"
    for sentence in split_sentences(text):
        assert text[sentence.start : sentence.end] == sentence.text
        assert len(sentence.voice) == len(sentence.text)


def test_an_unclosed_fence_runs_to_the_end() -> None:
    text = "See:\n```\ncode"
    assert any(r.end == len(text) and r.why == "code" for r in foreign_ranges(text))
