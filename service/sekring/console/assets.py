"""The files that pages load: everything comes from this service."""

import hashlib
import importlib.resources
from collections.abc import Iterator, Mapping
from importlib.resources.abc import Traversable
from types import MappingProxyType

from litestar import Controller, Response, get
from litestar.exceptions import NotFoundException
from msgspec import Struct

from sekring.http.options import NEEDS

__all__ = ["Asset", "AssetBook", "AssetRoutes"]

_MEDIA_TYPES = MappingProxyType(
    {"css": "text/css", "js": "text/javascript", "svg": "image/svg+xml"}
)


class Asset(Struct, frozen=True):
    """A file that pages load. Its address holds its hash, so that browsers may keep it for ever."""

    #: As the templates call it: `sekring.css`.
    name: str
    #: As browsers call it: `sekring.0123456789ab.css`.
    hashed: str
    content: bytes
    media_type: str


class AssetBook:
    """All assets, read once a process."""

    def __init__(self) -> None:
        """Read them."""
        folder = importlib.resources.files("sekring.console").joinpath("assets")
        self._by_hashed = {asset.hashed: asset for asset in _read(folder)}

    @property
    def addresses(self) -> Mapping[str, str]:
        """The address of each asset by its name."""
        return {asset.name: f"/assets/{asset.hashed}" for asset in self._by_hashed.values()}

    def find(self, hashed: str) -> Asset | None:
        """Return the asset that browsers call `hashed`."""
        return self._by_hashed.get(hashed)


class AssetRoutes(Controller):
    """Open to everybody: the login page needs them."""

    path = "/assets"
    opt = {NEEDS: None}
    include_in_schema = False

    @get("/{name:str}")
    async def asset(self, assets: AssetBook, name: str) -> Response[bytes]:
        """Return a file."""
        found = assets.find(name)
        if found is None:
            raise NotFoundException
        return Response(
            found.content,
            media_type=found.media_type,
            headers={"cache-control": "public, max-age=31536000, immutable"},
        )


def _read(folder: Traversable) -> Iterator[Asset]:
    for file in folder.iterdir():
        if file.is_dir():
            yield from _read(file)
            continue
        stem, _, suffix = file.name.rpartition(".")
        if suffix in _MEDIA_TYPES:
            content = file.read_bytes()
            digest = hashlib.sha256(content).hexdigest()[:12]
            hashed = f"{stem}.{digest}.{suffix}"
            yield Asset(file.name, hashed, content, _MEDIA_TYPES[suffix])
