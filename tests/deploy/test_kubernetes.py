"""deploy/kubernetes: the same fleet as docker-compose.yml, with nobody allowed more than it needs.

`make manifests` holds the files against the schemas of Kubernetes; here is what those can't know.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tasks.settings import Settings
from workers.cli import main
from workers.cli.ready import Ready

PROJECT = Path(__file__).parent.parent.parent
FOLDER = PROJECT / "deploy" / "kubernetes"
PAGE = PROJECT / "docs" / "how-to" / "deploy-on-kubernetes.md"
#: Variables that are no settings of ours.
OTHERS = {"DATABASE_URL", "REDIS_URL", "BITCOIND_URL", "FLOWER_BASIC_AUTH"}
#: What differs from the compose file on purpose: the key and the probe are Kubernetes' own.
COMMANDS = {"signer": ["signer"]}
COMPONENT = "app.kubernetes.io/component"

Document = dict[str, Any]


def documents() -> Iterator[Document]:
    for path in sorted(FOLDER.rglob("*.yaml")):
        yield from yaml.safe_load_all(path.read_text())


def of_kind(*kinds: str) -> list[Document]:
    return [document for document in documents() if document["kind"] in kinds]


def pods() -> dict[str, Document]:
    """Component -> the pod that a Deployment or Job makes."""
    return {
        owner["metadata"]["labels"][COMPONENT]: owner["spec"]["template"]
        for owner in of_kind("Deployment", "Job")
    }


def container(part: str) -> Document:
    [only] = pods()[part]["spec"]["containers"]
    found: Document = only
    return found


@pytest.fixture(scope="module")
def compose() -> Document:
    loaded = yaml.safe_load((PROJECT / "docker-compose.yml").read_text())
    services: Document = loaded["services"]
    return services


PARTS = sorted(pods())


def test_every_file_is_named_by_its_kustomization() -> None:
    for folder in (FOLDER / "migrate", FOLDER / "court"):
        named = yaml.safe_load((folder / "kustomization.yaml").read_text())
        there = {path.name for path in folder.glob("*.yaml")} - {"kustomization.yaml"}
        assert set(named["resources"]) == there
        assert named["namespace"] == "contractcourt"


@pytest.mark.parametrize("part", PARTS)
def test_a_part_runs_the_image_and_the_command_of_the_compose_file(
    part: str, compose: Document, capsys: pytest.CaptureFixture[str]
) -> None:
    given, service = container(part), compose[part]
    assert given["image"] == service["image"]
    assert given["args"] == COMMANDS.get(part, service["command"])
    assert given.get("command") == service.get("entrypoint")
    if part != "flower":
        with pytest.raises(SystemExit) as left:
            main([*given["args"], "--help"])
        assert not left.value.code, capsys.readouterr()


def test_the_fleets_are_the_same(compose: Document) -> None:
    ours = {name for name, s in compose.items() if s["image"].startswith("contractcourt")}
    assert ours - {"operator"} == set(PARTS)  # for people: kubectl exec does that


@pytest.mark.parametrize("part", PARTS)
def test_every_variable_is_a_setting_and_every_secret_is_named_on_the_page(part: str) -> None:
    known = {f"CONTRACTCOURT_{name.upper()}" for name in Settings.model_fields} | OTHERS
    page = PAGE.read_text()
    for variable in container(part).get("env", ()):
        assert variable["name"] in known
        if "valueFrom" in variable:
            secret = variable["valueFrom"]["secretKeyRef"]
            assert f"| `{secret['name']}` | `{secret['key']}` |" in page, secret
        else:
            assert not re.search("TOKEN|PASSWORD|AUTH|KEY$", variable["name"])
    for config in of_kind("ConfigMap"):
        assert set(config["data"]) <= known


@pytest.mark.parametrize("part", PARTS)
def test_a_pod_may_nothing_that_it_does_not_need(part: str) -> None:
    spec = pods()[part]["spec"]
    assert spec["automountServiceAccountToken"] is False
    # Else CONTRACTCOURT_SIGNER_PORT of a Service would be read as a setting.
    assert spec["enableServiceLinks"] is False
    assert spec["securityContext"]["runAsNonRoot"] is True
    assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    for one in [*spec.get("initContainers", ()), *spec["containers"]]:
        may = one["securityContext"]
        assert may["allowPrivilegeEscalation"] is False
        assert may["readOnlyRootFilesystem"] is True
        assert may["capabilities"] == {"drop": ["ALL"]}
        assert one["resources"]["requests"].keys() == {"cpu", "memory"}
        assert "memory" in one["resources"]["limits"]
    user = re.search(r"--uid (\d+)", (PROJECT / "Dockerfile").read_text())
    assert user is not None
    assert spec["securityContext"]["runAsUser"] == int(user[1])


def test_the_signer_alone_has_the_seal_key() -> None:
    holders = [
        part
        for part, pod in pods().items()
        for volume in pod["spec"]["volumes"]
        if volume.get("secret", {}).get("secretName") == "contractcourt-seal-key"
    ]
    assert holders == ["signer"]
    named = [
        (part, variable["name"])
        for part in PARTS
        for variable in container(part).get("env", ())
        if "valueFrom" in variable and variable["valueFrom"]["secretKeyRef"]["key"] == "signer"
    ]
    assert named == [("signer", "DATABASE_URL")]


def test_only_who_needs_the_signer_may_speak_to_it_and_it_speaks_to_postgres_alone() -> None:
    needs = {part for part in PARTS if "CONTRACTCOURT_SIGNER_URL" in _names(part)}
    policies = {policy["metadata"]["name"]: policy["spec"] for policy in of_kind("NetworkPolicy")}
    [ingress] = policies["contractcourt-signer"]["ingress"]
    [sender] = ingress["from"]
    assert _selected(sender["podSelector"]) == needs
    assert _selected(policies["contractcourt-to-signer"]["podSelector"]) == needs
    outward = {
        name
        for name, spec in policies.items()
        if "Egress" in spec["policyTypes"] and "signer" in _selected(spec["podSelector"])
    }
    assert outward == {"contractcourt-nothing-else", "contractcourt-postgres"}


@pytest.mark.parametrize(
    ("variable", "policy"),
    [
        ("DATABASE_URL", "contractcourt-postgres"),
        ("REDIS_URL", "contractcourt-redis"),
        ("BITCOIND_URL", "contractcourt-bitcoind"),
    ],
)
def test_who_is_told_an_address_may_go_there_and_nobody_else(variable: str, policy: str) -> None:
    told = {part for part in PARTS if variable in _names(part)}
    [found] = [p for p in of_kind("NetworkPolicy") if p["metadata"]["name"] == policy]
    assert _selected(found["spec"]["podSelector"]) == told


def test_commands_that_issue_a_secret_find_its_key_where_the_page_sends_them() -> None:
    """The root is read-only there, and a key of its own would open at no gateway."""
    page = " ".join(PAGE.read_text().split())
    named = re.search(r"exec deploy/contractcourt-(\w+) -- contractcourt node add", page)
    assert named is not None
    assert "CONTRACTCOURT_WEBHOOK_KEY" in _names(named[1])


def test_the_doctor_is_sent_to_where_every_part_can_be_asked() -> None:
    """The archivist knows neither Bitcoin node nor signer, and both were said to be wrong."""
    named = re.search(r"exec deploy/contractcourt-(\w+) -- contractcourt doctor", PAGE.read_text())
    assert named is not None
    told = _names(named[1])
    signer = {"CONTRACTCOURT_SIGNER_URL", "CONTRACTCOURT_SIGNER_TOKEN"}
    assert told >= {"DATABASE_URL", "REDIS_URL", "BITCOIND_URL", *signer}


def test_every_part_that_lasts_says_when_it_is_ready() -> None:
    for part in PARTS:
        if part == "migrate":
            continue
        probe = container(part)["readinessProbe"]
        command = probe.get("exec", {}).get("command", [])
        if command[:2] == ["contractcourt", "ready"]:
            assert Ready(command[2]).value == part
        elif not command:
            port = probe["httpGet"]["port"]
            assert port in {one["name"] for one in container(part)["ports"]}


def test_what_there_is_twice_is_kept_once_through_a_drain() -> None:
    kept = {
        budget["spec"]["selector"]["matchLabels"][COMPONENT]
        for budget in of_kind("PodDisruptionBudget")
    }
    many = {
        owner["metadata"]["labels"][COMPONENT]
        for owner in of_kind("Deployment")
        if owner["spec"].get("replicas") != 1
    }
    assert kept == many


def test_workers_are_scaled_by_every_queue_that_they_take_from() -> None:
    [scaled] = of_kind("ScaledObject")
    names = {
        d["metadata"]["name"]: d["metadata"]["labels"][COMPONENT] for d in of_kind("Deployment")
    }
    assert names[scaled["spec"]["scaleTargetRef"]["name"]] == "worker"
    arguments = container("worker")["args"]
    queues = arguments[arguments.index("--queues") + 1]
    watched = {trigger["metadata"]["listName"] for trigger in scaled["spec"]["triggers"]}
    # The urgent queues have workers of their own, and are not to wait for any to be started.
    assert watched == set(queues.split(",")) - {"urgent", "urgent_sweeps"}
    assert scaled["spec"]["minReplicaCount"] >= 1
    [deployment] = [d for d in of_kind("Deployment") if d["metadata"]["name"].endswith("-worker")]
    assert "replicas" not in deployment["spec"]
    [login] = of_kind("TriggerAuthentication")
    page = PAGE.read_text()
    for wanted in login["spec"]["secretTargetRef"]:
        assert f"| `{wanted['name']}` | `{wanted['key']}` |" in page


def test_no_secret_stands_in_a_file() -> None:
    assert of_kind("Secret") == []
    for path in FOLDER.rglob("*.yaml"):
        assert not re.search(r"://[^/\s]*:[^/\s]*@", path.read_text())


def _names(part: str) -> set[str]:
    return {variable["name"] for variable in container(part).get("env", ())}


def _selected(selector: Document) -> set[str]:
    """The parts that a selector over our labels takes in."""
    wanted = selector.get("matchLabels", {})
    chosen = {COMPONENT: [wanted[COMPONENT]]} if COMPONENT in wanted else {}
    chosen |= {one["key"]: one["values"] for one in selector.get("matchExpressions", ())}
    assert wanted["app.kubernetes.io/part-of"] == "contractcourt"
    return set(chosen.get(COMPONENT, PARTS))
