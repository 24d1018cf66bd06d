"""Encodings, recognized on little text, and refused where several explain it."""

from __future__ import annotations

import pytest

from lightning_modules.data.file.encoding import decoded
from lightning_modules.data.file.form import Form
from lightning_modules.error import DataError

TEXTS = {
    "cp1252": "Je ne l’ai pas aimé du tout, très déçu. Un château à conseiller !",
    "cp1250": "Zażółć gęślą jaźń. Příliš žluťoučký kůň úpěl",
    "cp1251": "Отличный фильм всем советую. Ужасно скучно и плохо",
    "koi8-r": "Отличный фильм всем советую. Ужасно скучно и плохо",
    "cp932": "この映画はとても面白かった 退屈な映画でした。時間の無駄",
    "gb18030": "这部电影非常好看 太无聊了，浪费时间",
    "big5": "這部電影非常好看 太無聊了，浪費時間",
    "euc_kr": "이 영화는 정말 재미있었다 지루하고 시간 낭비였다",
    "euc_jp": "この映画はとても面白かった 退屈な映画でした。時間の無駄",
    "cp1253": "Πολύ καλή ταινία. Βαρετή και κακή",
    "cp1254": "Çok güzel bir şarkı öğüt. Kötü ve sıkıcı İğne",
    "cp1255": "סרט מצוין ומעניין. משעמם ורע",
    "cp1256": "فيلم رائع جدا. ممل وسيء",
}
GERMAN = "Schöne Bücher für größere Kinder. Übel, hässlich und öde."
DANISH = "Det er en rigtig god bog på mange måder. Smørrebrød. Køb den ikke, æv"
ENGLISH = "It’s fine – really; the “café” was €5 too dear…"


def read(content: bytes) -> str:
    return decoded(content, "a.csv", Form()).text


@pytest.mark.parametrize("encoding", TEXTS)
def test_encodings_are_recognized_and_told(encoding: str) -> None:
    content = f"text,label\nplain,a\n{TEXTS[encoding]},b\n"
    found = decoded(content.encode(encoding), "a.csv", Form())
    assert found.text == content
    (note,) = found.notes
    assert f"e.g. line 3: {TEXTS[encoding][:20]}" in note and "data.encoding=NAME" in note


@pytest.mark.parametrize("text", [GERMAN, DANISH, ENGLISH, "caf\xe9", "£5 for it"])
def test_western_texts_are_windows_1252(text: str) -> None:
    assert read(f"text\n{text}\n".encode("cp1252")) == f"text\n{text}\n"


@pytest.mark.parametrize(
    "text",
    [
        GERMAN,
        ENGLISH,
        TEXTS["cp1252"],
        "El niño comió aquí. ¿Qué pasó? ¡Nada!",
        "It’s great",
        "Das Frühstück war schön",
    ],
)
def test_western_texts_of_an_old_mac_are_recognized(text: str) -> None:
    found = decoded(f"text\n{text}\n".encode("mac_roman"), "a.csv", Form())
    assert (found.text, found.encoding) == (f"text\n{text}\n", "Mac Roman")
    assert "read as Mac Roman (likely)" in found.notes[0]


@pytest.mark.parametrize("text", [GERMAN, "Je ne l'ai pas aimé du tout, très déçu.", "niño"])
def test_texts_in_a_code_page_of_dos_are_not_taken_for_those_of_a_mac(text: str) -> None:
    content = f"text\n{text}\n".encode("cp850")
    try:
        assert decoded(content, "a.csv", Form()).encoding != "Mac Roman"
    except DataError as error:
        assert "must be UTF-8 or in an encoding" in str(error)


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-32"])
def test_a_mark_decides(encoding: str) -> None:
    assert read("text,é\n".encode(encoding)) == "text,é\n"


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be", "iso2022_jp"])
def test_wide_encodings_without_a_mark_are_recognized(encoding: str) -> None:
    assert read("text,label\n映画,b\n".encode(encoding)) == "text,label\n映画,b\n"


@pytest.mark.parametrize(
    ("content", "line"),
    [
        ("déjà vu\nfine\n".encode() + b"caf\xe9\n", 3),
        (b"text\ncaf\xc3", 2),
        (b"text\ncaf\xc3,1\n", 2),
        ("text\n这".encode()[:-1], 2),
        (b"\xff" * 10, 1),
        (b"text\n" + bytes(range(128, 256)), 2),
    ],
)
def test_what_is_in_doubt_is_refused_with_its_line(content: bytes, line: int) -> None:
    with pytest.raises(DataError) as raised:
        read(content)
    text = str(raised.value)
    assert text.startswith(f"a.csv:{line}: must be UTF-8 or in an encoding that is recognized")
    assert "iconv" not in text


def test_a_nul_byte_is_refused_with_its_line() -> None:
    with pytest.raises(DataError, match=r"a\.csv:2: must be text, got a NUL byte"):
        read(b"text,label\nfi\0ne,a\n")


def test_a_second_mark_is_left_out_and_told() -> None:
    found = decoded("\ufeff\ufefftext\n".encode(), "a.csv", Form())
    assert found.text == "text\n" and "second byte-order mark" in found.notes[0]


def test_the_signs_of_a_wrong_conversion_are_told() -> None:
    content = "it’s €5\n".encode("cp1252").decode("latin-1").encode()
    (note,) = decoded(content, "a.csv", Form()).notes
    assert note.startswith("a.csv:1: has the control character U+0092")


@pytest.mark.parametrize("given", ["utf-16", "utf-32"])
@pytest.mark.parametrize("order", ["le", "be"])
def test_a_mark_says_the_byte_order_of_a_given_encoding(given: str, order: str) -> None:
    content = "\ufefftext,é\n".encode(f"{given}-{order}")
    assert decoded(content, "a.csv", Form(encoding=given)).text == "text,é\n"


def test_an_encoding_that_reads_nothing_is_refused() -> None:
    with pytest.raises(DataError, match="must be UNDEFINED"):
        decoded(b"text", "a.csv", Form(encoding="undefined"))


def test_a_given_encoding_is_taken_and_checked() -> None:
    assert decoded(b"caf\xe9", "a.csv", Form(encoding="latin-1")).text == "café"
    with pytest.raises(DataError, match=r"a\.csv:1: must be UTF-8, got byte 0xe9"):
        decoded(b"caf\xe9", "a.csv", Form(encoding="utf-8"))
