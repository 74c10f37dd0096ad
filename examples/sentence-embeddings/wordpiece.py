"""Cuts text into the word pieces of BERT's uncased models. Needs nothing but Python.

Written from the published description: drop control characters, put spaces around Chinese characters, strip accents, lower-case,
cut at white space and at punctuation, then take from each word the longest piece that the vocabulary has, again and again;
pieces inside a word begin with ##, and a word that cannot be cut is [UNK] as a whole. check.py compares it with the tokenizer
that the model's package ships; where the two know another edition of Unicode, signs that are new in one may differ.
"""

import unicodedata

# A longer word is [UNK] without a try.
MAX_WORD = 100
# Blocks of Chinese characters, first and last.
CHINESE = (
    (0x4E00, 0x9FFF),
    (0x3400, 0x4DBF),
    (0x20000, 0x2A6DF),
    (0x2A700, 0x2B73F),
    (0x2B740, 0x2B81F),
    (0x2B920, 0x2CEAF),
    (0xF900, 0xFAFF),
    (0x2F800, 0x2FA1F),
)


class WordPiece:
    """A vocabulary, one piece a line; a piece's number is its line's, from 0."""

    def __init__(self, vocabulary: str):
        pieces = vocabulary.removesuffix("\n").split("\n")
        self.numbers = {piece: number for number, piece in enumerate(pieces)}

    def numbers_of(self, text: str) -> list[int]:
        """The numbers of a text's pieces, between [CLS] and [SEP]."""
        pieces = (piece for word in words(text) for piece in self.cut(word))
        return [self.numbers[piece] for piece in ("[CLS]", *pieces, "[SEP]")]

    def cut(self, word: str) -> list[str]:
        if len(word) > MAX_WORD:
            return ["[UNK]"]
        pieces, at = [], 0
        while at < len(word):
            prefix = "##" if at else ""
            ends = range(len(word), at, -1)
            end = next((end for end in ends if prefix + word[at:end] in self.numbers), None)
            if end is None:
                return ["[UNK]"]
            pieces.append(prefix + word[at:end])
            at = end
        return pieces


def words(text: str) -> list[str]:
    """Lower-case words without accents; each punctuation mark and each Chinese character is a word."""
    clean = "".join(map(clean_character, text))
    bare = "".join(c for c in unicodedata.normalize("NFD", clean) if unicodedata.category(c) != "Mn")
    return "".join(f" {c} " if is_punctuation(c) else c for c in bare.lower()).split()


def clean_character(c: str) -> str:
    """What stands for a character before words are looked for. Formatting and private ones count as control characters."""
    if c in "\t\n\r" or unicodedata.category(c) == "Zs":
        return " "
    if c in "\0\ufffd" or unicodedata.category(c) in ("Cc", "Cf", "Co"):
        return ""
    return f" {c} " if any(first <= ord(c) <= last for first, last in CHINESE) else c


def is_punctuation(c: str) -> bool:
    """Also the signs of ASCII that Unicode counts as symbols, like $ and ^."""
    return unicodedata.category(c).startswith("P") or "!" <= c <= "~" and not c.isalnum()
