"""Imports structlog and redis-py without what they take along in case it is wanted.

To be imported before anything that imports either. structlog loads rich for tracebacks that show
all variables, and with them tokens: they are not wanted here. redis-py loads OpenTelemetry's
metrics for some of its own, which nobody reads. A server process starts a seventh sooner without,
and is 3 MB smaller; whoever needs rich or the metrics themselves imports them later as ever.
"""

import importlib
import sys
from typing import Final

#: A library, and what it finds missing.
_SPARED: Final = (("structlog", "rich"), ("redis.asyncio", "opentelemetry.sdk.metrics"))

for _library, _spared in _SPARED:
    if _library not in sys.modules and _spared not in sys.modules:
        # So an import finds a module that is not there.
        sys.modules[_spared] = None  # type: ignore[assignment]
        try:
            importlib.import_module(_library)
        finally:
            del sys.modules[_spared]
