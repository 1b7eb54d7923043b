"""What a rule governs and which value it sets: "answer in German" is language = german.

Two rules on one exclusive topic with different values cannot both be followed: the newer replaces the older.
Topics that admit several rules at once (forbidden words, say) never replace each other. English and German.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

__all__ = ["EXCLUSIVE", "Facet", "content_words", "facets", "same_words"]

EXCLUSIVE = frozenset(
    "language persona tone case opening closing address units currency spelling code_language format emoji comma "
    "sentences words bullets paragraphs characters lines detail form bold exclamation questions".split()
)
"""Topics on which the newest value alone can hold."""


@dataclass(frozen=True, slots=True)
class Facet:
    """One thing a rule governs. ``value`` is normalised; ``""`` when the topic is named without a value."""

    topic: str
    value: str


_LANGUAGES = {
    "english": "english|englisch(?:en)?", "german": "german|deutsch(?:en)?", "french": "french|französisch(?:en)?|français",
    "spanish": "spanish|spanisch(?:en)?|español", "italian": "italian|italienisch(?:en)?", "portuguese": "portuguese|portugiesisch",
    "dutch": "dutch|niederländisch|holländisch", "polish": "polish|polnisch", "russian": "russian|russisch", "japanese": "japanese|japanisch",
    "chinese": "chinese|mandarin|chinesisch", "korean": "korean|koreanisch", "arabic": "arabic|arabisch", "turkish": "turkish|türkisch",
    "swedish": "swedish|schwedisch", "latin": "latin|latein(?:isch)?", "hindi": "hindi", "greek": "greek|griechisch", "danish": "danish|dänisch",
    "norwegian": "norwegian|norwegisch", "finnish": "finnish|finnisch", "czech": "czech|tschechisch", "catalan": "catalan|katalanisch",
}  # fmt: skip
_NUMBERS = {
    "1": "one|ein|eine|einen|einem|single|a single", "2": "two|zwei", "3": "three|drei", "4": "four|vier", "5": "five|fünf", "6": "six|sechs", "7": "seven|sieben",
    "8": "eight|acht", "9": "nine|neun", "10": "ten|zehn", "12": "twelve|zwölf", "15": "fifteen|fünfzehn", "20": "twenty|zwanzig",
    "25": "twenty[- ]five|fünfundzwanzig", "30": "thirty|dreißig", "40": "forty|vierzig", "50": "fifty|fünfzig", "100": "hundred|one hundred|a hundred|hundert|einhundert",
}  # fmt: skip
_NUMBER = r"(?:\d+|" + "|".join(f"(?:{v})" for v in _NUMBERS.values()) + ")"
_UNITS = {
    "sentences": r"sentences?|sätze?n?|satz", "words": r"words?|wörter?n?|worten?", "bullets": r"bullet(?: |-)?points?|bullets|stichpunkte?n?|aufzählungspunkte?n?|points",
    "paragraphs": r"paragraphs?|absätze?n?|absatz", "characters": r"characters?|zeichen", "lines": r"lines?|zeilen?",
}  # fmt: skip
_NEGATED = r"(?:\bno(?:t| more)?\b|\bnever\b|n't\b|\bwithout\b|\bavoid\w*\b|\brefrain\w*\b|\bstop(?:ped)?\b|\bskip\b|\bquit\b|\bdrop\b|\bkein\w*\b|\bnicht\b|\bnie(?:mals)?\b|\bohne\b|\bvermeide\w*\b|\bverzichte\w*\b|\bleave out\b|\blay off\b|\bban\b|\blass\b)"
_FORMATS = {
    "bullets": r"bullet(?:ed)?(?:[ -]?(?:points?|lists?|form))?|bulleted|stichpunkte?n?|aufzählung(?:en)?|list form|lists?\b(?! of)|listen?form", "table": r"tables?|tabellen?(?:form)?|tabelle",
    "json": r"json", "numbered": r"numbered (?:lists?|steps?)|nummerierte\w* \w+", "prose": r"(?:plain |flowing )?prose|full paragraphs|fließtext|plain text|plaintext", "yaml": r"yaml", "xml": r"xml", "html": r"html", "steps": r"step[- ]by[- ]step|schritt für schritt",
    "markdown": r"markdown", "csv": r"csv",
}  # fmt: skip
_TONES = {
    "formal": r"formal(?:ly)?|förmlich|formell", "casual": r"casual(?:ly)?|informal(?:ly)?|locker|lässig|laid[- ]back|relaxed", "friendly": r"friendly|freundlich|warm(?:ly)?", "sarcastic": r"sarcastic(?:ally)?|sarkastisch",
    "humorous": r"humou?rous|funny|witty|humorvoll|witzig|lustig", "professional": r"professional(?:ly)?|professionell", "serious": r"serious(?:ly)?|ernst|sachlich|matter[- ]of[- ]fact|neutral", "polite": r"polite(?:ly)?|höflich", "blunt": r"blunt(?:ly)?|direct(?:ly)? and honest|brutally honest|unverblümt", "enthusiastic": r"enthusiastic(?:ally)?|upbeat|cheerful|begeistert|fröhlich",
}  # fmt: skip
_DETAIL = {
    "brief": r"brief(?:ly)?|short(?:er|ly)?|concise(?:ly)?|succinct(?:ly)?|terse(?:ly)?|to the point|kurz(?:e|er|en)?|knapp(?:e|en|er)?|kürzer\w*|compact",
    "long": r"detailed|in detail|long(?:er)?|thorough(?:ly)?|in[- ]depth|comprehensive|elaborate|ausführlich\w*|detailliert\w*|länger\w*|extensive(?:ly)?",
}  # fmt: skip
_FORMS = {"rhyme": r"rhym\w+|reim\w*|gereimt", "haiku": r"haikus?", "poem": r"verse|poems?|poetry|gedicht\w*", "limerick": r"limericks?", "question": r"in the form of a question|only questions", "metaphor": r"metaphors?", "passive": r"passive voice|passiv"}  # fmt: skip
_CURRENCIES = {"dollar": r"(?:us |american )?dollars?|usd", "euro": r"euros?|eur", "pound": r"pounds?(?: sterling)?|gbp|pfund", "yen": r"yen", "franc": r"(?:swiss )?francs?|franken|chf", "krone": r"kron(?:er|or|en)"}  # fmt: skip
_CODE = (
    r"python|javascript|typescript|java|rust|go(?:lang)?|c\+\+|c#|ruby|kotlin|swift|julia|haskell|php|scala|perl|bash"
)


_NAMED = re.compile(
    r"\b(?:(?:[Aa]nswer|[Rr]eply|[Rr]espond|[Ss]peak|[Tt]alk|[Aa]ct|[Bb]ehave|[Ww]rite|[Pp]ose|[Ss]prich|[Rr]ede|[Aa]ntworte)(?: to me)? (?:as|like|wie|als)|[Bb]e|[Yy]ou are|[Yy]ou're|[Pp]retend to be|[Pp]lay|[Dd]u bist) (?:now |ab jetzt )?((?:[A-Z][\w.'-]+ ?){1,3})"
)
"""A persona by its name: "answer as Sherlock Holmes"."""
_TONE_WORD = re.compile(
    r"\b(?:friendly|formal|polite|short|human),? (?=(?!(?:tone|style|way|manner|language|voice|register|and|or|but|answers?|repl\w+|sentences?|lists?)\b)\w+)"
)
"""How a persona is, before who it is: "a friendly museum guide"."""


def facets(text: str) -> list[Facet]:
    """Everything that ``text`` governs, most specific first; empty when nothing is recognised."""
    low = text.lower().replace("’", "'")
    found = [*_counts(low), *_named(low), *_switches(low, text), *_quoted(text)]
    return list(dict.fromkeys(found))


def _counts(low: str) -> list[Facet]:
    found = []
    for unit, names in _UNITS.items():
        match = re.search(rf"\b({_NUMBER})[ -](?:\w+ ){{0,2}}?(?:{names})\b", low)
        if match:
            found.append(Facet(unit, _number(match.group(1))))
    return found


def _number(word: str) -> str:
    if word.isdigit():
        return str(int(word))
    return next((digits for digits, names in _NUMBERS.items() if re.fullmatch(names, word)), word)


def _named(low: str) -> list[Facet]:
    """Topics whose value is a name from a list: language, format, tone, detail, code language, units, spelling."""
    found = []
    spoken = re.search(
        r"\b(?:in|to|into|auf|ins?|make (?:it|that)|speak|use|using|sprich|on|zu|language|only|nur|back to|proper|plain)\b"
        r"(?: only| nur| plain| simple| proper| einfache[mn]?| the| my native| british| american| brazilian)* \b(" + "|".join(_LANGUAGES.values()) + r")\b", low)  # fmt: skip
    spoken = spoken or re.match(
        r"(?:\w+[,.!] )*(" + "|".join(_LANGUAGES.values()) + r")(?: only)?,? (?:for|from|please|again|instead|ab|bitte)\b", low)  # fmt: skip
    if spoken:
        found += [Facet("language", k) for k, v in _LANGUAGES.items() if re.fullmatch(v, spoken.group(1))]
    elif re.search(r"\b(?:language|sprache)\b", low) and not re.search(
        r"\bprogramming|formal language|simple language|einfache sprache", low
    ):
        found.append(Facet("language", ""))
    code = re.search(rf"\b({_CODE})\b(?: code| for| in| examples?|\.|,|$)|\bcode (?:\w+ ){{0,3}}in ({_CODE})", low)
    if code and re.search(r"\bcode|program|snippet|example|script|function|beispiel", low):
        found.append(Facet("code_language", code.group(1) or code.group(2)))
    for topic, table in (("format", _FORMATS), ("tone", _TONES), ("detail", _DETAIL), ("form", _FORMS)):
        for value, names in table.items():
            match = re.search(rf"\b(?:{names})(?!\w)", low)
            if match and not any(f.topic == "bullets" for f in found if value == "bullets" and topic == "format"):
                negated = re.search(_NEGATED + r"[^.;,]{0,25}$", low[: match.start()])
                found.append(Facet(topic, f"not {value}" if negated else value))
    if re.search(r"\b(?:length|länge|how long)\b", low):
        found.append(Facet("detail", ""))
    if re.search(r"\b(?:tone|tonfall|ton)\b", low) and not any(f.topic == "tone" for f in found):
        found.append(Facet("tone", ""))
    if re.search(r"\b(?:format(?:ting)?)\b", low) and not any(f.topic == "format" for f in found):
        found.append(Facet("format", ""))
    for value, names in {"metric": r"metric|kilomet\w+|celsius|metrisch\w*|kilograms?", "imperial": r"imperial|miles|fahrenheit|pounds and|feet and inches|meilen"}.items():  # fmt: skip
        if re.search(rf"\b(?:{names})\b", low):
            found.append(Facet("units", value))
    for value, names in _CURRENCIES.items():
        if re.search(rf"\b(?:in|to|as|use|using|auf) (?:\w+ )?(?:{names})(?!\w)", low):
            found.append(Facet("currency", value))
    spelling = re.search(r"\b(british|american|uk|us)(?: english)? (?:spelling|english)", low)
    if spelling:
        found.append(Facet("spelling", {"uk": "british", "us": "american"}.get(spelling.group(1), spelling.group(1))))
    return found


def _switches(low: str, text: str) -> list[Facet]:
    """Topics that are either wanted or not, and letter case."""
    found = []
    for topic, names in {
        "emoji": r"emojis?|emoticons?|smileys?", "comma": r"commas?|kommas?|kommata", "bold": r"bold(?:face)?|fett(?:druck|schrift)?", "exclamation": r"exclamation (?:marks?|points?)|ausrufezeichen",
        "questions": r"(?:follow-?up|closing|counter) ?questions?|rückfragen?|gegenfragen?|ask(?:ing)? me questions|questions back", "jokes": r"jokes?|witze?n?|puns?", "prices": r"prices?|preise?n?|costs?", "slang": r"slang|jugendsprache", "jargon": r"jargon|fachbegriffe?n?|technical terms", "disclaimer": r"disclaimers?|warnings?|warnhinweise?",
        "apology": r"apologi\w+|sorry|entschuldig\w+", "links": r"links?|urls?", "sources": r"sources?|citations?|references|quellen(?:angaben?)?", "summary": r"summary|tl;?dr|zusammenfassung", "quotes": r"proverbs?|quotes?|zitate?|sprichw\w+", "similes": r"similes?|vergleiche?|analog(?:y|ies)", "opinions": r"opinions?|meinung(?:en)?", "contractions": r"contractions?", "politics": r"politics|politik", "headings": r"headings?|überschriften?",
        "numbers": r"digits|numerals|ziffern", "names": r"(?:use|using|say(?:ing)?|mention(?:ing)?) my name|meinen namen", "adjectives": r"adjectives?|adjektive?", "semicolons": r"semicolons?|semikolons?", "fun_fact": r"fun facts?", "spoilers": r"spoilers?", "brands": r"brands?|brand names?|marken",
    }.items():  # fmt: skip
        match = re.search(rf"\b(?:{names})\b", low)
        if match:
            negated = re.search(_NEGATED + r"[^.;]{0,40}$", low[: match.start()])
            found.append(Facet(topic, "no" if negated else "yes"))
    if re.search(r"\b(?:upper ?case|capital letters|all caps|capitals|großbuchstaben|caps)\b", low):
        found.append(
            Facet(
                "case", "not upper" if re.search(_NEGATED + r"[^.;]{0,30}(?:upper|capital|caps|groß)", low) else "upper"
            )
        )
    elif re.search(
        r"\b(?:lower ?case|small letters|kleinbuchstaben|kleingeschrieben|kleinschreibung|kleinschreiben|klein)\b", low
    ):
        found.append(Facet("case", "lower"))
    said = _TONE_WORD.sub("", low)
    persona = re.search(
        r"\b(?:you are|you're|act|be|pretend|behave|talk|speak|respond|reply|answer|write|sound|role-?play|play|rede|sprich|verhalte dich|antworte|schreib|du bist|sei|spiel|spiele) (?:now |to be |to me |only |always |just |immer |ab jetzt |jetzt |nun |from now on |being |you are |you're |that you are |the (?:role|part) of )*(?:as |like |as if you were |wie |als |den |die |das )?"
        r"(?:a |an |the |my |ein |eine |einen |mein |meine )((?!(?:complete |full |single |different |more |very )?(?:sentence|list|table|bullet|way|tone|style|language|manner|format|friendly|formal|polite|short|brief|question|few|rhyme|haiku|numbered|json|minimum|maximum|satz|little|bit|human)\w*)[\w-]+(?: [\w-]+)?)", said)  # fmt: skip
    german = re.search(
        r"\b(?:du bist|bist du|redest|sprichst|schreibst|antwortest|rede|sprich|schreib|antworte|verhalte dich|spiele?)\b(?: \w+){0,4}? (?:wie |als )?(?:ein|eine|einen|mein|meine) (?:\w+e[rsn]? )?(\w+)",
        low,
    )
    persona = persona or german
    named = None if persona else _NAMED.search(text)
    if persona and not re.search(
        r"\b(?:you are|you're) (?:a |an |the )?(?:\w+ly )?(?:right|wrong|great|welcome|best|good)\b", low
    ):
        found.append(Facet("persona", persona.group(1).strip()))
    elif named:
        found.append(Facet("persona", named.group(1).strip().lower()))
    elif re.search(r"\b(?:persona|in character|role-?play|pirate|butler)\b", low):
        found.append(Facet("persona", ""))
    return found


def _quoted(text: str) -> list[Facet]:
    """Topics that carry a phrase: openings, closings, forms of address, forbidden words."""
    low = text.lower()
    phrase = r"[\"“„'‘«]([^\"”“'’»]{1,120})[\"”“'’»]"
    quoted = re.search(phrase, text)
    value = quoted.group(1).strip().lower() if quoted else ""
    found = []
    if re.search(r"\b(?:begin|start|open|beginne?|starte?|fang)\w*\b[^.]{0,60}\b(?:with|by|mit|saying)\b", low):
        found.append(Facet("opening", value or low.rsplit(" with ", 1)[-1].strip(" .!")))
    elif re.search(
        r"\b(?:end|finish|close|conclude|sign off|beende?|schließ\w*)\w*\b[^.]{0,60}\b(?:with|by|mit|saying|as)\b", low
    ):
        found.append(Facet("closing", value or low.rsplit(" with ", 1)[-1].strip(" .!")))
    elif value and re.search(r"\b(?:word|words|phrase|term|wort|wörter|say|mention|use|repeat|sag|erwähn)\w*\b", low):
        found.append(Facet("wording", value))
    address = re.search(r"\b(?:call|address|refer to|nenn\w*|sprich|anrede\w*)(?: to)? (?:me|mich)(?: as| mit| bitte| immer| by)* (?:[\"“„'‘])?([\w. -]{1,40}?)(?:[\"”“'’.,!;]| from now| ab jetzt| in | instead| please| an$|$)", low)  # fmt: skip
    if address:
        found.append(Facet("address", address.group(1).strip()))
    elif re.search(r"\b(?:duze|duzen|sieze|siezen)\b", low):
        found.append(Facet("address", "sie" if "siez" in low else "du"))
    return found


_STOP = frozenset(
    "a an the i you he she it we they me my your our his her its their this that these those and or but if so as at by for from in into of on to with "
    "is are was were be been am do does did don't doesn't not no never always please just only also any all every each can could will would should must may "
    "have has had want like prefer dislike hate avoid use using make give what when while more anymore again now then than there here about thing rule rules "
    "part stuff said told instruction instructions earlier before stop forget ignore drop need longer really strongly very much too ok okay let's let up out reminder remind remember mind "
    "answer answers reply replies respond response responses message messages chat conversation from on i'm i've i'd don't "
    "ich du er sie es wir ihr mich mir dich dir der die das den dem ein eine einen einem und oder aber wenn so als an auf aus bei mit nach von zu für in im "
    "ist sind war nicht kein keine keinen immer nie bitte nur auch kann darf soll mehr wieder jetzt dann was wie antworte antworten antwort vergiss regel sache mag".split()
)


def content_words(text: str) -> frozenset[str]:
    """Stemmed words that carry meaning; what two phrasings of one thing share."""
    return frozenset(
        _stem(w)
        for w in (x.strip("'-") for x in re.findall(r"[^\W\d_][\w'-]*|\d+", text.lower().replace("’", "'")))
        if w not in _STOP
    )


def _stem(word: str) -> str:
    for ending in ("'s", "ing", "ies", "es", "ed", "ern", "en", "s", "e"):
        if word.endswith(ending) and len(word) - len(ending) >= 3:
            return word[: -len(ending)] + ("y" if ending == "ies" else "")
    return word


def same_words(a: str, b: str) -> float:
    """Share of the shorter text's content words that the other has too, in [0, 1]."""
    left, right = content_words(a), content_words(b)
    if not left or not right:
        return 0.0
    return len(left & right) / min(len(left), len(right))
