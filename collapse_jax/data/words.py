"""What a word is, in every script: the one rule by which texts are measured, cut and hashed.

White space separates words. In scripts that are written without spaces each letter is a word, with the marks and the
punctuation around it: a Chinese text of 300 characters has some 300 words, and a Thai one counts its letters too, since
where its words end takes a dictionary. Korean, which has spaces, is split by them.
"""

import re

__all__ = ()

# Unicode's blocks of Thai, Lao, Tibetan, Burmese, Khmer, Tai and Javanese scripts, Chinese characters, kana, bopomofo
# and Yi.
_BLOCKS = (
    "\u0e00-\u0fff\u1000-\u109f\u1780-\u17ff\u1950-\u19ff\u1a20-\u1aaf\u1b00-\u1b7f\u2e80-\u2fdf\u3005-\u3007"
    "\u3021-\u3029\u3031-\u3035\u303b\u303c\u3041-\u312f\u31a0-\u31bf\u31f0-\u31ff\u3400-\u4dbf\u4e00-\ua4cf"
    "\ua980-\ua9ff\uaa60-\uaadf\uf900-\ufaff\uff66-\uff9f\U00016fe0-\U00018d8f\U0001b000-\U0001b2ff"
    "\U00020000-\U0003ffff"
)
# Marks, as vowels above a consonant, are none of \w, nor is punctuation: both go with the letter beside them.
_LETTER = rf"(?=\w)[{_BLOCKS}]"
_LETTERS = re.compile(_LETTER)
_WORD = re.compile(rf"[^\w\s]*{_LETTER}[^\w\s]*|(?:(?!{_LETTER})\S)+")
_BETWEEN_SPACES = re.compile(rf"[^\w ]*{_LETTER}[^\w ]*|(?:(?!{_LETTER})[^ ])+")


def split_words(text: str) -> list[str]:
    """Return the words of a text, without the white space between them.

    >>> split_words("So it's said:  「天地玄黄，宇宙洪荒」 (c. 520)")
    ['So', "it's", 'said:', '「天', '地', '玄', '黄，', '宇', '宙', '洪', '荒」', '(c.', '520)']
    """
    return _WORD.findall(text) if _LETTERS.search(text) else text.split()


def word_ends(text: str) -> list[int]:
    """Return where each word ends, if single spaces alone separate words, as in the reward-collapse experiment.

    A line break or tab stays inside its word, and of two spaces in a row the second makes an empty word.

    >>> [text[:end] for text in ["a\\nb  c 天地"] for end in word_ends(text)]
    ['a\\nb', 'a\\nb ', 'a\\nb  c', 'a\\nb  c 天', 'a\\nb  c 天地']
    """
    ends, start = [], 0
    for piece in text.split(" "):
        found = _BETWEEN_SPACES.finditer(piece) if _LETTERS.search(piece) else ()
        ends += [start + one.end() for one in found] or [start + len(piece)]
        start += len(piece) + 1
    return ends
