"""One and the same system in the words of each platform: what is declared of it is the same.

The system is that of the sample: its services and their needs, with an image, sizes and a volume
for each. Every writer says the same of it; the tests compare what the sources make of that.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
import yaml

import assess
from assess.inventory import Inventory
from assess.policy import load_policy
from assess.score.blast_radius.blast_radius import seen_sides

MIB = 2**20
GIB = 2**30
DATA = Path(assess.__file__).parents[1] / "data/sample/2026Q3"
STORES = {  # image, port, where its data is, scheme of its address
    "postgres-main": ("postgres:16.4", 5432, "/var/lib/postgresql/data", "postgres"),
    "mysql-orders": ("mysql:8.0.36", 3306, "/var/lib/mysql", "mysql"),
    "mongo-carts": ("mongo:7.0.14", 27017, "/data/db", "mongodb"),
    "redis-cache": ("redis:7.2.5", 6379, "", "redis"),
    "event-bus": ("rabbitmq:3.13.1", 5672, "/var/lib/rabbitmq", "amqp"),
    "search-index": (
        "elasticsearch:8.15.1",
        9200,
        "/usr/share/elasticsearch/data",
        "http",
    ),
}
PRIVILEGED = "log-shipper"
UNPINNED = ("ci-runner", "wiki")
CAPABILITIES = {"ci-runner": ["SYS_ADMIN", "NET_ADMIN"], "wiki": ["NET_BIND_SERVICE"]}
READ_ONLY = ("wiki", "checkout")
USERS = {"wiki": 1000, "checkout": 0}
GRACE_S = 45


class Described:
    """One service, as a person would describe it."""

    def __init__(self, name: str, needs: list[str], hosts: Callable[[str], str]) -> None:
        own = ("registry.shop.example:5000/shop/" + name, 8080, "", "http")
        image, self.port, self.data, _ = STORES.get(name, own)
        self.name = name
        self.image = image
        if name not in STORES:
            self.image += ":latest" if name in UNPINNED else ":1.4.2"
        self.replicas = 1 if name in STORES else 2
        self.memory_mib = 1024
        self.cpus = 1
        self.is_privileged = name == PRIVILEGED
        self.capabilities = CAPABILITIES.get(name, [])
        self.is_read_only = name in READ_ONLY
        self.user = USERS.get(name)
        self.env = {"API_TOKEN": "hunter2"} if name == "checkout" else {}
        for need in needs:
            variable = need.removeprefix("ext:").replace("-", "_").replace(".", "_")
            self.env[f"{variable.upper()}_URL"] = address(need, hosts)


def address(need: str, hosts: Callable[[str], str]) -> str:
    """Write the address of a need."""
    if need.startswith("ext:"):
        return f"https://{need.removeprefix('ext:')}/v1"
    _, port, _, scheme = STORES.get(need, ("", 8080, "", "http"))
    return f"{scheme}://{hosts(need)}:{port}"


def system(hosts: Callable[[str], str] = str) -> list[Described]:
    """Describe the services of the sample."""
    inventory = assess.load(str(DATA))
    names = inventory["services"]["service_id"].tolist()
    edges = inventory["dependencies"]
    needs = {n: sorted(set(edges.loc[edges["src_id"] == n, "dst_id"])) for n in names}
    return [Described(name, needs[name], hosts) for name in names]


# ---- the writers ----


def compose(place: Path, *, is_stack: bool = False) -> dict:
    services = {}
    volumes = {}
    for s in system():
        deploy = {
            "replicas": s.replicas,
            "restart_policy": {"condition": "any"},
            "resources": {"limits": {"cpus": str(s.cpus), "memory": f"{s.memory_mib}m"}},
        }
        if is_stack:
            deploy |= {"update_config": {"parallelism": 1}}
            del deploy["restart_policy"]  # the default of a stack
        body = {
            "image": s.image,
            "environment": s.env,
            "expose": [s.port],
            "healthcheck": {"test": ["CMD", "true"]},
            "deploy": deploy,
        }
        if s.data:
            volumes[s.name] = {}
            body["volumes"] = [f"{s.name}:{s.data}"]
        body |= {"cap_add": s.capabilities, "read_only": s.is_read_only}
        body |= {"stop_grace_period": f"{GRACE_S}s"}
        if s.user is not None:
            body["user"] = str(s.user)
        if s.is_privileged:
            body["privileged"] = True
            body["volumes"] = ["/var/run/docker.sock:/var/run/docker.sock"]
        services[s.name] = body
    document = {"name": "shop", "services": services, "volumes": volumes}
    (place / "compose.yaml").write_text(yaml.safe_dump(document))
    return {"type": "compose", "path": "compose.yaml"}


def stack(place: Path) -> dict:
    return compose(place, is_stack=True)


def kubernetes(place: Path) -> dict:
    documents = []
    for s in system():
        container = {
            "name": s.name,
            "image": s.image,
            "env": [{"name": n, "value": v} for n, v in s.env.items()],
            "ports": [{"containerPort": s.port}],
            "readinessProbe": {"exec": {"command": ["true"]}},
            "resources": {"limits": {"cpu": s.cpus, "memory": f"{s.memory_mib}Mi"}},
            "securityContext": {
                "privileged": s.is_privileged,
                "capabilities": {"add": s.capabilities},
                "readOnlyRootFilesystem": s.is_read_only,
                "runAsUser": s.user,
            },
        }
        pod: dict = {"containers": [container], "terminationGracePeriodSeconds": GRACE_S}
        if s.data:
            claim = {"claimName": s.name}
            container["volumeMounts"] = [{"name": "data", "mountPath": s.data}]
            pod["volumes"] = [{"name": "data", "persistentVolumeClaim": claim}]
        if s.is_privileged:
            container["volumeMounts"] = [
                {"name": "s", "mountPath": "/var/run/docker.sock"}
            ]
            pod["volumes"] = [{"name": "s", "hostPath": {"path": "/var/run/docker.sock"}}]
        labels = {"app.kubernetes.io/name": s.name}
        meta = {"name": s.name, "namespace": "shop"}
        template = {"metadata": {"labels": labels}, "spec": pod}
        spec = {
            "replicas": s.replicas,
            "selector": {"matchLabels": labels},
            "template": template,
        }
        port = {"port": s.port, "targetPort": s.port}
        service = {"selector": labels, "ports": [port]}
        documents += [
            {
                "apiVersion": "apps/v1",
                "kind": "Deployment",
                "metadata": meta,
                "spec": spec,
            },
            {"apiVersion": "v1", "kind": "Service", "metadata": meta, "spec": service},
        ]
    (place / "shop.yaml").write_text(yaml.safe_dump_all(documents))
    return {"type": "kubernetes", "path": "shop.yaml"}


def nomad(place: Path) -> dict:
    for s in system("{}.service.consul".format):
        check = {"Type": "script", "Command": "true"}
        config = {
            "image": s.image,
            "privileged": s.is_privileged,
            "cap_add": s.capabilities,
            "readonly_rootfs": s.is_read_only,
        }
        task = {
            "User": "" if s.user is None else str(s.user),
            "KillTimeout": GRACE_S * 10**9,
            "Name": s.name,
            "Driver": "docker",
            "Config": config,
            "Env": s.env,
            "Services": [{"Name": s.name, "Checks": [check]}],
            "Resources": {"Cores": s.cpus, "MemoryMB": s.memory_mib},
        }
        group = {
            "Name": s.name,
            "Count": s.replicas,
            "Networks": [{"DynamicPorts": [{"Label": "main", "To": s.port}]}],
            "RestartPolicy": {"Mode": "delay", "Attempts": 2},
            "Tasks": [task],
        }
        if s.data:
            group["Volumes"] = {"data": {"Type": "host", "Source": s.name}}
            task["VolumeMounts"] = [{"Volume": "data", "Destination": s.data}]
        if s.is_privileged:
            config["volumes"] = ["/var/run/docker.sock:/var/run/docker.sock"]
        job = {"ID": s.name, "Name": s.name, "Type": "service", "TaskGroups": [group]}
        (place / f"{s.name}.json").write_text(json.dumps({"Job": job}))
    return {"type": "nomad", "path": "."}


def marathon(place: Path) -> dict:
    apps = []
    for s in system("{}.marathon.mesos".format):
        volumes = []
        if s.data:
            volumes = [
                {"containerPath": "data", "mode": "RW", "persistent": {"size": 9}},
                {"containerPath": s.data, "hostPath": "data", "mode": "RW"},
            ]
        if s.is_privileged:
            path = "/var/run/docker.sock"
            volumes = [{"containerPath": path, "hostPath": path, "mode": "RW"}]
        docker = {
            "image": s.image,
            "privileged": s.is_privileged,
            "portMappings": [{"containerPort": s.port}],
            "parameters": [
                *({"key": "cap-add", "value": name} for name in s.capabilities),
                {"key": "read-only", "value": str(s.is_read_only).lower()},
                *([] if s.user is None else [{"key": "user", "value": str(s.user)}]),
            ],
        }
        app = {
            "taskKillGracePeriodSeconds": GRACE_S,
            "id": f"/{s.name}",
            "instances": s.replicas,
            "mem": s.memory_mib,
            "cpus": s.cpus,
            "resourceLimits": {"cpus": s.cpus},
            "env": s.env,
            "container": {"type": "DOCKER", "docker": docker, "volumes": volumes},
            "healthChecks": [{"protocol": "TCP"}],
        }
        apps.append(app)
    (place / "apps.json").write_text(json.dumps({"apps": apps}))
    return {"type": "marathon", "path": "apps.json"}


def ecs(place: Path) -> dict:
    arn = "arn:aws:ecs:eu-west-1:210987654321"
    dumps = place / "210987654321-eu-west-1"
    dumps.mkdir()
    services = []
    for s in system("{}.shop.local".format):
        container = {
            "name": s.name,
            "image": s.image,
            "essential": True,
            "privileged": s.is_privileged,
            "memory": s.memory_mib,
            "environment": [{"name": n, "value": v} for n, v in s.env.items()],
            "portMappings": [{"containerPort": s.port}],
            "healthCheck": {"command": ["CMD", "true"]},
            "restartPolicy": {"enabled": True},
            "linuxParameters": {"capabilities": {"add": s.capabilities}},
            "readonlyRootFilesystem": s.is_read_only,
            "user": "" if s.user is None else str(s.user),
            "stopTimeout": GRACE_S,
        }
        definition = {
            "family": s.name,
            "cpu": str(1024 * s.cpus),
            "memory": str(s.memory_mib),
            "containerDefinitions": [container],
        }
        point = {"sourceVolume": "v", "containerPath": s.data}
        volume: dict = {"name": s.name, "dockerVolumeConfiguration": {"scope": "shared"}}
        if s.is_privileged:
            point["containerPath"] = "/var/run/docker.sock"
            volume = {"host": {"sourcePath": "/var/run/docker.sock"}}
        if s.data or s.is_privileged:
            name = volume.setdefault("name", "v")
            definition["volumes"] = [volume]
            container["mountPoints"] = [point | {"sourceVolume": name}]
        (dumps / f"{s.name}.json").write_text(json.dumps(definition))
        service = {
            "serviceArn": f"{arn}:service/shop/{s.name}",
            "serviceName": s.name,
            "clusterArn": f"{arn}:cluster/shop",
            "status": "ACTIVE",
            "desiredCount": s.replicas,
            "taskDefinition": s.name,
        }
        services.append(service)
    dump = json.dumps({"services": services, "failures": []})
    (dumps / "describe-services.json").write_text(dump)
    return {"type": "ecs", "path": dumps.name}


# What the words of a platform leave open, and why the answer differs.
OPEN = {
    "coupling.no_shared_volume": (
        "replicas of one Compose project are on one engine, and a claim is one volume; which "
        "hosts the replicas of the others get nobody declares"
    ),
}
WRITERS = (compose, stack, kubernetes, nomad, marathon, ecs)


# ---- a project of one host: declared, and as its engines say ----

ROUTED = {
    "traefik.http.routers.shop.rule": "Host(`shop.example`)",
    "traefik.http.middlewares.shop.basicauth.users": "ada:hunter2",
}
SHOP = {
    "DB_URL": "postgres://ada:hunter2@database:5432/shop",
    "STOCK": "http://stock-svc:8000",
}
OWN = "registry.example/shop/"
SOCKET = "/var/run/docker.sock"


def project(place: Path) -> dict:
    services = {
        "proxy": {
            "image": "traefik:v3.1",
            "ports": ["80:80", "127.0.0.1:9:9"],
            "volumes": [f"{SOCKET}:{SOCKET}:ro"],
        },
        "shop": {
            "image": f"{OWN}shop:1",
            "labels": ROUTED,
            "environment": SHOP,
            "links": ["store:database"],
        },
        "store": {"image": "postgres:16"},
        "stock": {
            "image": f"{OWN}stock:1",
            "networks": {"default": {"aliases": ["stock-svc"]}},
        },
        "vpn": {"image": f"{OWN}vpn:1"},
        "seeder": {"image": f"{OWN}seeder:1", "network_mode": "service:vpn"},
        "admin": {"image": f"{OWN}admin:1", "ports": ["127.0.0.1:8081:80"]},
    }
    (place / "compose.yaml").write_text(yaml.safe_dump({"services": services}))
    return {"type": "compose", "path": "compose.yaml"}


def engine(place: Path) -> dict:
    def inspected(name, image, env=(), labels=(), *, ports=(), mounts=(), **network):
        bindings = {
            inner: [{"HostIp": ip, "HostPort": outer}] for ip, outer, inner in ports
        }
        return {
            "Id": name.encode().hex().rjust(64, "f")[::-1],
            "Name": f"/{name}",
            "State": {"Status": "running"},
            "Config": {
                "Image": image,
                "Env": ["=".join(pair) for pair in dict(env).items()],
                "Labels": {"assess.service": name, **dict(labels)},
            },
            "HostConfig": {
                "NetworkMode": network.pop("mode", "shop_default"),
                "PortBindings": bindings,
            },
            "Mounts": list(mounts),
            "NetworkSettings": {"Networks": {"shop_default": network}},
        }

    socket = {"Type": "bind", "Source": SOCKET, "Destination": SOCKET, "RW": False}
    published = [("0.0.0.0", "80", "80/tcp"), ("127.0.0.1", "9", "9/tcp")]
    local = [("127.0.0.1", "8081", "80/tcp")]
    vpn = inspected("vpn", f"{OWN}vpn:1")
    links = {"Links": ["store:database"]}
    aliases = {"Aliases": ["stock-svc"]}
    seeder = {"mode": f"container:{vpn['Id']}"}
    containers = [
        vpn,
        inspected("proxy", "traefik:v3.1", ports=published, mounts=[socket]),
        inspected("shop", f"{OWN}shop:1", SHOP, ROUTED, **links),
        inspected("store", "postgres:16"),
        inspected("stock", f"{OWN}stock:1", **aliases),
        inspected("seeder", f"{OWN}seeder:1", **seeder),
        inspected("admin", f"{OWN}admin:1", ports=local),
    ]
    (place / "engine").mkdir()
    (place / "engine/inspect.json").write_text(json.dumps(containers))
    return {"type": "docker", "path": "engine"}


def older_engine(place: Path) -> dict:
    """Write what an engine says of links on its default network."""
    options = engine(place)
    file = place / "engine/inspect.json"
    containers = json.loads(file.read_text())
    for container in containers:
        if container["NetworkSettings"]["Networks"]["shop_default"].pop("Links", None):
            container["HostConfig"]["Links"] = ["/store:/shop/database"]
    file.write_text(json.dumps(containers))
    return options


def quadlets(place: Path) -> dict:
    labels = "".join(f"Label={name}={value}\n" for name, value in ROUTED.items())
    env = " ".join("=".join(pair) for pair in SHOP.items())
    socket = f"Volume=/run/podman/podman.sock:{SOCKET}:ro\n"
    bodies = {
        "proxy": f"Image=traefik:v3.1\nPublishPort=80:80\n{socket}",
        "shop": f"Image={OWN}shop:1\nEnvironment={env}\n{labels}",
        "store": "Image=docker.io/library/postgres:16\nNetworkAlias=database\n",
        "stock": f"Image={OWN}stock:1\nNetworkAlias=stock-svc\n",
        "vpn": f"Image={OWN}vpn:1\n",
        "admin": f"Image={OWN}admin:1\nPublishPort=127.0.0.1:8081:80\n",
    }
    (place / "quadlets").mkdir()
    (place / "quadlets/shop.network").write_text("[Network]\n")
    for name, body in bodies.items():
        text = f"[Container]\nNetwork=shop.network\n{body}"
        (place / f"quadlets/{name}.container").write_text(text)
    return {"type": "podman", "path": "quadlets"}


CALLS = {("proxy", "shop", "call"), ("shop", "store", "data"), ("shop", "stock", "call")}
SHARED = {("seeder", "vpn", "declared")}  # a network


@pytest.mark.parametrize(
    ("writer", "expected"),
    [
        (project, CALLS | SHARED),
        (engine, CALLS | SHARED),
        (older_engine, CALLS | SHARED),
        (quadlets, CALLS),
    ],
)
def test_links_routes_and_shared_networks_are_the_same(tmp_path, writer, expected):
    inventory = collected(writer, tmp_path)
    assert edges(inventory) == expected
    services = inventory["services"].set_index("service_id")
    assert set(services.index[services["public"].eq(other=True)]) == {"proxy", "shop"}
    assert "hunter2" not in inventory["dependencies"].to_csv()


# ---- what the sources make of it ----


def collected(writer, place: Path) -> Inventory:
    options = writer(place)
    lines = [f"{key} = {json.dumps(value)}" for key, value in options.items()]
    (place / "assess.toml").write_text("\n".join(["[[source]]", *lines]))
    return assess.collect(str(place / "assess.toml"))


@pytest.fixture(scope="module")
def inventories(tmp_path_factory) -> dict[str, Inventory]:
    return {
        w.__name__: collected(w, tmp_path_factory.mktemp(w.__name__)) for w in WRITERS
    }


names = pytest.mark.parametrize("platform", [w.__name__ for w in WRITERS])


@names
def test_services_images_and_sizes_are_the_same(inventories, platform):
    inventory = inventories[platform]
    described = {s.name: s for s in system()}
    assert set(inventory["services"]["service_id"]) == set(described)
    workloads = inventory["workloads"]
    assert set(workloads["state"]) == set(workloads["inspect_status"]) == {"declared"}
    counts = workloads["service_id"].value_counts().to_dict()
    assert counts == {name: s.replicas for name, s in described.items()}
    for row in workloads.itertuples():
        s = described[row.service_id]
        assert row.image_ref == s.image
        assert row.memory_limit_bytes == s.memory_mib * MIB
        assert row.cpu_limit == s.cpus and not row.memory_unlimited
        assert row.privileged == row.docker_sock_mounted == s.is_privileged
        assert row.ports == f"{s.port}/tcp"
        assert (row.env_names_n, row.secret_like_env_n) == (
            len(s.env),
            "API_TOKEN" in s.env,
        )
    floating = workloads.loc[workloads["tag_floating"].astype(bool), "service_id"]
    assert set(floating) == set(UNPINNED)


@names
def test_mounts_and_edges_are_the_same(inventories, platform):
    inventory = inventories[platform]
    mounts = inventory["mounts"].merge(inventory["workloads"], on="workload_id")
    data = mounts[mounts["data_like"].fillna(value=False).astype(bool)]
    found = dict(zip(data["service_id"], data["destination"], strict=True))
    assert found == {s.name: s.data for s in system() if s.data}
    first = edges(inventories["compose"])
    here = edges(inventory)
    assert here - first == set()
    assert first - here == set()
    sample = assess.load(str(DATA))["dependencies"]
    pairs = set(zip(sample["src_id"], sample["dst_id"], strict=True))
    assert {(src, dst) for src, dst, _ in here} == pairs


# Columns that the words of a platform fill in another way, or not at all, and why.
OPEN_COLUMNS = {
    **dict.fromkeys(["workload_id", "cluster", "namespace", "name"], "names of a place"),
    **dict.fromkeys(["source_kind", "api_version", "host_id"], "what it is called there"),
    **dict.fromkeys(["source", "source_ref"], "where it was read"),
    **dict.fromkeys(
        ["cpu_request", "memory_request_bytes"], "some reserve what they limit"
    ),
    "container_role": "a pod has a main container even where it has only that",
    "health": "a check is a column of the service",
    "log_driver": "nothing is declared: the default differs",
    "pids_limit": "nothing is declared: the default differs",
}


@names
def test_every_other_column_of_a_container_is_the_same(inventories, platform):
    def columns(inventory):
        table = inventory["workloads"].drop_duplicates("service_id")
        table = table.set_index("service_id").sort_index()
        return table.drop(columns=[c for c in OPEN_COLUMNS if c in table]).astype(object)

    here = columns(inventories[platform])
    first = columns(inventories["compose"])[here.columns]
    same = here.eq(first) | (here.isna() & first.isna())
    assert same.all(axis=None), here.columns[~same.all()]
    described = {s.name: ";".join(sorted(s.capabilities)) or "none" for s in system()}
    assert here["caps_added"].to_dict() == described
    assert here["user_root"].dropna().to_dict() == {n: not u for n, u in USERS.items()}
    assert set(here.index[here["readonly_root"].astype(bool)]) == set(READ_ONLY)


# Columns of the other frames that differ, and why; their keys.
OPEN_ELSEWHERE = {
    "services": {
        "platform": "nobody declares in a Compose file that an engine runs it",
        **dict.fromkeys(["identity_rule", "identity_confidence"], "who names it"),
    },
    "mounts": {
        "workload_id": "the name of a place",
        "volume_name": "Compose puts the project before it",
        "driver": "a volume of the host is a driver of Nomad",
        # the replicas of one Compose project are on one engine
        **dict.fromkeys(["volume_id", "shared_with_n"], "which host it is on"),
    },
    "dependencies": {},
}
KEYS = {
    "services": ["service_id"],
    "mounts": ["service_id", "destination"],
    "dependencies": ["src_id", "dst_id", "kind"],
}


@pytest.mark.parametrize("frame", KEYS)
@names
def test_every_column_of_the_other_frames_is_the_same(inventories, platform, frame):
    def columns(inventory):
        table = inventory[frame]
        if frame == "mounts":
            owners = inventory["workloads"][["workload_id", "service_id"]]
            table = table.merge(owners, on="workload_id")
        table = table.drop_duplicates(KEYS[frame]).set_index(KEYS[frame]).sort_index()
        is_open = {*OPEN_ELSEWHERE[frame], "source", "source_ref"}
        kept = [column for column in table if column not in is_open]
        return table[kept].astype("string").fillna("unknown")

    first = columns(inventories["compose"])
    pd.testing.assert_frame_equal(columns(inventories[platform]), first)


def edges(inventory: Inventory) -> set[tuple[str, str, str]]:
    table = inventory["dependencies"]
    table = table[~table["unresolved"].fillna(value=False).astype(bool)]
    return set(
        zip(table["src_id"], table["dst_id"], table["kind"].astype(str), strict=True)
    )


def findings(inventory: Inventory) -> pd.Series:
    details = assess.score_readiness(inventory, assess.load_policy()).details
    gates = details["gates"].rename(columns={"gate": "check"})
    rows = pd.concat([details["atoms"], gates])
    return rows.set_index(["service_id", "check"])["state"].astype(str).sort_index()


def test_findings_are_the_same(inventories):
    table = pd.DataFrame({name: findings(i) for name, i in inventories.items()})
    assert len(table) > 2000
    differs = table[table.ne(table["compose"], axis=0).any(axis=1)]
    differs = differs[~differs.index.get_level_values("check").isin(OPEN)]
    assert differs.empty, differs.to_string()


@names
def test_what_is_declared_claims_to_have_seen_nobody(inventories, platform):
    inventory = inventories[platform]
    services = pd.Index(inventory["services"]["service_id"])
    seen = seen_sides(inventory, load_policy(), services)
    assert not seen.to_numpy().any()


def test_on_declared_needs_alone_no_service_claims_a_narrow_blast_radius(inventories):
    result = assess.score_blast_radius(
        inventories["compose"], load_policy(), detail=False
    )
    assert result.services["impact_hi"].min() > 0.99
    assert not result.services["callers_seen"].any()
