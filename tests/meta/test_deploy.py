"""What lies in deploy/ fits the program: no container is run here, so its files are held against what they name."""

from __future__ import annotations

import pathlib
import re
from typing import Any

import pytest
import yaml

from headgate.cli.main import VERBS
from headgate.config.load import load_settings
from headgate.stores import postgres

ROOT = pathlib.Path(__file__).resolve().parents[2]
DEPLOY = ROOT / "deploy"
ENVIRONMENT = {"POSTGRES_PASSWORD": "pa55", "HEADGATE_ADMIN_KEY": "a-long-admin-key", "OPENAI_API_KEY": ""}


@pytest.fixture
def compose() -> dict[str, Any]:
    """The compose file, its variables filled in."""

    def fill(match: re.Match[str]) -> str:
        name, required = match[1], match[2].startswith(":?")
        assert required or match[2].startswith(":-"), f"{name} is neither required nor has a default"
        return ENVIRONMENT[name]

    text = re.sub(r"\$\{(\w+)(:[?-][^}]*)\}", fill, (DEPLOY / "compose.yaml").read_text())
    assert "${" not in text
    parsed = yaml.safe_load(text)
    assert isinstance(parsed, dict)
    return parsed


def gateways(compose: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {name: service for name, service in compose["services"].items() if name.startswith("gateway")}


def test_two_gateways_share_a_database_and_nothing_else(compose: dict[str, Any]) -> None:
    """Each has a port and a journal's volume of its own, in the image's data directory; the volumes are declared."""
    found = gateways(compose)
    assert len(found) == 2
    ports, volumes = [], []
    for service in found.values():
        (port,) = service["ports"]
        address, outside, inside = port.split(":")
        assert (address, inside) == ("127.0.0.1", "8484")
        ports.append(outside)
        volumes += [volume for volume in service["volumes"] if not volume.startswith(".")]
    assert len(set(ports)) == 2
    assert {volume.partition(":")[2] for volume in volumes} == {"/var/lib/headgate"}
    names = {volume.partition(":")[0] for volume in volumes}
    assert len(names) == 2
    stores = {volume.partition(":")[0] for volume in compose["services"]["postgres"]["volumes"]}
    assert names | stores == set(compose["volumes"])


def test_the_gateways_url_is_the_databases(compose: dict[str, Any]) -> None:
    """User, password, host and database of the URL are those that the Postgres service is made with."""
    server = compose["services"]["postgres"]["environment"]
    for service in gateways(compose).values():
        url = service["environment"]["HEADGATE_DATABASE_URL"]
        assert postgres.check_url(url) == ""
        assert url == (
            f"postgresql://{server['POSTGRES_USER']}:{server['POSTGRES_PASSWORD']}@postgres:5432/{server['POSTGRES_DB']}"
        )
        assert service["depends_on"] == {"postgres": {"condition": "service_healthy"}}


def test_the_gateways_configuration_loads(compose: dict[str, Any]) -> None:
    """The mounted file, with the service's environment, is a valid configuration on the port that is published."""
    for service in gateways(compose).values():
        (mount,) = [volume for volume in service["volumes"] if volume.startswith(".")]
        source, target, _ = mount.split(":")
        assert service["environment"]["HEADGATE_CONFIG"] == target
        settings = load_settings(DEPLOY / source, environ=service["environment"])
        assert (settings.server.host, settings.server.port) == ("0.0.0.0", 8484)
        assert settings.database_url == service["environment"]["HEADGATE_DATABASE_URL"]
        assert settings.admin_key is not None
        grace = float(service["stop_grace_period"].removesuffix("s"))
        assert grace > settings.server.drain_seconds + 3


def test_the_image_is_built_of_what_there_is(compose: dict[str, Any]) -> None:
    """What the Dockerfile copies exists and is let through, its locks are written by `make lock`, its verb is one."""
    for service in gateways(compose).values():
        assert (DEPLOY / service["build"]["context"]).resolve() == ROOT
        assert (ROOT / service["build"]["dockerfile"]).is_file()
    text = (DEPLOY / "Dockerfile").read_text()
    ignored = (DEPLOY / "Dockerfile.dockerignore").read_text().splitlines()
    copied = [word for line in re.findall(r"^COPY (?!--from)(.*)$", text, re.MULTILINE) for word in line.split()[:-1]]
    assert copied
    written = {f"requirements/{name}.lock" for name in re.findall(r"^compile (\w+)", _lock_script(), re.MULTILINE)}
    for name in copied:
        assert name in written or (ROOT / name).exists(), name
        assert f"!{name.partition('/')[0]}" in ignored, name
    locks = re.findall(r"requirements/\w+\.lock", text)
    assert locks
    assert set(locks) <= written
    (verb,) = re.findall(r'^CMD \["(\w+)"', text, re.MULTILINE)
    assert verb in VERBS
    data = re.findall(r"HEADGATE_DATA=(\S+)", text)
    assert data == re.findall(r"^VOLUME (\S+)$", text, re.MULTILINE) == ["/var/lib/headgate"]


def _lock_script() -> str:
    return (ROOT / "scripts" / "lock.sh").read_text()
