"""The manifests for Kubernetes: they are taken, true of this version, and as safe as they say."""

import copy
import functools
import re
import warnings
from typing import Any, cast

import msgspec
import pytest

from deploy.kubernetes.__main__ import TARGET, prometheus_rule
from sekring.cli import server
from sekring.gateway import supervisor
from sekring.gateway.telemetry.probes import probes
from sekring.http import runtime
from sekring.settings import Settings, load
from tests.manifests import KUBERNETES, OVERLAYS, Object, Refused, check, pods, render
from tests.settingnames import known_to


@pytest.fixture(scope="module", params=OVERLAYS)
def objects(request: pytest.FixtureRequest) -> list[Object]:
    """Every object of an overlay."""
    return render(request.param)


@pytest.fixture(scope="module")
def production() -> list[Object]:
    return render("production")


def of_kind(objects: list[Object], *kinds: str) -> list[Object]:
    return [one for one in objects if one["kind"] in kinds]


def named(objects: list[Object], kind: str, name: str) -> Object:
    (found,) = (one for one in of_kind(objects, kind) if one["metadata"]["name"] == name)
    return found


def sekring(objects: list[Object]) -> dict[str, Object]:
    """The service's Pods and the gateway's."""
    return {
        name.removeprefix("sekring-"): pod
        for name, pod in pods(objects)
        if name.startswith("sekring-")
    }


def variables(objects: list[Object], pod: Object) -> dict[str, str | None]:
    """What a Pod's only container has in its environment; no value where it is a reference."""
    (container,) = pod["containers"]
    found: dict[str, str | None] = {}
    for source in container["envFrom"]:
        found |= named(objects, "ConfigMap", source["configMapRef"]["name"])["data"]
    return found | {one["name"]: one.get("value") for one in container["env"]}


# --------------------------------------------------------------------------- whether they are taken


def test_every_object_is_one_that_kubernetes_takes(objects: list[Object]) -> None:
    for one in objects:
        check(one)


@pytest.mark.parametrize(
    ("kind", "where"),
    [
        ("Deployment", ("spec", "template", "spec", "containers", 0)),
        ("PodDisruptionBudget", ("spec",)),
        ("NetworkPolicy", ("spec",)),
        ("ServiceMonitor", ("spec", "endpoints", 0)),
        ("PrometheusRule", ("spec", "groups", 0)),
    ],
)
def test_a_misspelt_field_is_found(
    production: list[Object], kind: str, where: tuple[str | int, ...]
) -> None:
    one = copy.deepcopy(of_kind(production, kind)[0])
    check(one)
    place: Any = one
    for step in where:
        place = place[step]
    place["readynessProbe"] = {}

    with pytest.raises(Refused, match="readynessProbe"):
        check(one)


def test_the_prometheus_rules_are_those_of_prometheus() -> None:
    assert TARGET.read_text() == prometheus_rule(), "run python -m deploy.kubernetes"
    groups = msgspec.yaml.decode(TARGET.read_bytes(), type=Object)["spec"]["groups"]
    files = sorted((KUBERNETES.parent / "prometheus" / "rules").glob("*.yaml"))
    assert groups == [
        group
        for file in files
        for group in msgspec.yaml.decode(file.read_bytes(), type=Object)["groups"]
    ]


# --------------------------------------------------------------------------- whether they are true


def test_every_variable_is_a_setting(objects: list[Object]) -> None:
    for process, pod in sekring(objects).items():
        names = set(variables(objects, pod)) - {"POD_NAME", "POD_NAMESPACE"}

        assert [name for name in names if not known_to(process, name)] == []


def test_the_settings_are_taken(objects: list[Object]) -> None:
    found = variables(objects, sekring(objects)["service"])
    plain = {name: text for name, text in found.items() if text and not name.endswith("_FILE")}

    assert load(plain).warnings == ()


def test_kubernetes_puts_no_variables_of_its_own_beside_them(objects: list[Object]) -> None:
    """The Service `sekring` would make SEKRING_PORT an URL."""
    for _, pod in pods(objects):
        assert pod["enableServiceLinks"] is False


def test_every_probe_asks_a_port_and_a_path_that_are_there(objects: list[Object]) -> None:
    apps = {"service": app(), "gateway": probes(cast("Any", None), list)}
    routes = {process: {route.path for route in one.routes} for process, one in apps.items()}
    ports = {"service": Settings().port, "gateway": 9464}
    for process, pod in sekring(objects).items():
        (container,) = pod["containers"]
        (port,) = container["ports"]
        asked = [
            container[f"{name}Probe"]["httpGet"] for name in ("startup", "liveness", "readiness")
        ]

        assert [probe["path"] for probe in asked] == ["/live", "/live", "/ready"]
        assert {probe["port"] for probe in asked} == {port["name"]}
        assert port["containerPort"] == ports[process]
        assert {"/live", "/ready", "/metrics"} <= routes[process]
    gateway = variables(objects, sekring(objects)["gateway"])
    assert gateway["SEKRING_GATEWAY_PROBE_PORT"] == str(ports["gateway"])


@functools.cache
def app() -> Any:
    with warnings.catch_warnings():
        # Litestar has newer words for some of what the service asks of it.
        warnings.simplefilter("ignore", DeprecationWarning)
        from sekring.http.app import create_app  # noqa: PLC0415

        return create_app(Settings(redis_url="redis://localhost:1"))


def test_a_replica_has_the_time_to_drain(objects: list[Object]) -> None:
    pod = sekring(objects)["service"]
    pause_s = pod["containers"][0]["lifecycle"]["preStop"]["sleep"]["seconds"]
    drain_s = int(str(variables(objects, pod)["SEKRING_DRAIN_MS"])) / 1000
    # The attempts that its view has permitted, the reports that wait, and the changes to confirm.
    finish_s = server._WORKER_GRACE_S + 2 * runtime._FLUSH_S

    assert pod["terminationGracePeriodSeconds"] > pause_s + drain_s + finish_s


def test_a_gateway_has_the_time_to_hand_over(objects: list[Object]) -> None:
    pod = sekring(objects)["gateway"]
    gateway = named(objects, "Deployment", "sekring-gateway")["spec"]
    needs_s = supervisor._DRAIN_S + supervisor._LAST_REPORTS_S

    assert pod["terminationGracePeriodSeconds"] > needs_s
    assert gateway["strategy"]["rollingUpdate"] == {"maxSurge": 1, "maxUnavailable": 0}
    assert gateway["minReadySeconds"] > Settings().lease_ttl_ms / 1000


def test_what_is_selected_is_there(objects: list[Object]) -> None:
    labels = [
        one["spec"]["template"]["metadata"]["labels"]
        for one in objects
        if "template" in one.get("spec", {})
    ]
    for one in of_kind(objects, "Service", "PodDisruptionBudget", "PodMonitor", "NetworkPolicy"):
        selector = one["spec"].get("podSelector", one["spec"].get("selector", {}))
        wanted = selector.get("matchLabels", selector if one["kind"] == "Service" else {})

        assert any(wanted.items() <= pod.items() for pod in labels), one["metadata"]["name"]


def test_the_jobs_have_the_names_that_the_rules_go_by(production: list[Object]) -> None:
    (service,) = of_kind(production, "ServiceMonitor")
    (gateway,) = of_kind(production, "PodMonitor")
    (relabeling,) = gateway["spec"]["podMetricsEndpoints"][0]["relabelings"]
    scraped = msgspec.yaml.decode(
        (KUBERNETES.parent / "prometheus" / "prometheus.yml").read_bytes(), type=Object
    )
    jobs = {one["job_name"] for one in scraped["scrape_configs"]}

    # A ServiceMonitor's job is the name of its Service.
    assert named(production, "Service", "sekring")["metadata"]["labels"].items() >= (
        service["spec"]["selector"]["matchLabels"].items()
    )
    assert relabeling["targetLabel"] == "job"
    assert {"sekring", relabeling["replacement"]} <= jobs


def test_the_ingress_lets_in_what_clients_ask_for_and_nothing_else(
    production: list[Object],
) -> None:
    requests = paths_of(named(production, "Ingress", "sekring"))
    hidden = {"/metrics", "/live", "/ready"}

    for route in app().routes:
        path = re.sub(r"\{[^}]*\}", "x", route.path)
        let_in = any(
            path == one["path"]
            or (one["pathType"] == "Prefix" and path.startswith(one["path"] + "/"))
            for one in requests
        )
        assert let_in is (path not in hidden) or path in streams(), path
    for one in requests:
        assert one["path"] == "/" or any(
            route.path.startswith(one["path"]) for route in app().routes
        ), one["path"]


def test_the_ingress_buffers_no_stream(production: list[Object]) -> None:
    ingress = named(production, "Ingress", "sekring-streams")
    annotations = ingress["metadata"]["annotations"]
    patterns = [one["path"] for one in paths_of(ingress)]
    longest_silence_s = 600

    assert annotations["nginx.ingress.kubernetes.io/proxy-buffering"] == "off"
    assert int(annotations["nginx.ingress.kubernetes.io/proxy-read-timeout"]) > longest_silence_s
    for stream in streams():
        assert any(re.fullmatch(pattern, stream) for pattern in patterns), stream
    assert len(patterns) == len(streams())


def paths_of(ingress: Object) -> list[Object]:
    (rule,) = ingress["spec"]["rules"]
    paths: list[Object] = rule["http"]["paths"]
    return paths


def streams() -> set[str]:
    """The routes that answer with Server-Sent Events."""
    return {
        re.sub(r"\{[^}]*\}", "x", route.path)
        for route in app().routes
        for handler in getattr(route, "route_handlers", ())
        if getattr(handler, "media_type", None) == "text/event-stream"
    }


# --------------------------------------------------------------------------- whether they are safe


def test_every_pod_is_as_the_restricted_standard_asks(objects: list[Object]) -> None:
    for name, pod in pods(objects):
        security = pod["securityContext"]
        assert security["runAsNonRoot"] is True, name
        assert security["seccompProfile"] == {"type": "RuntimeDefault"}, name
        assert pod["automountServiceAccountToken"] is False, name
        for container in pod["containers"]:
            assert container["securityContext"] == {
                "allowPrivilegeEscalation": False,
                "readOnlyRootFilesystem": True,
                "capabilities": {"drop": ["ALL"]},
            }, name
            assert {"cpu", "memory"} <= container["resources"]["requests"].keys(), name
            assert "memory" in container["resources"]["limits"], name
    (namespace,) = of_kind(objects, "Namespace")
    labels = namespace["metadata"]["labels"]
    assert labels["pod-security.kubernetes.io/enforce"] == "restricted"


def test_nothing_is_allowed_that_no_policy_allows(objects: list[Object]) -> None:
    deny = named(objects, "NetworkPolicy", "default-deny")["spec"]

    assert deny == {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}


def test_secrets_are_referred_to_and_read_from_files(objects: list[Object]) -> None:
    assert of_kind(objects, "Secret") == []
    for pod in sekring(objects).values():
        (container,) = pod["containers"]
        mounts = {mount["name"]: mount["mountPath"] for mount in container["volumeMounts"]}
        files = [text for name, text in variables(objects, pod).items() if name.endswith("_FILE")]

        assert files
        assert all(str(path).startswith(mounts["secrets"] + "/") for path in files)
        assert all("secretKeyRef" not in one.get("valueFrom", {}) for one in container["env"])


def test_every_image_is_pinned(objects: list[Object]) -> None:
    images = {container["image"] for _, pod in pods(objects) for container in pod["containers"]}

    assert images
    for image in images:
        assert re.fullmatch(r"[a-z/]+:[0-9]+\.[0-9]+\.[0-9]+(@sha256:[0-9a-f]{64})?", image), image


def test_production_goes_by_digest(production: list[Object]) -> None:
    for name, pod in pods(production):
        assert "@sha256:" in pod["containers"][0]["image"], name
