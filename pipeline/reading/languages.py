"""Languages: those whose sentences we know how to tell apart, and which of them a text is probably written in."""

import re
from collections import Counter
from functools import cache

# sentencex takes any code and silently uses English's rules for those that it does not know, so they are listed here
# (of sentencex 1.0.32). It has rules of its own for these:
OWN_RULES = "am ar bg bn ca da de el en es fi fr gu hi hy it ja kk kn ml mr my nl pa pl pt ru sk ta te uk"
# These borrow the rules of one of those above other than English:
BORROWED_RULES = (
    "aae ab acm aeb als alt an anp apc arn arq ary arz ast atj av avk awa ay ba bar bci blk bm bpy bxr ce co cs csb cv "
    "dsb dua egl eml ext fit fon frc frp frr fur gcf gcr gl gld gn gsw guc hke hrx hsb ht hyw inh jut kaa kab kbp kea "
    "kjh kjp kl koi krc krl ksh ksw kum kv lad lb lbe lez li lij lld lmo ln lua mag mai mdf mg mhr mnw mrj mwl myv nah "
    "nap nds oc olo os pcd pdc pdt pfl pms pnt qu qug rgn rm rue rut sa sah scn sdc ses sg shy sjd sli smn srn sro stq "
    "sty szl tcy tet tt ty tyv udm vec vls vmf vmw vot wa wls wo xal"
)
# English rules and the stops of every script split these well:
COMMON_STOPS = "he ko tr zh"
# sentencex knows no stops of these. Thai and Lao have none: a blank between two letters ends a sentence or a clause
# (signs of repetition are no letters here).
BREAKS = {
    "km": re.compile("(?<=[\u17d4\u17d5])\\s*"),
    "lo": re.compile("(?<=[\u0e81-\u0ec5\u0ec8-\u0edf])\\s+(?=[\u0e81-\u0ec5\u0ec8-\u0edf])"),
    "th": re.compile("(?<=[\u0e01-\u0e45\u0e47-\u0e5b])\\s+(?=[\u0e01-\u0e45\u0e47-\u0e5b])"),
}
SHOWN_LANGUAGES = sorted({*OWN_RULES.split(), *COMMON_STOPS.split(), *BREAKS})  # in messages
LANGUAGES = {*SHOWN_LANGUAGES, *BORROWED_RULES.split()}

SAMPLE_CHARACTERS = 10_000  # whose letters tell the script of a document

# The letters of a script, and a language whose rules for stops and quotes fit.
SCRIPTS = {
    "ja": ("\u3041-\u3096", "\u30a1-\u30fa"),
    "zh": ("\u3400-\u4dbf", "\u4e00-\u9fff", "\U00020000-\U0002fa1f"),
    "ko": ("\u1100-\u11ff", "\uac00-\ud7a3"),
    "ar": ("\u0620-\u06ff",),
    "hi": ("\u0904-\u0963", "\u0971-\u097f"),
    "th": ("\u0e01-\u0e5b",),
    "ru": ("\u0400-\u052f",),
    "en": ("A-Z", "a-z", "\u00c0-\u024f"),
    "el": ("\u0370-\u03ff", "\u1f00-\u1fff"),
    "hy": ("\u0531-\u0587",),
    "am": ("\u1200-\u139f",),
    "my": ("\u1000-\u109f",),
    "bn": ("\u0980-\u09ff",),
    "pa": ("\u0a00-\u0a7f",),
    "gu": ("\u0a80-\u0aff",),
    "ta": ("\u0b80-\u0bff",),
    "te": ("\u0c00-\u0c7f",),
    "kn": ("\u0c80-\u0cff",),
    "ml": ("\u0d00-\u0d7f",),
    "lo": ("\u0e81-\u0edf",),
    "km": ("\u1780-\u17dd",),
}
MIN_KANA = 0.05  # of the letters: a Chinese text that quotes a Japanese name has less


def find_language(text: str) -> str:
    """A language that is written in the script of a text's beginning; English where it has no letters that we know.

    >>> find_language("Он пришёл."), find_language("東京に行く。"), find_language("我们去公园。"), find_language("42")
    ('ru', 'ja', 'zh', 'en')
    """
    characters = Counter(text[:SAMPLE_CHARACTERS])
    letters = dict.fromkeys(SCRIPTS, 0)
    for character, occurrences in characters.items():
        if language := _script_of(character):
            letters[language] += occurrences
    if letters["ja"] > MIN_KANA * sum(letters.values()):
        return "ja"  # though most of its letters may be Han
    return max(letters, key=lambda language: (letters[language], language == "en"))


@cache
def _script_of(character: str) -> str | None:
    for language, ranges in SCRIPTS.items():
        if any(letters[0] <= character <= letters[-1] for letters in ranges):
            return language
    return None
