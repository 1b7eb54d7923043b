"""Programs that say whether a reply obeys one constraint, by the names of IFEval and MT-Eval.

Written from the benchmarks' published descriptions. Argument names follow IFEval; where a set names an argument
otherwise, the only argument of the check is taken. An empty reply obeys nothing.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from rhea.errors import InputError

__all__ = ["CHECKERS", "Args", "check", "obeys"]

Args = Mapping[str, Any]


def obeys(reply: str, checks: Sequence[Mapping[str, Any]]) -> bool:
    """Does the reply satisfy every one of ``{"type", "args"}``?"""
    return all(check(reply, c["type"], c.get("args") or {}) for c in checks)


def check(reply: str, name: str, args: Args) -> bool:
    """Does the reply satisfy one constraint?

    Raises:
        InputError: no checker of that name.
    """
    if name not in CHECKERS:
        raise InputError(f"no checker named {name!r}; known: {', '.join(sorted(CHECKERS))}")
    return bool(reply.strip()) and CHECKERS[name](reply, args)


def argument(args: Args, *names: str, default: Any = None) -> Any:
    """The first of ``names`` that is given, else the only argument there is, else ``default``."""
    for name in names:
        if args.get(name) is not None:
            return args[name]
    given = [v for v in args.values() if v is not None]
    return given[0] if len(given) == 1 else default


def holds(count: int, relation: str | None, bound: int) -> bool:
    """Compare as the relation says; without one, the count must be exact."""
    low = (relation or "exactly").lower()
    if low in ("at least", "more than or equal to", ">="):
        return count >= bound
    if low in ("less than", "fewer than", "<"):
        return count < bound
    if low in ("at most", "no more than", "<="):
        return count <= bound
    if low in ("more than", "greater than", ">"):
        return count > bound
    return count == bound


def _relation(args: Args) -> str | None:
    return next((str(v) for k, v in args.items() if k.endswith("relation") and v is not None), None)


# words and letters


def _existence(reply: str, args: Args) -> bool:
    keywords = argument(args, "keywords", "keyword")
    wanted = [keywords] if isinstance(keywords, str) else list(keywords)
    return all(re.search(re.escape(str(k)), reply, re.I) for k in wanted)


def _forbidden(reply: str, args: Args) -> bool:
    words = argument(args, "forbidden_words", "keywords")
    banned = [words] if isinstance(words, str) else list(words)
    return not any(re.search(rf"\b{re.escape(str(w))}\b", reply, re.I) for w in banned)


def _frequency(reply: str, args: Args) -> bool:
    found = len(re.findall(re.escape(str(args["keyword"])), reply, re.I))
    return holds(found, _relation(args), int(args["frequency"]))


def _letters(reply: str, args: Args) -> bool:
    found = reply.lower().count(str(args["letter"]).lower())
    return holds(found, _relation(args), int(args["let_frequency"]))


def _capital_words(reply: str, args: Args) -> bool:
    words = re.findall(r"[^\W_]+(?:['’][^\W_]+)?", reply)
    return holds(sum(w.isupper() for w in words), _relation(args), int(args["capital_frequency"]))


def _upper(reply: str, args: Args) -> bool:
    return reply.isupper()


def _lower(reply: str, args: Args) -> bool:
    return reply.islower()


def _english_upper(reply: str, args: Args) -> bool:
    return reply.isupper() and _language(reply, {"language": "en"})


def _english_lower(reply: str, args: Args) -> bool:
    return reply.islower() and _language(reply, {"language": "en"})


def _no_comma(reply: str, args: Args) -> bool:
    return not any(mark in reply for mark in ",，、")


def _language(reply: str, args: Args) -> bool:
    from rhea.bench.languages import language_code, language_of

    wanted = language_code(str(argument(args, "language", "lang", "response_language")))
    found = language_of(reply)
    return found is not None and found == wanted


# length


def _sentences(reply: str, args: Args) -> bool:
    return holds(count_sentences(reply), _relation(args), int(argument(args, "num_sentences", "number", "n", "count")))


def _words(reply: str, args: Args) -> bool:
    return holds(
        len(re.findall(r"\w+", reply)), _relation(args), int(argument(args, "num_words", "number", "n", "count"))
    )


def _paragraphs(reply: str, args: Args) -> bool:
    parts = re.split(r"\s?\*\*\*\s?", reply)
    inner = parts[1:-1] if len(parts) > 2 else []
    if any(not p.strip() for p in inner):
        return False
    return sum(bool(p.strip()) for p in parts) == int(args["num_paragraphs"])


def _paragraph_word(reply: str, args: Args) -> bool:
    paragraphs = [p for p in re.split(r"\n\n", reply) if p.strip()]
    nth = int(args["nth_paragraph"])
    if len(paragraphs) != int(args["num_paragraphs"]) or nth > len(paragraphs):
        return False
    first = re.split(r"[\s.,?!'\"]", paragraphs[nth - 1].strip().lstrip("'\""), maxsplit=1)[0]
    return first.lower() == str(args["first_word"]).lower()


_SHORTENINGS = re.compile(r"\b(?:mr|mrs|ms|dr|prof|st|vs|etc|e\.g|i\.e|jr|sr|inc|approx|p\.s|p\.p\.s|[a-z])\.$", re.I)


def count_sentences(text: str) -> int:
    """Sentences by their ends; an abbreviation, an initial or a list number ends none."""
    total = 0
    for line in text.splitlines():
        stripped = re.sub(r"^\s*(?:[-*•]|\d+[.)])\s+", "", line).strip()
        if not stripped:
            continue
        pieces = re.split(r"(?<=[.!?…])[\"'”’)\]]*\s+", stripped)
        joined = 0
        for piece in pieces[:-1]:
            joined += bool(_SHORTENINGS.search(piece))
        total += len(pieces) - joined
    return total


# format


def _json(reply: str, args: Args) -> bool:
    text = reply.strip()
    fenced = re.fullmatch(r"```(?:json|JSON|Json)?\s*\n?(.*?)\n?```", text, re.S)
    try:
        json.loads((fenced.group(1) if fenced else text).strip())
    except ValueError:
        return False
    return True


def _bullets(reply: str, args: Args) -> bool:
    return count_bullets(reply) == int(args["num_bullets"])


def count_bullets(reply: str) -> int:
    """Lines that begin with ``*``, ``-`` or ``•``; bold text at the start of a line is none."""
    return len(re.findall(r"^\s*(?:\*(?!\*)|-(?!--)|•).*$", reply, re.M))


def _bullet_list(reply: str, args: Args) -> bool:
    wanted = argument(args, "num_bullets", "number", "n")
    found = count_bullets(reply)
    return found == int(wanted) if wanted is not None and str(wanted).isdigit() else found >= 1


def _highlights(reply: str, args: Args) -> bool:
    single = [h for h in re.findall(r"\*[^\n*]*\*", reply) if h.strip("*").strip()]
    double = [h for h in re.findall(r"\*\*[^\n*]*\*\*", reply) if h.strip("*").strip()]
    return len(single) + len(double) >= int(args["num_highlights"])


def _sections(reply: str, args: Args) -> bool:
    splitter = re.escape(str(args["section_spliter"]))
    return len(re.findall(rf"\s?{splitter}\s?\d+\s?", reply)) >= int(args["num_sections"])


def _title(reply: str, args: Args) -> bool:
    return any(t.strip("<>").strip() for t in re.findall(r"<<[^\n]+>>", reply))


def _placeholders(reply: str, args: Args) -> bool:
    wanted = argument(args, "num_placeholders", "number", default=1)
    bound = int(wanted) if str(wanted).isdigit() else 1
    return len(re.findall(r"\[.*?\]", reply)) >= bound


def _postscript(reply: str, args: Args) -> bool:
    marker = str(argument(args, "postscript_marker", "marker", default="P.S."))
    pattern = {"P.P.S": r"\s*p\.\s?p\.\s?s.*$", "P.S.": r"\s*p\.\s?s\..*$"}.get(
        marker, rf"\s*{re.escape(marker.lower())}.*$"
    )
    return re.search(pattern, reply.lower(), re.M) is not None


def _two_responses(reply: str, args: Args) -> bool:
    parts = reply.split("******")
    inner = parts[1:-1] if len(parts) > 2 else []
    if any(not p.strip() for p in inner):
        return False
    answers = [p.strip() for p in parts if p.strip()]
    return len(answers) == 2 and answers[0] != answers[1]


def _repeats(reply: str, args: Args) -> bool:
    prompt = str(argument(args, "prompt_to_repeat", "prompt"))
    return reply.strip().lower().startswith(prompt.strip().lower())


def _constrained(reply: str, args: Args) -> bool:
    options = argument(args, "options", "constrained_responses", "choices", default=_ANSWERS)
    choices = [options] if isinstance(options, str) else list(options)
    return any(str(o).strip() in reply for o in choices)


_ANSWERS = ("My answer is yes.", "My answer is no.", "My answer is maybe.")

# beginnings and ends


def _start_char(reply: str, args: Args) -> bool:
    wanted = str(argument(args, "start_char", "char", "letter", "start"))
    return reply.strip().lstrip("\"'“‘*_ ").lower().startswith(wanted.lower())


def _start_emoji(reply: str, args: Args) -> bool:
    wanted = argument(args, "start_emoji", "emoji")
    text = reply.strip()
    if isinstance(wanted, str) and wanted.strip() and not wanted.isascii():
        return text.startswith(wanted.strip())
    return bool(_EMOJI.match(text))


_EMOJI = re.compile(
    "[\u00a9\u00ae\u203c\u2049\u2122\u2139\u2194-\u21aa\u231a-\u23ff\u24c2\u25aa-\u27bf\u2934-\u2b55\u3030\u303d\u3297\u3299\U0001f000-\U0001faff]"
)


def _end_phrase(reply: str, args: Args) -> bool:
    phrase = str(argument(args, "end_phrase", "phrase", "end")).strip().lower()
    return reply.strip().strip('"').lower().endswith(phrase)


def _quoted(reply: str, args: Args) -> bool:
    text = reply.strip()
    return len(text) > 1 and text.startswith('"') and text.endswith('"')


CHECKERS: dict[str, Callable[[str, Args], bool]] = {
    "change_case:capital_letter": _upper,
    "change_case:capital_word_frequency": _capital_words,
    "change_case:english_capital": _english_upper,
    "change_case:english_lowercase": _english_lower,
    "change_case:lowercase": _lower,
    "combination:repeat_prompt": _repeats,
    "combination:two_responses": _two_responses,
    "content:placeholder": _placeholders,
    "detectable_content:number_placeholders": _placeholders,
    "detectable_content:postscript": _postscript,
    "detectable_format:constrained_response": _constrained,
    "detectable_format:json_format": _json,
    "detectable_format:multiple_sections": _sections,
    "detectable_format:number_bullet_lists": _bullets,
    "detectable_format:number_highlighted_sections": _highlights,
    "detectable_format:title": _title,
    "format:bullet_list": _bullet_list,
    "format:constrained_response": _constrained,
    "format:json_format": _json,
    "keywords:existence": _existence,
    "keywords:forbidden_words": _forbidden,
    "keywords:frequency": _frequency,
    "keywords:letter_frequency": _letters,
    "language:response_language": _language,
    "length_constraints:nth_paragraph_first_word": _paragraph_word,
    "length_constraints:number_paragraphs": _paragraphs,
    "length_constraints:number_sentences": _sentences,
    "length_constraints:number_words": _words,
    "punctuation:no_comma": _no_comma,
    "startend:end_checker": _end_phrase,
    "startend:end_phrase": _end_phrase,
    "startend:quotation": _quoted,
    "startend:start_char": _start_char,
    "startend:start_emoji": _start_emoji,
}
