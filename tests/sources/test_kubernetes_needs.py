"""Whom services of a cluster need: configuration of the same material, waits, meshes, policies."""

import base64

import pytest
import yaml
from test_kubernetes import collect
from wild import fit, mutated, whatever_comes

from assess.sources.kubernetes import KubernetesSource
from assess.sources.kubernetes.config import expanded

CANARY = "hunter2"


def pod(name, *, env=(), env_from=(), mounts=(), volumes=(), image=None, **more):
    container = {
        "name": name,
        "image": image or f"example.com/{name}:1",
        "env": list(env),
        "envFrom": list(env_from),
        "volumeMounts": list(mounts),
    }
    return {
        "containers": [container | more.pop("container", {})],
        "volumes": list(volumes),
    } | more


def deployment(name, spec=None, *, namespace="", labels=None):
    labels = labels or {"app": name}
    meta = {"name": name} | ({"namespace": namespace} if namespace else {})
    template = {"metadata": {"labels": labels}, "spec": spec or pod(name)}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": meta,
        "spec": {"replicas": 1, "template": template},
    }


def service(name, *, namespace="", selects=None, **spec):
    meta = {"name": name} | ({"namespace": namespace} if namespace else {})
    selector = {"app": selects or name}
    spec = {"selector": selector, **spec} if selects != "" else spec
    return {"apiVersion": "v1", "kind": "Service", "metadata": meta, "spec": spec}


def thing(kind, name, version="v1", **body):
    return {"apiVersion": version, "kind": kind, "metadata": {"name": name}, **body}


def with_services(*names, **more):
    return [
        x for name in names for x in (deployment(name, **more), service(name, **more))
    ]


@pytest.fixture
def edges(tmp_path):
    def read(*objects):
        (tmp_path / "all.yaml").write_text(yaml.safe_dump_all(objects))
        batch = collect(tmp_path, path="all.yaml")
        assert CANARY not in repr(batch)
        read.coverage = {row["call"]: row for row in batch.coverage}
        return {
            (e["src"].name, getattr(e["dst"], "name", e["dst"])): (
                e["kind"],
                bool(e.get("possible")),
            )
            for e in batch.rows["dependencies"]
        }

    return read


CALLS = {"LEDGER": "http://ledger:8080", "AUDIT": "audit:9000", "LEVEL": "info"}
MAP = thing("ConfigMap", "calls", data=CALLS)
ALL = {"configMapRef": {"name": "calls"}}


def test_a_map_that_one_service_reads_gives_its_addresses(edges):
    front = deployment("front", pod("front", env_from=[ALL]))
    found = edges(front, MAP, *with_services("ledger", "audit"))
    assert found == {
        ("front", "ledger"): ("call", False),
        ("front", "audit"): ("call", False),
    }


def test_a_map_with_one_host_is_wanted_for_it(edges):
    readers = [deployment(n, pod(n, env_from=[ALL])) for n in ("front", "ledger")]
    one = thing("ConfigMap", "calls", data={"LEDGER": "http://ledger:8080", "LEVEL": "a"})
    other = deployment("batch", pod("batch", env_from=[ALL]))
    assert edges(*readers, other, one, service("ledger")) == {
        ("front", "ledger"): ("call", False),
        ("batch", "ledger"): ("call", False),
    }


def test_a_map_that_several_read_gives_possible_needs(edges):
    readers = [deployment(n, pod(n, env_from=[ALL])) for n in ("front", "batch")]
    found = edges(*readers, MAP, *with_services("ledger", "audit"))
    assert found == {
        (reader, callee): ("call", True)
        for reader in ("front", "batch")
        for callee in ("ledger", "audit")
    }


@pytest.mark.parametrize(("more", "is_whole"), [({}, True), ({"envs": ["a"]}, False)])
def test_an_overlay_lists_the_values_of_its_map(edges, more, is_whole):
    made = {"name": "calls", "literals": ["LEDGER=http://ledger:8080"], **more}
    overlay = {"resources": ["a.yaml"], "configMapGenerator": [made]}
    front = deployment("front", pod("front", env_from=[ALL]))
    found = edges(front, overlay, *with_services("ledger"))
    assert found == ({("front", "ledger"): ("call", False)} if is_whole else {})
    assert ("references" in edges.coverage) is not is_whole


def test_a_map_that_everybody_shares_says_nothing(edges):
    hosts = "\n".join(f"peer{n} = svc-{n}:8080" for n in range(110))
    volumes = [{"name": "c", "configMap": {"name": "all"}}]
    mounts = [{"name": "c", "mountPath": "/etc/all"}]
    names = [f"svc-{n}" for n in range(110)]
    readers = [deployment(n, pod(n, mounts=mounts, volumes=volumes)) for n in names]
    fleet = [*readers, *map(service, names)]
    assert edges(*fleet, thing("ConfigMap", "all", data={"a.conf": hosts})) == {}
    assert "too many share" in edges.coverage["references"]["hint"]
    few = thing("ConfigMap", "all", data={"a.conf": "a = svc-1:80\nb = svc-2:80\n"})
    assert set(edges(*fleet, few).values()) == {("call", True)}


def test_who_names_the_key_reads_it(edges):
    key = {"configMapKeyRef": {"name": "calls", "key": "LEDGER"}}
    by_key = deployment("front", pod("front", env=[{"name": "URL", "valueFrom": key}]))
    command = {"command": ["sh", "-c", "run --to $(LEDGER)"]}
    by_line = deployment("batch", pod("batch", env_from=[ALL], container=command))
    other = deployment("other", pod("other", env_from=[ALL]))
    found = edges(by_key, by_line, other, MAP, *with_services("ledger", "audit"))
    assert found["front", "ledger"] == ("call", False)
    assert found["batch", "ledger"] == ("call", False)
    assert found["other", "ledger"] == ("call", True)


def test_a_mounted_map_is_a_file_of_those_that_mount_it(edges):
    files = {"front.conf": "upstream = ledger:8080", "batch.conf": "db: store:5432\n"}
    volumes = [{"name": "c", "configMap": {"name": "files"}}]

    def mounting(name):
        mount = {"name": "c", "mountPath": "/etc/app.conf", "subPath": f"{name}.conf"}
        return deployment(name, pod(name, mounts=[mount], volumes=volumes))

    found = edges(
        mounting("front"),
        mounting("batch"),
        thing("ConfigMap", "files", data=files),
        deployment("store", pod("store", image="postgres:15")),
        service("store"),
        *with_services("ledger"),
    )
    assert found == {
        ("front", "ledger"): ("call", False),
        ("batch", "store"): ("data", False),
    }


@pytest.mark.parametrize("field", ["data", "stringData"])
def test_a_secret_of_the_material_gives_a_host_and_nothing_else(edges, field):
    value = f"postgres://app:{CANARY}@store:5432/app"
    if field == "data":
        value = base64.b64encode(value.encode()).decode()
    secret = thing("Secret", "db", **{field: {"DSN": value}})
    source = {"secretKeyRef": {"name": "db", "key": "DSN"}}
    front = deployment("front", pod("front", env=[{"name": "DSN", "valueFrom": source}]))
    found = edges(front, secret, *with_services("store"))
    assert found == {("front", "store"): ("data", False)}


def test_what_nobody_read_is_named(edges):
    refs = [
        ALL,
        {"secretRef": {"name": "keys"}},
        {"secretRef": {"name": "web-secret"}},
        {"secretRef": {"name": "x", "optional": True}},
    ]
    assert edges(deployment("front", pod("front", env_from=refs))) == {}
    row = edges.coverage["references"]
    assert (row["status"], row["unmapped_n"]) == ("partial", 3)
    assert row.get("ratio") is None  # nobody counted what was read
    assert "calls (ConfigMap), keys (Secret), web-secret (Secret)" in row["hint"]


def test_waits_before_the_start_are_a_start_order(edges):
    wait = "until nc -z ledger 8080; do sleep 1; done"
    init = [
        {"name": "a", "image": "busybox", "command": ["sh", "-c", wait]},
        {
            "name": "b",
            "image": "postgres",
            "command": ["sh", "-c", "pg_isready -h store"],
        },
    ]
    front = deployment("front", pod("front", initContainers=init))
    store = deployment("store", pod("store", image="postgres:15"))
    found = edges(front, store, service("store"), *with_services("ledger"))
    assert found == {
        ("front", "ledger"): ("start_order", False),
        ("front", "store"): ("data", False),
    }


def test_variables_within_values_are_put_in(edges):
    env = [
        {"name": "HOST", "value": "ledger"},
        {"name": "URL", "value": "http://$(HOST):8080/v1"},
    ]
    found = edges(deployment("front", pod("front", env=env)), *with_services("ledger"))
    assert found == {("front", "ledger"): ("call", False)}
    assert expanded("$A${B}$(C)$D", {"A": "1", "B": "2", "C": "3"}) == "123$D"
    assert len(expanded("$A" * 1000, {"A": "x" * 10_000})) < 30_000


def calling(host):
    env = [{"name": "URL", "value": f"http://{host}:8080"}]
    return deployment("front", pod("front", env=env))


@pytest.mark.parametrize(
    ("host", "more", "dst"),
    [
        (
            "ledger",
            [service("ledger", selects="", externalName="db.example.com")],
            "ext:db.example.com",
        ),
        (
            "ledger",
            [
                service("ledger", selects="", externalName="books.n.svc.cluster.local"),
                deployment("books", namespace="n"),
                service("books", namespace="n"),
            ],
            "books",
        ),
        (
            "ledger",
            [
                service("ledger", selects=""),
                thing(
                    "Endpoints", "ledger", subsets=[{"addresses": [{"ip": "10.1.2.3"}]}]
                ),
            ],
            "ext:10.1.2.3",
        ),
        (
            "pay.example.com",
            [
                thing(
                    "ServiceEntry",
                    "pay",
                    "networking.istio.io/v1",
                    spec={"hosts": ["pay.example.com"]},
                )
            ],
            "ext:pay.example.com",
        ),
        (
            "old-books",
            [
                *with_services("books"),
                thing(
                    "VirtualService",
                    "v",
                    "networking.istio.io/v1beta1",
                    spec={
                        "hosts": ["old-books"],
                        "http": [{"route": [{"destination": {"host": "books"}}]}],
                    },
                ),
            ],
            "books",
        ),
        (
            "ledger",
            [
                *with_services("books"),
                thing(
                    "ServiceProfile",
                    "ledger.shop.svc.cluster.local",
                    "linkerd.io/v1alpha2",
                    spec={"dstOverrides": [{"authority": "books:8080", "weight": "1"}]},
                ),
            ],
            "books",
        ),
        (  # a route to another version takes nothing from the Service itself
            "books",
            [
                *with_services("books", "books-v2"),
                thing(
                    "VirtualService",
                    "v",
                    "networking.istio.io/v1beta1",
                    spec={
                        "hosts": ["books"],
                        "http": [{"route": [{"destination": {"host": "books-v2"}}]}],
                    },
                ),
            ],
            "books",
        ),
        ("books.shop.svc.cluster.local", with_services("books"), "books"),
        (
            "books.n",
            [deployment("books", namespace="n"), service("books", namespace="n")],
            "books",
        ),
        ("books", [deployment("books")], "books"),  # half a tree: its Service is missing
    ],
)
def test_hosts_of_a_cluster(edges, host, more, dst):
    assert set(edges(calling(host), *more)) == {("front", dst)}


def ingress(name):
    backend = {"service": {"name": name, "port": {"number": 80}}}
    rule = {"http": {"paths": [{"path": "/", "backend": backend}]}}
    return thing("Ingress", "shop", "networking.k8s.io/v1", spec={"rules": [rule]})


def test_the_proxy_of_ingresses_calls_what_it_lets_in(edges):
    nginx = deployment(
        "nginx", pod("c", image="registry.k8s.io/ingress-nginx/controller:v1")
    )
    gateway = deployment("istio-ingressgateway", pod("c", image="istio/proxyv2:1.20"))
    fleet = [*with_services("front", "other"), ingress("front")]
    assert edges(*fleet, nginx) == {("nginx", "front"): ("call", False)}
    assert edges(*fleet, nginx, gateway) == {
        ("nginx", "front"): ("call", True),
        ("istio-ingressgateway", "front"): ("call", True),
    }
    assert edges(*fleet) == {}


def policy(**spec):
    body = {"podSelector": {"matchLabels": {"app": "front"}}, **spec}
    return thing("NetworkPolicy", "p", "networking.k8s.io/v1", spec=body)


PEER = {"podSelector": {"matchLabels": {"app": "ledger"}}}


def test_policies_allow_what_nobody_saw(edges):
    fleet = [*with_services("front", "ledger", "other")]
    assert edges(*fleet, policy(egress=[{"to": [PEER]}])) == {
        ("front", "ledger"): ("call", True)
    }
    assert edges(*fleet, policy(ingress=[{"from": [PEER]}])) == {
        ("ledger", "front"): ("call", True)
    }
    whole = [{"to": [{"podSelector": {}}, {"namespaceSelector": {}}]}]
    assert edges(*fleet, policy(egress=whole)) == {}


@pytest.mark.parametrize(
    ("host", "callees"),
    [
        ("./ledger.shop.svc.cluster.local", {"ledger"}),
        ("shop/ledger.shop.svc.cluster.local", {"ledger"}),
        ("*/ledger.shop.svc.cluster.local", {"ledger"}),
        ("./*", set()),
        ("~/*", set()),
    ],
)
def test_a_sidecar_of_istio_names_whom_its_service_may_call(edges, host, callees):
    spec = {
        "workloadSelector": {"labels": {"app": "front"}},
        "egress": [{"hosts": [host, "istio-system/*"]}],
    }
    sidecar = thing("Sidecar", "front", "networking.istio.io/v1", spec=spec)
    found = edges(*with_services("front", "ledger", "other"), sidecar)
    assert found == {("front", callee): ("call", True) for callee in callees}


RULES = [{"backendRefs": [{"name": "front", "port": 80}]}]
TO_FRONT = [{"route": [{"destination": {"host": "front"}}]}]


def gateway_route(of, **parent):
    spec = {"rules": RULES, "parentRefs": [parent]}
    return [service("front"), thing(of, "r", "gateway.networking.k8s.io/v1", spec=spec)]


def virtual(*gateways):
    spec = {"hosts": ["shop.example.com"], "gateways": [*gateways], "http": TO_FRONT}
    return [
        service("front"),
        thing("VirtualService", "v", "networking.istio.io/v1", spec=spec),
    ]


def openshift():
    route = thing("Route", "r", "route.openshift.io/v1", spec={"to": {"name": "front"}})
    return [service("front"), route]


@pytest.mark.parametrize(
    ("objects", "is_public"),
    [
        ([service("front", type="NodePort")], True),
        ([service("front", type="LoadBalancer")], True),
        ([service("front", externalIPs=["192.0.2.1"])], True),
        ([service("front")], None),
        (openshift(), True),
        (gateway_route("HTTPRoute", name="gw"), True),
        (gateway_route("GRPCRoute", kind="Service", name="front"), None),
        (virtual("gw"), True),
        (virtual("mesh"), None),
    ],
)
def test_what_the_outside_reaches(tmp_path, objects, is_public):
    text = yaml.safe_dump_all([deployment("front"), *objects])
    (tmp_path / "all.yaml").write_text(text)
    batch = collect(tmp_path, path="all.yaml")
    (row,) = (r for r in batch.rows["services"] if r["names"][0].name == "front")
    assert row["public"] is is_public


def test_a_secret_in_a_map_is_one_in_plain_configuration(tmp_path):
    plain = thing("ConfigMap", "calls", data={"DB_PASSWORD": CANARY, "LEVEL": "info"})
    coded = thing("Secret", "keys", stringData={"API_TOKEN": CANARY})
    hidden = {"secretRef": {"name": "keys"}}
    objects = [
        deployment("front", pod("front", env_from=[ALL, hidden])),
        deployment("batch", pod("batch", env_from=[hidden])),
    ]
    (tmp_path / "all.yaml").write_text(yaml.safe_dump_all([plain, coded, *objects]))
    batch = collect(tmp_path, path="all.yaml")
    counts = {w["name"]: w["secret_like_env_n"] for w in batch.rows["workloads"]}
    found = {r["names"][0].name: r["secrets_in_image"] for r in batch.rows["services"]}
    assert (counts, found) == (
        {"front": 1, "batch": 0},
        {"front": True, "batch": False},
    )
    assert CANARY not in repr(batch)


SOURCE = {"configMapKeyRef": {"name": "calls", "key": "LEDGER"}}
WHOLE = [
    MAP,
    thing("Secret", "keys", data={"DSN": "cG9zdGdyZXM6Ly9zdG9yZTo1NDMyL2E="}),
    deployment(
        "front",
        pod(
            "front",
            env=[
                {"name": "URL", "valueFrom": SOURCE},
                {"name": "B", "value": "a $(URL)"},
            ],
            env_from=[ALL, {"secretRef": {"name": "keys"}}],
            mounts=[{"name": "c", "mountPath": "/c", "subPath": "a"}],
            volumes=[
                {"name": "c", "configMap": {"name": "calls", "items": [{"key": "a"}]}}
            ],
        ),
    ),
    service("front", externalName="a.example.com"),
    thing("Endpoints", "front", subsets=[{"addresses": [{"ip": "10.1.2.3"}]}]),
    policy(egress=[{"to": [PEER]}], ingress=[{"from": [PEER]}]),
    *gateway_route("HTTPRoute", name="gw"),
    *virtual("gw"),
    *openshift(),
    *with_services("ledger"),
]


@whatever_comes
def test_nothing_of_it_breaks_when_it_is_spoiled(seeds):
    fit([changed(seed) for seed in seeds])


def changed(seed):
    found = {}
    source = KubernetesSource()
    for n, document in enumerate(WHOLE):
        for kind, listed in source.sort(mutated(document, seed + n)):
            found.setdefault(kind, []).extend(i for i in listed if isinstance(i, dict))
    return source.to_batch(found, "c")


@pytest.mark.parametrize(
    ("space", "host", "callee"),
    [
        ("a", "db", "a"),  # the own namespace comes first
        ("b", "db", "b"),
        ("b", "db.a", "a"),
        ("c", "db.b.svc.cluster.local", "b"),
        ("c", "db", None),  # nobody can say which
    ],
)
def test_a_sibling_name_in_two_namespaces(tmp_path, space, host, callee):
    env = [{"name": "DB_URL", "value": f"postgres://{host}:5432/shop"}]
    objects = [
        *with_services("db", namespace="a"),
        *with_services("db", namespace="b"),
        deployment("web", pod("web", env=env), namespace=space),
    ]
    (tmp_path / "all.yaml").write_text(yaml.safe_dump_all(objects))
    batch = collect(tmp_path, path="all.yaml")
    known = {n for row in batch.rows["services"] for n in row["names"]}
    found = [row["dst"].namespace for row in batch.rows["dependencies"]]
    is_known = [row["dst"] in known for row in batch.rows["dependencies"]]
    if callee is None:
        assert not any(is_known)
    else:
        assert found == [callee]
        assert all(is_known)
