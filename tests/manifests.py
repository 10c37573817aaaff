"""What deploy/kubernetes describes, as kustomize renders it, and what Kubernetes would take."""

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import kubernetes_validate
import msgspec
import pytest
from msgspec import Meta, Struct

__all__ = ["KUBERNETES", "OVERLAYS", "Object", "Refused", "check", "pods", "render"]

KUBERNETES = Path(__file__).parents[1] / "deploy" / "kubernetes"

OVERLAYS = ("dev", "production", "redis-cluster")

#: The oldest Kubernetes that the manifests are for: preStop's `sleep` is on by default since 1.30.
_VERSION = "1.33"

Object = dict[str, Any]


class Refused(Exception):
    """Kubernetes, or an operator, would not take an object as it is."""


def render(overlay: str) -> list[Object]:
    """Return the objects of an overlay; without kubectl the test is skipped."""
    kubectl = shutil.which("kubectl")
    if kubectl is None:
        pytest.skip("kubectl is missing: overlays cannot be rendered")
    folder = KUBERNETES / "overlays" / overlay
    done = subprocess.run(
        [kubectl, "kustomize", str(folder)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return [document for document in split(done.stdout) if document]


def split(text: str) -> Iterator[Object]:
    """Yield the documents of a YAML stream."""
    for document in f"\n{text}".split("\n---\n"):
        yield msgspec.yaml.decode(document, type=Object)


def pods(objects: list[Object]) -> Iterator[tuple[str, Object]]:
    """Yield the template of every Pod, with the name of what makes it."""
    for one in objects:
        template = one.get("spec", {}).get("template")
        if template is not None:
            yield one["metadata"]["name"], template["spec"]


# ---------------------------------------------------------------- the Prometheus Operator's objects
#
# As far as they are used here; whatever else stands in one is refused, as a misspelt field.


class _Strict(Struct, forbid_unknown_fields=True, rename="camel"):
    pass


class _Metadata(_Strict):
    name: str
    namespace: str
    labels: dict[str, str] = {}


class _Relabeling(_Strict):
    target_label: str
    replacement: str
    action: str = "replace"


class _Endpoint(_Strict):
    port: str
    path: str
    interval: Annotated[str, Meta(pattern=r"^[0-9]+s$")]
    relabelings: list[_Relabeling] = []


class _Selector(_Strict):
    match_labels: dict[str, str]


class _ServiceMonitorSpec(_Strict):
    selector: _Selector
    endpoints: list[_Endpoint]


class _PodMonitorSpec(_Strict):
    selector: _Selector
    pod_metrics_endpoints: list[_Endpoint]


class _Rule(Struct, forbid_unknown_fields=True):
    expr: str
    record: str | None = None
    alert: str | None = None
    for_: str | None = msgspec.field(name="for", default=None)
    keep_firing_for: str | None = None
    labels: dict[str, str] = {}
    annotations: dict[str, str] = {}


class _Group(Struct, forbid_unknown_fields=True):
    name: str
    rules: list[_Rule]
    interval: str | None = None


class _RuleSpec(_Strict):
    groups: list[_Group]


class _Monitoring(_Strict, tag_field="kind"):
    api_version: Annotated[str, Meta(pattern=r"^monitoring\.coreos\.com/v1$")]
    metadata: _Metadata


class _ServiceMonitor(_Monitoring, tag="ServiceMonitor"):
    spec: _ServiceMonitorSpec


class _PodMonitor(_Monitoring, tag="PodMonitor"):
    spec: _PodMonitorSpec


class _PrometheusRule(_Monitoring, tag="PrometheusRule"):
    spec: _RuleSpec


def check(one: Object) -> None:
    """Raise `Refused` where Kubernetes, or the Prometheus Operator, would not take an object."""
    try:
        if one["apiVersion"].startswith("monitoring.coreos.com/"):
            msgspec.convert(one, type=_ServiceMonitor | _PodMonitor | _PrometheusRule)
        else:
            kubernetes_validate.validate(one, _VERSION, strict=True)
    except (msgspec.ValidationError, kubernetes_validate.ValidationError) as error:
        raise Refused(f"{one['kind']} {one['metadata']['name']}: {error}") from None
