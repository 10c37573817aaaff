"""Examples for the OpenAPI description of the failures' routes."""

from sekring.wire import FailuresAnswer, Minute, PreviewAnswer, PreviewChange, PreviewSide

__all__ = ["FAILURES", "PREVIEW"]

_NOW_MS = 1_795_446_908_959
_MINUTE_MS = 60_000

FAILURES = FailuresAnswer(
    minutes=[
        Minute((_NOW_MS // _MINUTE_MS - ago) * _MINUTE_MS, 45 if ago == 1 else 0)
        for ago in reversed(range(60))
    ],
    now_ms=_NOW_MS,
    since_ms=(_NOW_MS // _MINUTE_MS - 59) * _MINUTE_MS,
    degraded=False,
)
PREVIEW = PreviewAnswer(
    failures=1_204,
    instances=83,
    in_force=PreviewSide(instances=7, trips=9),
    proposed=PreviewSide(instances=3, trips=3),
    gained=PreviewChange(count=0, instances=[]),
    lost=PreviewChange(
        count=4,
        instances=["6281234567890", "6281234567891", "6281234567892", "6281234567893"],
    ),
    complete=True,
    missing=None,
    since_ms=_NOW_MS - 60 * _MINUTE_MS,
    now_ms=_NOW_MS,
    not_considered=["probes"],
)
