"""Text is split as its readers would: a table in many languages, and the rules that the library does not know."""

import pytest
import sentencex

from maskmill.pipeline.reading.documents import Document, ReadOptions
from maskmill.pipeline.reading.languages import LANGUAGES, find_language
from maskmill.pipeline.reading.sentences import MAX_CHARACTERS, split_sentences
from maskmill.tokenizer.errors import InputError

# Each "|" is a place between two sentences.
SENTENCES = [
    ("en", "Dr. Smith went to Washington.| He left."),
    ("en", "It cost $3.50 in 1999.| Then it rose."),
    ("en", "See Fig. 3 for details.| It shows."),
    ("en", "The U.S. Army came.| They won."),
    ("en", "Mr. and Mrs. Jones, e.g. at 5 p.m. today, left.| Bye."),
    ("en", "Version 2.0.1 is out.| Get it."),
    ("en", "J. R. R. Tolkien wrote it.| It sold."),
    ("en", "Visit www.example.com.| It is free."),
    ("en", '"Go away!" she said.| "Now."'),
    ("en", 'He said: "Stop."| Then he ran.'),
    ("en", "Wait... what?| No!"),
    ("en", "I love it!!| Do you?!| Yes."),
    ("en", "Heading\n\n|A paragraph here.| And more."),
    ("en", "First line\n|- item one\n|- item two\n\n|End."),
    ("de", "Das kostet z. B. 3,50 Euro.| Es ist teuer."),
    ("de", "Am 3. Oktober 1990 war es so.| Danach nicht."),
    ("de", "Dr. Müller kam.| Er ging."),
    ("de", "„Komm her!“, sagte er.| Sie kam."),
    ("fr", "« Venez ! » dit-il.| Elle vint."),
    ("fr", "Combien ?| Dix euros.| Bien !"),
    ("es", "¿Cómo estás?| Bien, gracias."),
    ("es", "El Sr. García llegó.| Se fue."),
    ("es", "¡Hola!| ¿Qué tal?"),
    ("it", "Il sig. Rossi è qui.| Parte domani."),
    ("pl", "To jest np. test.| Koniec."),
    ("tr", "Bu bir cümle.| Bu da öyle."),
    ("el", "Τι κάνεις;| Καλά."),
    ("he", "שלום.| מה נשמע?"),
    ("ru", "Он пришёл.| Она ушла."),
    ("ru", "Это было в 1990 г. в Москве.| Потом нет."),
    ("ru", "А. С. Пушкин родился в Москве.| Он писал."),
    ("zh", "今天天气很好。|我们去公园。"),
    ("zh", "他说：“你好。”|然后走了。"),
    ("zh", "真的吗？|真的！|好。"),
    ("zh", "价格是3.5元。|很便宜。"),
    ("zh", "《红楼梦》是一部小说。|作者是曹雪芹。|……然后呢？"),
    ("ja", "今日は天気がいい。|公園に行こう。"),
    ("ja", "本当？|本当！|はい。"),
    ("ko", "오늘은 날씨가 좋다.| 공원에 가자."),
    ("ar", "ذهب الولد إلى المدرسة.| ثم عاد."),
    ("ar", "هل أنت بخير؟| نعم."),
    ("hi", "यह एक वाक्य है।| यह दूसरा है।"),
    ("th", "สวัสดีครับ| วันนี้อากาศดี"),
    ("th", "เขามีแมว 3 ตัว| แมวต่าง ๆ นอนหลับ"),
    ("lo", "ຂ້ອຍໄປໂຮງຮຽນ| ລາວອ່ານປຶ້ມ"),
    ("hy", "Ինչպես ես։| Լավ եմ։"),
    ("km", "ខ្ញុំទៅសាលា។| គាត់អានសៀវភៅ។"),
]

# A text for each language that sentencex has rules of its own for, which English's rules split otherwise.
RULES = {
    "am": "x ዓ. Yz", "ar": "x ا. د. Yz", "bg": "x p.s. Yz", "bn": "x এ. Yz", "da": "x adr. Yz", "de": "x ä. Yz",
    "el": "x Δρ. Yz", "es": "x abr. Yz", "fi": "x Å. Yz", "fr": "x a.c.n. Yz", "gu": "x એ. Yz", "hi": "x ए. Yz",
    "hy": "Ab։ Cd; Ef", "kk": "x afp. Yz", "kn": "x ಎ. Yz", "ml": "x ഡോ. Yz", "my": "Ab၏ Cd", "pa": "x ਏ. Yz",
    "pl": "x ags. Yz", "pt": "x DRA. Yz", "sk": "x a. d. Yz", "ta": "x ஏ. Yz", "te": "x ఎ. Yz", "uk": "x авт. Yz",
    "cs": "x a. d. Yz", "ast": "x abr. Yz", "bpy": "x এ. Yz",
}  # fmt: skip


def split(text: str, **options: str) -> list[str]:
    return split_sentences(Document(text, lines_are_sentences=False), ReadOptions(**options))


@pytest.mark.parametrize(("language", "text"), SENTENCES)
def test_sentences_end_where_readers_see_an_end(language, text):
    expected = [sentence.strip() for sentence in text.split("|")]
    assert split(text.replace("|", ""), split_sentences=language) == expected
    assert split(text.replace("|", ""), language=language) == expected


@pytest.mark.parametrize(("language", "text"), RULES.items())
def test_a_language_has_rules_of_its_own_in_sentencex(language, text):
    assert language in LANGUAGES
    assert sentencex.segment(language, text) != sentencex.segment("no-such", text)


@pytest.mark.parametrize("name", ["language", "split_sentences"])
@pytest.mark.parametrize("value", ["xx", "sv", "EN", "en-US", "", "none"])
def test_a_language_without_rules_is_refused(name, value):
    if (name, value) == ("split_sentences", "none"):
        return
    with pytest.raises(InputError, match=rf"^{name} is {value}, for which .* expected auto.* am, ar, .* such as en$"):
        ReadOptions(**{name: value})


@pytest.mark.parametrize("language", ["ar", "el", "en", "hi", "hy", "ja", "km", "ko", "lo", "ru", "th", "zh"])
def test_the_script_tells_the_rules(language):
    texts = [text.replace("|", "") for name, text in SENTENCES if name == language]
    found = [find_language(text) for text in texts]
    assert found.count(language) == len(texts)
    assert split(texts[0], language="auto") == split(texts[0], language=language)


def test_a_chinese_text_with_a_japanese_name_stays_chinese():
    assert find_language("他喜欢看日本动画片《となりのトトロ》。" + "今天天气很好，我们一起去公园散步吧。" * 20) == "zh"


def test_wrapped_lines_are_one_sentence_and_paragraphs_are_not():
    assert split("A sentence that\nwraps over\tlines. Another.\n\nno stop") == [
        "A sentence that wraps over lines.",
        "Another.",
        "no stop",
    ]


@pytest.mark.parametrize("text", ["word " * 5000, "字" * 5000, "日本語、" * 1000, "x" * 5000])
def test_text_without_a_stop_is_cut(text):
    sentences = split(text, language="auto")
    assert "".join(sentences).replace(" ", "") == text.replace(" ", "")
    assert max(map(len, sentences)) <= MAX_CHARACTERS
    assert len(sentences) <= 2 * len(text) / MAX_CHARACTERS + 1


def test_lines_that_are_sentences_stay_whole():
    line = "word " * 5000
    assert split_sentences(Document(line, lines_are_sentences=True), ReadOptions()) == [line.strip()]


@pytest.mark.parametrize("quotes", ["“", "«", "`", '"A. (b) ‘c’ [d] ', "'A.' "])
def test_a_text_of_quotes_is_cut_and_nothing_of_it_is_lost(quotes):
    quoted = quotes * (200_000 // len(quotes))
    found = split(f"One. Two.\n\n{quoted}\n\nThree.")
    assert [*found[:2], found[-1]] == ["One.", "Two.", "Three."]
    assert "".join(found[2:-1]).replace(" ", "") == quoted.replace(" ", "")


def test_long_paragraphs_of_usual_text_are_split_as_a_whole(monkeypatch):
    lines = ["“Go,” he said; it was the miller's. He went.", "„Geh“, sagte er. «Va», dit-il.", "’Tis good. It is."]
    text = "\n".join(lines * 3000)
    seen = []
    monkeypatch.setattr(
        "maskmill.pipeline.reading.sentences.sentencex.segment", lambda _, text: seen.append(text) or [text]
    )
    split(text)
    assert seen == [text]
