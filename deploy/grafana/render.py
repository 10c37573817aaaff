"""Every dashboard, and its JSON as it is kept in `dashboards/`."""

from collections.abc import Callable, Mapping
from pathlib import Path

from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.dashboard import Dashboard

from deploy.grafana import fleet, gateways, instance, redis, service

__all__ = ["FOLDER", "render"]

FOLDER = Path(__file__).parent / "dashboards"

_BOARDS: Mapping[str, Callable[[], Dashboard]] = {
    "fleet": fleet.board,
    "instance": instance.board,
    "service": service.board,
    "redis": redis.board,
    "gateways": gateways.board,
}


def render() -> dict[str, str]:
    """Return the text of every dashboard's file by the file's name."""
    encoder = JSONEncoder(sort_keys=True, indent=2, ensure_ascii=False)
    return {f"{name}.json": encoder.encode(board()) + "\n" for name, board in _BOARDS.items()}
