"""Which language a reply is in, by langdetect with a fixed seed (the extra ``bench``)."""

from __future__ import annotations

from rhea.errors import MissingExtra

__all__ = ["language_code", "language_of"]

_CODES = {
    "arabic": "ar", "bulgarian": "bg", "bengali": "bn", "chinese": "zh", "german": "de", "greek": "el", "english": "en", "spanish": "es",
    "persian": "fa", "farsi": "fa", "finnish": "fi", "french": "fr", "gujarati": "gu", "hindi": "hi", "italian": "it", "japanese": "ja",
    "kannada": "kn", "korean": "ko", "marathi": "mr", "nepali": "ne", "dutch": "nl", "punjabi": "pa", "polish": "pl", "portuguese": "pt",
    "russian": "ru", "swedish": "sv", "swahili": "sw", "tamil": "ta", "telugu": "te", "thai": "th", "turkish": "tr", "urdu": "ur", "vietnamese": "vi",
}  # fmt: skip


def language_code(name: str) -> str:
    """The two-letter code of a language given by name or code; ``zh-cn`` and ``zh-tw`` are ``zh``."""
    low = name.strip().lower()
    return _CODES.get(low, low).split("-")[0]


def language_of(text: str) -> str | None:
    """Two-letter code of the likeliest language; ``None`` when the text has no letters to tell by.

    Raises:
        MissingExtra: langdetect is not installed.
    """
    try:
        from langdetect import DetectorFactory, LangDetectException, detect
    except ImportError:
        raise MissingExtra("bench", "telling a reply's language") from None
    DetectorFactory.seed = 0
    try:
        return language_code(str(detect(text)))
    except LangDetectException:
        return None
