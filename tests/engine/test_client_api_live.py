"""What the environment of a client fixes, against what engines of two versions answer it."""

from __future__ import annotations

import shutil
import time

import application
import docker
import engines as real
import pandas as pd
import pytest
from test_docker_live import collect, table

from assess.inventory import from_frames
from assess.score.upgrade_churn.breaking import breaks, goal_of

pytestmark = pytest.mark.engine
CLI = shutil.which("docker", path=real.ENGINE_PATH)
# the client of the system, and what it is linked with
PARTS = [
    f"{CLI}:/bin/docker:ro",
    *(f"{p}:{p}:ro" for p in ("/lib", "/lib64", "/usr/lib")),
]
STAYS = ["sh", "-c", "docker version && exec sleep 3600"]


@pytest.fixture(scope="module", params=["1.20", "1.41", ""])
def clients(request, engines):
    """The same client beside each engine, its version fixed by a variable or by nothing."""
    name = f"client-{request.param or 'free'}"
    image = "docker:20.10"
    env = {"DOCKER_API_VERSION": request.param} if request.param else {}
    started = []
    for engine in engines:
        api = docker.APIClient(base_url=engine.endpoint)
        application.load_images(api, [image])
        volumes = [*PARTS, f"{engine.root}/sock:/var/run/docker.sock"]
        host = api.create_host_config(binds=volumes, network_mode="host")
        made = api.create_container(
            image, STAYS, name=name, environment=env, host_config=host
        )
        api.start(made)
        started.append((api, made))
    yield request.param, [api for api, _ in started], name
    for api, made in started:
        api.remove_container(made, force=True)
        # other tests count the images of this engine
        api.remove_image(image)
        api.close()


def stays(api: docker.APIClient, name: str) -> bool:
    """Return whether a client goes on after its first question."""
    for _ in range(100):
        if "Server" in api.logs(name).decode() or not running(api, name):
            break
        time.sleep(0.1)
    return running(api, name)


def running(api: docker.APIClient, name: str) -> bool:
    return api.inspect_container(name)["State"]["Running"]


def test_what_a_variable_fixes_is_refused_as_foretold(clients, engines):
    version, apis, name = clients
    batch = collect(engines[0].endpoint, host_id="h1")
    frames = {part: table(batch, part) for part in ("hosts", "engines", "workloads")}
    is_client = frames["workloads"]["name"].eq(name)
    row = frames["workloads"][is_client]
    assert row["client_api_version"].fillna("").tolist() == [version]
    # the socket of an engine of these tests is in no usual place
    row = row.assign(service_id="client", docker_sock_mounted=True)
    frames |= {"services": pd.DataFrame([{"service_id": "client"}]), "workloads": row}
    inventory = from_frames(frames, snapshot_at="2026-11-30T00:00:00Z")
    target = engines[1].version.partition("+")[0]
    found = breaks(inventory, [goal_of(f"docker:{target}")])
    foretold = found[found["what"].str.contains("speaks API")]["certainty"].tolist()
    assert stays(apis[0], name)
    assert stays(apis[1], name) == (not foretold)
    assert foretold == (["will"] if version == "1.20" else [])
