"""Text that others wrote, fit for a terminal."""

import unicodedata

__all__ = ["printable"]

#: Control characters, and format characters, which can turn the direction of the text.
_UNSAFE = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})


def printable(text: str) -> str:
    r"""Show control characters as escapes (`\x1b`), so that no text can steer the terminal."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(
        character.encode("unicode_escape").decode()
        if unicodedata.category(character) in _UNSAFE
        else character
        for character in text
    )
