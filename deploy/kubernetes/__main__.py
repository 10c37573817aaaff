"""Writes the PrometheusRule: `python -m deploy.kubernetes`, from the repository's root.

Kustomize can put a file into a ConfigMap, but not into the middle of an object. So the rules of
`deploy/prometheus/rules/`, which are what Prometheus and promtool read, are copied there. `--check`
writes nothing and exits 1 if the file is not what they make.
"""

import argparse
import sys
import textwrap
from pathlib import Path

__all__ = ["TARGET", "prometheus_rule"]

_DEPLOY = Path(__file__).parents[1]

TARGET = _DEPLOY / "kubernetes" / "components" / "monitoring" / "prometheusrule.yaml"

_HEAD = """\
# Written by `python -m deploy.kubernetes` from deploy/prometheus/rules/: change it there.
apiVersion: monitoring.coreos.com/v1
kind: PrometheusRule
metadata:
  name: sekring
spec:
  groups:
"""


def prometheus_rule() -> str:
    """Return the manifest, with the groups of all rule files as they are written there."""
    text = _HEAD
    for path in sorted((_DEPLOY / "prometheus" / "rules").glob("*.yaml")):
        comment, _, groups = path.read_text(encoding="utf-8").partition("groups:\n")
        text += textwrap.indent(comment, "    ") + textwrap.indent(groups, "  ")
    return text


def main(argv: list[str] | None = None) -> int:
    """Write or check the manifest; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m deploy.kubernetes", description=__doc__)
    parser.add_argument("--check", action="store_true", help="only compare")
    check = parser.parse_args(argv).check
    text = prometheus_rule()
    if TARGET.exists() and TARGET.read_text(encoding="utf-8") == text:
        return 0
    if not check:
        TARGET.write_text(text, encoding="utf-8")
    print(f"{TARGET.name}: {'differs from the rules' if check else 'written'}")  # noqa: T201
    return 1 if check else 0


if __name__ == "__main__":
    sys.exit(main())
