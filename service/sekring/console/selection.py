"""Which instances a fleet page shows, as its address says it.

`/?state=open&prefix=628&cursor=…`: everything is in the address, so that it can be kept, sent and
gone back to. `cursor` is there once for every page that was turned: the last one is the page shown,
those before it are the way back.
"""

import re
from collections.abc import Mapping
from typing import Literal
from urllib.parse import urlencode

from litestar.datastructures import MultiDict
from msgspec import Struct, structs

from sekring.errors import InvalidInput
from sekring.model import PREFIX_PATTERN, State

__all__ = ["ALL", "LABELS", "Label", "Selection"]

Label = Literal["open", "half_open", "forced_open", "disabled", "closed", "all"]

#: Stands for every state.
ALL: Label = "all"

#: As the tabs have them: what wants looking at comes first, and is what is shown first.
LABELS: tuple[Label, ...] = ("open", "half_open", "forced_open", "disabled", "closed", "all")

#: Pages back that an address remembers.
_TRAIL_MAX = 40

_CURSOR_MAX = 160


class Selection(Struct, frozen=True):
    """One page of the instances in a state whose ids begin in some way."""

    label: Label = "open"
    #: Empty: any id.
    prefix: str = ""
    #: The cursor of every page that was turned.
    trail: tuple[str, ...] = ()

    @classmethod
    def of(cls, parameters: Mapping[str, str]) -> "Selection":
        """Read it from an address's query, or from the fields of a form.

        Raises:
            InvalidInput: the state is none.
        """
        wanted = parameters.get("state", LABELS[0])
        label = next((label for label in LABELS if label == wanted), None)
        if label is None:
            raise InvalidInput(f"state takes one of {', '.join(LABELS)}.", "state")
        turned = parameters.getall("cursor", []) if isinstance(parameters, MultiDict) else []
        trail = [cursor for cursor in turned if len(cursor) <= _CURSOR_MAX]
        return cls(label, parameters.get("prefix", "").strip(), tuple(trail[-_TRAIL_MAX:]))

    @property
    def state(self) -> State | None:
        """The state that is wanted; `None` for all."""
        return None if self.label == ALL else State(self.label)

    @property
    def cursor(self) -> str | None:
        """Where the page begins; `None` at the beginning."""
        return self.trail[-1] if self.trail else None

    @property
    def matches_nothing(self) -> bool:
        """Whether no id can begin so."""
        return not re.match(PREFIX_PATTERN, self.prefix)

    @property
    def is_choice(self) -> bool:
        """Whether it is less than the whole fleet, or than all that are well: some to be reset."""
        return bool(self.prefix) or self.label not in {ALL, "closed"}

    @property
    def whole(self) -> "Selection":
        """The same from its first page on."""
        return structs.replace(self, trail=())

    @property
    def before(self) -> "Selection":
        """The page before this one."""
        return structs.replace(self, trail=self.trail[:-1])

    def at(self, cursor: str) -> "Selection":
        """Return the page behind this one."""
        return structs.replace(self, trail=(*self.trail, cursor)[-_TRAIL_MAX:])

    def with_label(self, label: Label) -> "Selection":
        """Return the first page of those in another state."""
        return structs.replace(self.whole, label=label)

    def address(self, path: str = "/", **more: str) -> str:
        """Return the address at `path` that selects this."""
        chosen: list[tuple[str, str]] = [("state", self.label)]
        if self.prefix:
            chosen.append(("prefix", self.prefix))
        chosen += [("cursor", cursor) for cursor in self.trail]
        named: Mapping[str, str] = more
        return f"{path}?{urlencode([*chosen, *named.items()])}"
