"""A real swarm of two engines, whose hosts have one and the same name."""

from __future__ import annotations

import subprocess
import time

import application
import docker
import engines as real

SERVICES_READY_SECONDS = 40


def form(engines: list[real.Engine]) -> None:
    """Make the first engine a manager, and the others workers.

    Parameters
    ----------
    engines : list of Engine
        Engines that answer.
    """
    manager = docker.APIClient(base_url=engines[0].endpoint)
    address = f"127.0.0.1:{real.free_port()}"
    manager.init_swarm(advertise_addr=address, listen_addr=address)
    token = manager.inspect_swarm()["JoinTokens"]["Worker"]
    manager.close()
    for engine in engines[1:]:
        own = f"127.0.0.1:{real.free_port()}"
        worker = docker.APIClient(base_url=engine.endpoint)
        worker.join_swarm([address], token, listen_addr=own, advertise_addr=own)
        worker.close()


def deploy(endpoint: str) -> None:
    """Create the services of a shop, with secrets wherever one may be written.

    Parameters
    ----------
    endpoint : str
        Engine of the manager, which has the image.
    """
    secret = application.CANARY
    create = [
        "service",
        "create",
        "--detach",
        "--network",
        "host",
        "--no-resolve-image",
        "--label",
        "com.docker.stack.namespace=shop",
        "--container-label",
        "com.docker.stack.namespace=shop",
        "--label",
        f"traefik.auth=admin:{secret}",
        "--restart-delay",
        "1s",
        "--init",
        "--stop-grace-period",
        "1s",
    ]
    limits = ["--limit-memory", "64M", "--limit-cpu", "0.5", "--read-only"]
    web = [
        *limits,
        "--replicas",
        "2",
        "--user",
        "1000",
        "--update-parallelism",
        "1",
        "--env",
        f"API_KEY={secret}",
        "--env",
        f"DATABASE_URL=postgres://u:{secret}@db:5432/shop",
        "--health-cmd",
        f"test {secret}",
        "--health-interval",
        "1s",
        "--container-label",
        f"note={secret}",
        "--log-driver",
        "json-file",
        "--log-opt",
        "tag=shop",
    ]
    data = ["--mount", "type=volume,src=data,dst=/var/lib/postgresql/data"]
    share = f"type=volume,src=share,dst=/share,volume-opt=type=cifs,volume-opt=o=password={secret}"
    command = [application.WEB, "sleep", "3600"]
    run(endpoint, *create, "--name", "shop_web", *web, *command)
    run(
        endpoint,
        *create,
        "--name",
        "shop_db",
        *data,
        application.WEB,
        "sh",
        "-c",
        "sleep 3600",
        secret,
    )
    run(endpoint, *create, "--name", "shop_agent", "--mode", "global", *command)
    run(
        endpoint,
        *create,
        "--name",
        "shop_legacy",
        "--replicas",
        "0",
        "--mount",
        share,
        *command,
    )


def run(endpoint: str, *arguments: str) -> str:
    """Run the command line against an engine.

    Parameters
    ----------
    endpoint : str
        The engine.
    *arguments : str
        What to do.

    Returns
    -------
    str
        What it printed.
    """
    command = ["docker", "--host", endpoint, *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def wait(endpoint: str, running: dict[str, int]) -> None:
    """Wait until services have so many running tasks.

    Parameters
    ----------
    endpoint : str
        Engine of the manager.
    running : dict of str to int
        Wanted tasks by the name of the service.
    """
    api = docker.APIClient(base_url=endpoint)
    end, counts = time.monotonic() + SERVICES_READY_SECONDS, {}
    while counts != running and time.monotonic() < end:
        names = {s["ID"]: s["Spec"]["Name"] for s in api.services()}
        counts = dict.fromkeys(running, 0)
        for task in api.tasks(filters={"desired-state": "running"}):
            counts[names[task["ServiceID"]]] += task["Status"]["State"] == "running"
        time.sleep(0.1)
    tasks = [task["Status"] for task in api.tasks()]
    api.close()
    assert counts == running, tasks
