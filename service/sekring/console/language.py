"""The languages of the pages: which one a reader prefers, and the words in it (`words.toml`)."""

import importlib.resources
import re
import tomllib
from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal
from types import MappingProxyType
from typing import Literal, get_args

import msgspec

__all__ = ["Language", "Words", "preferred_language", "read_words"]

Language = Literal["en", "id"]

#: Length in ms of each unit, and its sign.
_UNITS: Mapping[Language, tuple[tuple[int, str], ...]] = MappingProxyType(
    {
        "en": ((86_400_000, "d"), (3_600_000, "h"), (60_000, "min"), (1_000, "s")),
        "id": ((86_400_000, "hari"), (3_600_000, "jam"), (60_000, "mnt"), (1_000, "dtk")),
    }
)

#: Indonesian has the comma where English has the point.
_SWAPPED = str.maketrans(",.", ".,")


class Words:
    """The catalogue in one language: `words("failures_of", count=3, threshold=15, window="…")`."""

    def __init__(self, language: Language, catalogue: Mapping[str, str]) -> None:
        """Speak `language`, in the words of `catalogue`."""
        self.language = language
        self._catalogue = catalogue

    def __call__(self, key: str, **values: object) -> str:
        """Return the words of `key`, filled in."""
        return self._catalogue[key].format(**values)

    def cause(self, name: str) -> str:
        """Return a cause, or a kind of failure, in words; its name where it has none."""
        return self._catalogue.get(f"cause_{name}", name)

    def action(self, name: str) -> str:
        """Return what happened, by its name in the history, in words."""
        return self._catalogue.get(f"action_{name}", name)

    def field(self, name: str) -> str:
        """Return what a policy's field is called, by its dotted name."""
        parent, _, entry = name.partition(".")
        return (
            self.cause(entry) if parent == "weights" else self(f"policy_{name}".replace(".", "_"))
        )

    def contradiction(self, name: str, otherwise: str) -> str:
        """Say what a policy's field contradicts; `otherwise` where there are no words for it."""
        return self._catalogue.get(f"contradicts_{name}".replace(".", "_"), otherwise)

    def plain(self, value: float | Decimal) -> str:
        """Return a number as it is typed, in full: `0.25`, `0,25`; `typed` reads it."""
        text = f"{Decimal(str(value)).normalize():f}"
        return text if self.language == "en" else text.translate(_SWAPPED)

    def typed(self, text: str) -> Decimal | None:
        """Return the number that was typed, without signs between thousands; `None`: it is none."""
        sign = "." if self.language == "en" else ","
        if not re.fullmatch(rf"\d{{1,12}}({re.escape(sign)}\d{{1,9}})?", text, re.ASCII):
            return None
        return Decimal(text.replace(sign, "."))

    def number(self, value: float) -> str:
        """Return a number with its thousands apart: `5,000`, `5.000`; one decimal at most."""
        text = f"{value:,.1f}".removesuffix(".0")
        return text if self.language == "en" else text.translate(_SWAPPED)

    @property
    def units(self) -> str:
        """Day, hour, minute and second, for the script that counts down as `duration` does."""
        return " ".join(sign for _, sign in _UNITS[self.language])

    def duration(self, ms: int, *, parts: int = 2) -> str:
        """Return a length of time in its largest units, rounded up: `9 min 58 s`."""
        left = -(-max(0, ms) // 1000) * 1000
        units = _UNITS[self.language]
        largest = next((n for n, (length, _) in enumerate(units) if left >= length), 3)
        shown = []
        for length, sign in units[largest : largest + parts]:
            count, left = divmod(left, length)
            if count:
                shown.append(f"{count} {sign}")
        return " ".join(shown) or f"0 {units[-1][1]}"

    def clock(self, at_ms: int) -> str:
        """Return a point in time of the last hours by its minute, in UTC."""
        return datetime.fromtimestamp(at_ms / 1000, UTC).strftime("%H:%M UTC")

    def moment(self, at_ms: int, now_ms: int) -> str:
        """Return a point in time, with its day unless that is today.

        In UTC: the server does not know where the reader is.
        """
        at, now = (datetime.fromtimestamp(ms / 1000, UTC) for ms in (at_ms, now_ms))
        return at.strftime("%H:%M:%S UTC" if at.date() == now.date() else "%Y-%m-%d %H:%M:%S UTC")


def read_words() -> dict[Language, Words]:
    """Read the catalogue; it has every key in every language.

    Raises:
        msgspec.ValidationError: a key lacks a language.
    """
    text = importlib.resources.files("sekring.console").joinpath("words.toml").read_text("utf-8")
    entries = msgspec.convert(tomllib.loads(text), dict[str, _Entry])
    return {
        language: Words(language, {key: getattr(entry, language) for key, entry in entries.items()})
        for language in get_args(Language)
    }


class _Entry(msgspec.Struct, forbid_unknown_fields=True):
    en: str
    id: str


def preferred_language(accept_language: str) -> Language:
    """Return the language of ours that a browser prefers; English if it names none."""
    best: tuple[float, Language] = (0, "en")
    for entry in accept_language.lower().split(","):
        tag, _, parameter = entry.partition(";")
        primary = tag.strip().partition("-")[0]
        try:
            weight = float(parameter.strip().removeprefix("q=")) if parameter else 1.0
        except ValueError:
            continue
        # `in` is what old systems call Indonesian.
        if primary in {"en", "id", "in"} and weight > best[0]:
            best = (weight, "en" if primary == "en" else "id")
    return best[1]
