"""Manifests without a running cluster: trees of YAML, templates, and all containers of a pod."""

import json
import textwrap
from pathlib import Path

import pandas as pd
import pytest
import yaml
from test_kubernetes import SHOP, collect, coverage, services, table
from wild import fit, mutated, whatever_comes

from assess.sources.deadline import Deadline
from assess.sources.kubernetes import KubernetesSource
from assess.sources.kubernetes.nodes import system_of
from assess.sources.kubernetes.rows import to_batch

RBAC = """
apiVersion: rbac.authorization.k8s.io/v1beta1
kind: ClusterRole
metadata: {name: reader}
rules:
- {apiGroups: [""], resources: [pods], verbs: [list]}
---
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: things.example.com}
spec: {group: example.com}
"""
CART = """
apiVersion: apps/v1
kind: Deployment
metadata: {name: cart, labels: {app: cart}}
spec:
  replicas: 3
  selector: {matchLabels: {app: cart}}
  template:
    metadata: {labels: {app: cart}}
    spec:
      initContainers:
      - name: wait
        image: busybox
        command: [sh, -c, "until nc -z store 5432; do sleep 1; done"]
      - name: mesh
        image: example.com/proxy:latest
        restartPolicy: Always
        securityContext: {privileged: true}
      containers:
      - name: logs
        image: fluent/fluent-bit:2.1
      - name: cart
        image: example.com/cart:1.4.2
        ports: [{containerPort: 8080}]
        readinessProbe: {httpGet: {path: /, port: 8080}}
        resources:
          requests: {cpu: 250m, memory: 64Mi}
          limits: {memory: 128Mi}
        volumeMounts: [{name: shared, mountPath: /shared}]
      volumes: [{name: shared, persistentVolumeClaim: {claimName: files}}]
---
apiVersion: v1
kind: Service
metadata: {name: cart}
spec: {type: NodePort, selector: {app: cart}, ports: [{port: 80}]}
---
apiVersion: policy/v1beta1
kind: PodDisruptionBudget
metadata: {name: cart}
spec: {minAvailable: 2, selector: {matchLabels: {app: cart}}}
"""
STORE = """
apiVersion: v1
kind: List
items:
- apiVersion: apps/v1
  kind: StatefulSet
  metadata: {name: store}
  spec:
    replicas: 2
    template:
      metadata: {labels: {app: store}}
      spec:
        containers:
        - name: store
          image: postgres:15.4
          volumeMounts: [{name: data, mountPath: /var/lib/postgresql/data}]
    volumeClaimTemplates:
    - metadata: {name: data}
      spec: {storageClassName: fast, resources: {requests: {storage: 5Gi}}}
- apiVersion: batch/v1
  kind: CronJob
  metadata: {name: nightly}
  spec:
    schedule: "0 1 * * *"
    jobTemplate:
      spec:
        parallelism: 2
        template:
          spec:
            restartPolicy: OnFailure
            containers: [{name: run, image: "example.com/nightly:3"}]
- apiVersion: v1
  kind: Pod
  metadata: {name: alone}
  spec: {containers: [{name: a, image: "example.com/alone:1"}]}
- apiVersion: extensions/v1beta1
  kind: DaemonSet
  metadata: {name: agent}
  spec: {template: {spec: {hostPID: true, containers: [{name: a, image: "example.com/agent:1"}]}}}
- apiVersion: argoproj.io/v1alpha1
  kind: Rollout
  metadata: {name: canary}
  spec: {replicas: 4, template: {spec: {containers: [{name: c, image: "example.com/canary:2"}]}}}
- apiVersion: apps.openshift.io/v1
  kind: DeploymentConfig
  metadata: {name: old}
  spec: {replicas: 0, template: {spec: {containers: [{name: c, image: "example.com/old:2"}]}}}
"""


def write(base: Path, **files: str) -> Path:
    for name, content in files.items():
        path = base / name.replace("__", "/")
        path = path.with_name(path.name + ".yaml")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(content))
    return base


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    """A tree that begins with roles and custom kinds, as many do."""
    base = tmp_path_factory.mktemp("tree")
    write(base, a__rbac=RBAC, b__cart=CART, c__store=STORE)
    return collect(base, path=".", cluster="prod")


def rows_of(batch, service):
    return [w for w in batch.rows["workloads"] if w["names"][-1].name == service]


def test_a_tree_that_begins_with_roles_is_read(tree):
    found = coverage(tree)
    assert {row["status"] for row in tree.coverage if row["call"] == "read"} == {"ok"}
    assert found["nodes"]["status"] == "not_configured"
    for frame in ("workloads", "mounts", "services", "objects"):
        assert len(table(tree, frame))


@pytest.mark.parametrize(
    ("service", "kind", "replicas", "state"),
    [
        ("cart", "deployment", 3, "declared"),
        ("store", "statefulset", 2, "declared"),
        ("nightly", "cronjob", 2, "declared"),
        ("alone", "pod", 1, "declared"),
        ("agent", "daemonset", 1, "declared"),
        ("canary", "rollout", 4, "declared"),
        ("old", "deploymentconfig", 1, "stopped"),  # of none it still says what it is
    ],
)
def test_controllers_declare_their_replicas(tree, service, kind, replicas, state):
    rows = [r for r in rows_of(tree, service) if r["container_role"] == "main"]
    assert len(rows) == replicas == len({r["workload_id"] for r in rows})
    assert {(r["source_kind"], r["state"], r["inspect_status"]) for r in rows} == {
        (kind, state, "declared")
    }
    assert all(r.get("host_id") is None for r in rows)


def test_other_kinds_have_lists_of_other_forms(tmp_path):
    policy = """
    apiVersion: policy/v1beta1
    kind: PodSecurityPolicy
    metadata: {name: strict}
    spec: {volumes: [configMap, secret]}
    ---
    apiVersion: security.istio.io/v1
    kind: AuthorizationPolicy
    metadata: {name: a}
    spec: {rules: [{to: [{operation: {paths: [/info], ports: ["80"]}}]}]}
    """
    batch = collect(write(tmp_path, a=policy, b=CART), path=".")
    assert not any(row.get("unmapped_n") for row in batch.coverage)
    kinds = {row["kind"]: row["api_version"] for row in batch.rows["objects"]}
    assert kinds["PodSecurityPolicy"] == "policy/v1beta1"


def test_entries_that_cannot_be_read_are_counted(tmp_path):
    pods = [{"kind": "Pod", "metadata": {"name": "a"}, "spec": {"containers": ["x"]}}]
    whole = {"kind": "List", "apiVersion": "v1", "metadata": {}, "items": pods}
    (tmp_path / "all.json").write_text(json.dumps(whole))
    batch = collect(tmp_path, path="all.json")
    (row,) = (r for r in batch.coverage if r["call"] == "read")
    assert row["unmapped_n"] == 1 and "containers[0]" in row["hint"]


CUSTOM = """
apiVersion: {version}
kind: {kind}
metadata: {{name: till}}
spec:
  replicas: 2
  selector: {{matchLabels: {{app: till}}}}
  template:
    metadata: {{labels: {{app: till}}}}
    spec: {{containers: [{{name: till, image: "example.com/till:1"}}]}}
"""


def test_a_kind_of_openkruise_is_a_controller(tmp_path):
    text = CUSTOM.format(version="apps.kruise.io/v1alpha1", kind="CloneSet")
    (tmp_path / "a.yaml").write_text(text)
    batch = KubernetesSource().collect({"path": "a.yaml"}, tmp_path, Deadline(10))
    kinds = [row["source_kind"] for row in batch.rows["workloads"]]
    assert kinds == ["cloneset", "cloneset"]


def test_an_unknown_kind_that_makes_pods_is_counted_as_unread(tmp_path):
    text = CUSTOM.format(version="example.com/v1", kind="Widget")
    (tmp_path / "a.yaml").write_text(text + "---" + CART)
    batch = KubernetesSource().collect({"path": "a.yaml"}, tmp_path, Deadline(10))
    (row,) = (row for row in batch.coverage if row["call"] == "read")
    assert row["unmapped_n"] == 1
    assert len(batch.rows["services"]) == 1


def test_files_of_tools_are_no_objects(tmp_path):
    tool = """
    apiVersion: {}
    kind: Component
    metadata: {{name: cart}}
    spec: {{type: service}}
    """
    files = {
        f"a{n}": tool.format(v) for n, v in enumerate(("backstage.io/v1", "skaffold/v3"))
    }
    batch = collect(write(tmp_path, **files, cart=CART), path=".")
    assert {row["kind"] for row in batch.rows["objects"]} == {
        "Deployment",
        "PodDisruptionBudget",
    }
    assert {row["status"] for row in batch.coverage if row["call"] == "read"} == {"ok"}


def test_an_engine_knows_each_container_of_a_pod():
    batch = collect(path="shop.json")
    ids = batch.container_ids["shop/shop/web-6d5f7c9b8f-x7k2p/istio-proxy"]
    assert ids == ("9" * 64,)


def test_every_container_of_a_pod_is_a_row(tree):
    rows = [r for r in rows_of(tree, "cart") if "/1" in r["workload_id"]]
    roles = {r["repository"]: (r["container_role"], r["privileged"]) for r in rows}
    assert roles == {
        "cart": ("main", True),  # it stands for its pod, of which one container is
        "fluent/fluent-bit": ("sidecar", False),
        "proxy": ("sidecar", True),
        "library/busybox": ("init", False),
    }
    (main,) = (r for r in rows if r["container_role"] == "main")
    assert (main["cpu_request"], main["memory_request_bytes"]) == (0.25, 64 * 2**20)
    assert (main["cpu_limit"], main["memory_limit_bytes"]) == (None, 128 * 2**20)
    assert (main["restart_policy"], main["stop_timeout_s"]) == ("always", 30)
    assert (main["ports"], main["api_version"]) == ("8080/tcp", "apps/v1/Deployment")


def test_services_of_manifests(tree):
    found = services(tree)
    cart = found["cart"]
    assert (cart["min_healthy_pct"], cart["public"], cart["health_checked"]) == (
        pytest.approx(66.66),
        True,
        True,
    )
    assert cart["logs_exported"] is True  # by the shipper beside it
    assert (found["agent"]["logs_exported"], found["nightly"]["kind"]) == (None, "job")
    assert found["store"]["stateful"] is True


def test_what_a_tree_leaves_out_is_unknown(tree):
    assert {services(tree)[name]["public"] for name in ("agent", "alone")} == {None}


def test_an_autoscaler_keeps_its_least(tmp_path):
    scaler = """
    apiVersion: autoscaling/v2
    kind: HorizontalPodAutoscaler
    metadata: {name: cart}
    spec: {scaleTargetRef: {kind: Deployment, name: cart}, minReplicas: 5, maxReplicas: 9}
    """
    batch = collect(write(tmp_path, a=CART, b=scaler), path=".")
    rows = [r for r in rows_of(batch, "cart") if r["container_role"] == "main"]
    assert len(rows) == 5
    (row,) = (r for r in batch.rows["objects"] if r["kind"].startswith("Horizontal"))
    assert row["names"][0].name == "cart"


def test_a_declared_shipper_of_all_nodes_exports_logs(tmp_path):
    shipper = """
    apiVersion: apps/v1
    kind: DaemonSet
    metadata: {name: logs}
    spec:
      template:
        spec:
          nodeSelector: {kubernetes.io/os: linux}
          containers: [{name: c, image: fluent/fluent-bit}]
    """
    for name, selector, exported in (("a", "os: linux", True), ("b", "gpu: yes", None)):
        text = shipper.replace("os: linux", selector)
        base = write(tmp_path / name, cart=STORE, logs=text)
        found = services(collect(base, path="."))
        assert found["store"]["logs_exported"] is exported


MANIFESTS = [d for part in (RBAC, CART, STORE) for d in yaml.safe_load_all(part) if d]


@whatever_comes
def test_no_manifest_breaks_it(seeds):
    fit([changed(seed) for seed in seeds])


def changed(seed):
    found = {}
    source = KubernetesSource()
    for n, document in enumerate(MANIFESTS):
        for kind, listed in source.sort(mutated(document, seed + n)):
            found.setdefault(kind, []).extend(i for i in listed if isinstance(i, dict))
    return source.to_batch(found, "c")


def test_claims_are_shared_by_pods_and_made_for_each_replica(tree):
    mounts = {m["workload_id"]: m for m in tree.rows["mounts"]}
    assert {m["shared_with_n"] for k, m in mounts.items() if "/cart/" in k} == {2}
    (store,) = {
        (m["volume_name"], m["driver"], m["size_bytes"], m.get("shared_with_n"))
        for key, m in mounts.items()
        if "/store/" in key
    }
    assert store == ("data", "fast", 5 * 2**30, 0)


def test_objects_keep_the_version_in_which_they_were_applied(tree):
    found = table(tree, "objects").set_index(["kind", "name"])["api_version"].to_dict()
    assert found["PodDisruptionBudget", "cart"] == "policy/v1beta1"
    assert found["ClusterRole", "reader"] == "rbac.authorization.k8s.io/v1beta1"
    assert found["DaemonSet", "agent"] == "extensions/v1beta1"
    budgets = [r for r in tree.rows["objects"] if r["kind"] == "PodDisruptionBudget"]
    assert [r["names"][0].name for r in budgets] == ["cart"]


def test_the_version_last_applied_beats_the_one_served():
    note = '{"apiVersion":"extensions/v1beta1","kind":"Deployment","token":"hunter2"}'
    meta = {
        "name": "old",
        "namespace": "n",
        "annotations": {"kubectl.kubernetes.io/last-applied-configuration": note},
    }
    pod = {"containers": [{"name": "c", "image": "a:1"}]}
    item = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": meta,
        "spec": {"template": {"spec": pod}},
    }
    batch = to_batch({"deployments": [item]}, "c")
    (workload,) = batch.rows["workloads"]
    (row,) = batch.rows["objects"]
    assert workload["api_version"] == "extensions/v1beta1/Deployment"
    assert (row["api_version"], row["last_applied_api_version"]) == (
        "apps/v1",
        "extensions/v1beta1",
    )


@pytest.mark.parametrize(
    ("manager", "expected"),
    [
        ("helm", "networking.k8s.io/v1beta1"),
        ("kubectl-client-side-apply", "networking.k8s.io/v1beta1"),
        ("nginx-ingress-controller", None),  # writes in the version that it knows
    ],
)
def test_who_applied_an_object_is_recorded_by_the_cluster(manager, expected):
    written = {"manager": manager, "apiVersion": "networking.k8s.io/v1beta1"}
    status = {"manager": "helm", "apiVersion": "networking.k8s.io/v1"}
    fields = [written | {"time": "2024"}, status | {"subresource": "status"}]
    meta = {"name": "web", "namespace": "n", "managedFields": fields}
    item = {"apiVersion": "networking.k8s.io/v1", "kind": "Ingress", "metadata": meta}
    (row,) = to_batch({"ingresses": [item]}, "c").rows["objects"]
    assert row["last_applied_api_version"] == expected


def test_a_pod_shows_what_it_sets_and_asks_of_its_cluster():
    early = "seccomp.security.alpha.kubernetes.io/pod"
    meta = {"name": "p", "namespace": "n", "annotations": {early: "x", "a.io/b": "y"}}
    spec = {
        "nodeName": "n1",
        "nodeSelector": {"node-role.kubernetes.io/master": "", "disk": "ssd"},
        "tolerations": [
            {"key": "node-role.kubernetes.io/master"},
            {"operator": "Exists"},
        ],
        "containers": [{"name": "c", "command": ["kube-scheduler", "--port=0"]}],
    }
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": meta, "spec": spec}
    (row,) = to_batch({"pods": [pod]}, "c").rows["workloads"]
    assert row["settings"].split(";") == [
        "program=kube-scheduler",
        "port=0",  # only another port is one that ends
        f"annotation.{early}",
        "node-label.node-role.kubernetes.io/master",
        "toleration.node-role.kubernetes.io/master",
    ]


def test_pods_win_over_what_declares_them(tmp_path):
    (tmp_path / "dump.json").write_text(json.dumps(SHOP))
    bare = CART.replace("cart", "web")
    batch = collect(write(tmp_path, manifests=bare), path=".", cluster="shop")
    rows = [r for r in batch.rows["workloads"] if r["names"][-1].name == "web"]
    assert {r["state"] for r in rows} == {"running"}


def test_a_broken_document_costs_itself_only(tmp_path):
    broken = CART + "---\napiVersion: v1\nkind: [\n---\n" + STORE
    batch = collect(write(tmp_path, all=broken), path="all.yaml")
    (row,) = (r for r in batch.coverage if r["call"] == "read")
    assert row["status"] == "partial" and "no YAML near line" in row["hint"]
    assert {"cart", "store"} <= services(batch).keys()


CHART = """
apiVersion: v2
name: cart
version: 1.0.0
"""
TEMPLATE = """
apiVersion: apps/v1
kind: Deployment
metadata:
  name: {{ include "cart.fullname" . }}
spec:
  {{- with .Values.replicas }}
  replicas: {{ . }}
  {{- end }}
"""
QUOTED = """
apiVersion: v1
kind: Service
metadata: {name: "{{ .Release.Name }}-cart"}
spec: {selector: {app: "{{ .Release.Name }}"}}
"""
OVERLAY = """
resources: [../../base]
images: [{name: example.com/cart, newTag: 1.5.0}]
"""
PATCH = """
apiVersion: apps/v1
kind: Deployment
metadata: {name: cart}
spec: {replicas: 9, template: {spec: {containers: [{name: cart}]}}}
"""


def test_what_is_rendered_first_names_its_command(tmp_path):
    write(
        tmp_path,
        chart__Chart=CHART,
        chart__values="image: example.com/cart",
        chart__templates__deployment=TEMPLATE,
        chart__templates__service=QUOTED,
        base__cart=CART,
        overlays__prod__kustomization=OVERLAY,
        overlays__prod__a=PATCH,
        release="""
        apiVersion: helm.toolkit.fluxcd.io/v2
        kind: HelmRelease
        metadata: {name: search}
        """,
    )
    batch = collect(tmp_path, path=".", cluster="c")
    hints = {r["scope"]: r for r in batch.coverage if r["call"] == "read"}
    chart = "helm template chart"
    assert chart in hints["chart/Chart.yaml"]["hint"]
    assert chart in hints["chart/templates/deployment.yaml"]["hint"]
    assert hints["chart/templates/deployment.yaml"]["status"] == "parse_error"
    assert chart in hints["chart/templates/service.yaml"]["hint"]
    overlay = hints["overlays/prod/kustomization.yaml"]
    assert "kubectl kustomize overlays/prod" in overlay["hint"]
    assert overlay["status"] == "unsupported"
    assert "hint" not in hints["chart/values.yaml"]
    assert coverage(batch)["charts"]["status"] == "unsupported"
    # A patch beside its base changes nothing before it is rendered.
    rows = [r for r in rows_of(batch, "cart") if r["container_role"] == "main"]
    assert len(rows) == 3 and {r["tag"] for r in rows} == {"1.4.2"}


def test_the_tests_of_a_chart_are_not_part_of_it_and_its_other_hooks_are(tmp_path):
    def pod(name, hook):
        note = f"annotations: {{helm.sh/hook: {hook}}}"
        kind = f"kind: Pod\nmetadata: {{name: {name}, {note}}}"
        return f"{kind}\nspec: {{containers: [{{name: a, image: b}}]}}\n"

    hooks = {"tries": "test", "older": "test-success", "sets-up": "pre-install"}
    text = "---\n".join(pod(name, hook) for name, hook in hooks.items())
    batch = collect(write(tmp_path, chart=text), path="chart.yaml")
    assert [row["name"] for row in batch.rows["workloads"]] == ["sets-up"]


def test_a_patch_alone_is_no_workload_and_is_named(tmp_path):
    overlay = "namespace: prod\nresources: [../../base]\npatches: [{path: patch.yaml}]"
    files = write(tmp_path, prod__kustomization=overlay, prod__patch=PATCH)
    batch = collect(files, path="prod")
    assert not batch.rows.get("workloads")
    row = coverage(batch)["charts"]
    assert (row["status"], row["rows"]) == ("unsupported", 1)
    assert row["hint"].endswith("render them: cart")


def test_a_template_of_openshift_is_named_and_not_read(tmp_path):
    text = (
        "{kind: Template, apiVersion: template.openshift.io/v1, metadata: {name: till}}"
    )
    batch = collect(write(tmp_path, cart=CART, till=text), path=".")
    row = coverage(batch)["charts"]
    assert (row["status"], row["rows"]) == ("unsupported", 1)
    assert row["hint"].endswith("render them: till")


def test_a_daemon_beside_which_only_its_monitor_runs_is_the_main_one(tmp_path):
    text = "{kind: Pod, apiVersion: v1, metadata: {name: fluentd-gcp-v3}, spec: {containers: "
    text += (
        "[{name: fluentd-gcp, image: a}, {name: prometheus-to-sd-exporter, image: b}]}}"
    )
    batch = collect(write(tmp_path, pod=text), path="pod.yaml")
    roles = {row["image_ref"]: row["container_role"] for row in batch.rows["workloads"]}
    assert roles == {"a": "main", "b": "sidecar"}


def test_a_placeholder_is_no_image(tmp_path):
    text = CART.replace("example.com/cart:1.4.2", "${REGISTRY}/cart:${TAG}")
    batch = collect(write(tmp_path, cart=text), path="cart.yaml")
    (main,) = {
        r["image_ref"] for r in rows_of(batch, "cart") if r["container_role"] == "main"
    }
    assert main is None


def test_no_number_of_replicas_is_too_large(tmp_path):
    text = CART.replace("replicas: 3", "replicas: 2000000000")
    batch = collect(write(tmp_path, cart=text), path="cart.yaml")
    assert len(batch.rows["workloads"]) == 4000


@pytest.mark.parametrize(
    ("image", "system"),
    [
        (
            "Red Hat Enterprise Linux CoreOS 413.92.202310210500-0 (Plow)",
            ("rhcos", "4.13"),
        ),
        ("Red Hat Enterprise Linux CoreOS 9.6.20250826-1 (Plow)", ("rhcos", "4.19")),
        ("Bottlerocket OS 1.19.2 (aws-k8s-1.28)", ("bottlerocket", "1.19")),
        ("Talos (v1.6.4)", ("talos", "1.6")),
        ("Flatcar Container Linux by Kinvolk 3760.2.0 (Oklo)", ("flatcar", "3760")),
        ("Container-Optimized OS from Google", ("cos", None)),
        ("Windows Server 2019 Datacenter", ("windows-server", "2019")),
        ("Amazon Linux 2", ("amazon-linux", "2")),
        ("Ubuntu 22.04.3 LTS", ("ubuntu", "22.04")),
    ],
)
def test_systems_of_nodes(image, system):
    assert system_of(image, "v1.32.5") == system


def node(
    runtime="containerd://2.0.1", version="v1.29.4", labels=None, image="", notes=None
):
    info = {
        "containerRuntimeVersion": runtime,
        "kubeletVersion": version,
        "osImage": image,
        "operatingSystem": "linux",
        "kernelVersion": "5.14.0-284.el9",
    }
    meta = {"name": "n1", "labels": labels or {}, "annotations": notes or {}}
    return {"metadata": meta, "status": {"nodeInfo": info}}


@pytest.mark.parametrize(
    ("given", "flags"),
    [
        (["server", "--no-deploy", "traefik"], "no-deploy"),
        (["server", "--flannel-backend", "ipsec"], "flannel-backend=ipsec"),
        # what goes to a part of the cluster is a setting of that part
        (
            ["server", "--kubelet-arg", "feature-gates=A=true,B=false"],
            "feature-gates.A=true;feature-gates.B=false",
        ),
        (["agent", "--kube-proxy-arg=proxy-mode=ipvs"], "proxy-mode=ipvs"),
        (["server", "--token", "hunter2", "--kubelet-arg", "x=hunter2"], "token;x"),
        (["server"], None),
        (7, None),
        ("[", None),
    ],
)
@pytest.mark.parametrize("product", ["k3s", "rke2"])
def test_what_k3s_is_given_is_a_setting_of_its_node(given, flags, product):
    note = given if given == "[" else json.dumps(given, separators=(",", ":"))
    seen = node(notes={f"{product}.io/node-args": note})
    batch = to_batch({"nodes": [seen]}, "edge")
    (row,) = batch.rows["engines"]
    assert row["kubelet_flags"] == flags


@pytest.mark.parametrize(
    ("given", "host"),
    [
        ({"version": "v1.29.4-eks-036c24b"}, (None, "eks 1.29.4-eks-036c24b")),
        ({"version": "v1.29.4-gke.1043002"}, (None, "gke 1.29.4-gke.1043002")),
        ({"labels": {"kubernetes.azure.com/cluster": "a"}}, (None, "aks 1.29.4")),
        (
            {"labels": {"eks.amazonaws.com/compute-type": "fargate"}},
            ("provider", "eks 1.29.4"),
        ),
        (
            {"image": "Red Hat Enterprise Linux CoreOS 415.92.202402201450-0 (Plow)"},
            (None, "openshift 4.15"),
        ),
        ({"notes": {"rke.cattle.io/internal-ip": "10.0.0.7"}}, (None, "rke 1.29.4")),
        ({"labels": {"minikube.k8s.io/name": "m"}}, (None, "minikube 1.29.4")),
        ({}, (None, None)),
    ],
)
def test_the_provider_of_a_node_is_named_where_it_is_certain(given, host):
    batch = to_batch({"nodes": [node(**given)]}, "c")
    (row,) = batch.rows["hosts"]
    assert (row["managed_by"], row["provider_version"]) == host
    assert (row["os_family"], row["kernel"]) == ("linux", "5.14.0-284.el9")


@pytest.mark.parametrize(
    ("runtime", "engine"),
    [
        ("containerd://2.0.1", ("containerd", "2.0.1")),
        ("cri-o://1.29.1", ("cri-o", "1.29.1")),
        ("docker://20.10.24", ("docker", "20.10.24")),
        ("wasmedge://0.1", ("other", "wasmedge 0.1")),
    ],
)
def test_the_runtime_of_a_node(runtime, engine):
    batch = to_batch({"nodes": [node(runtime)]}, "c")
    (row,) = batch.rows["engines"]
    assert (row["runtime"], row["version"], row["kubelet_version"]) == (*engine, "1.29.4")
    assert pd.notna(row["host_id"])


def shared_label(*, of: dict[str, str], fronts: dict[str, dict[str, str]]) -> str:
    """Return Deployments with one label for all, and the Services before them."""
    parts = []
    for name, image in of.items():
        labels = {"app": "tea", "run": name}
        parts.append(
            {
                "apiVersion": "apps/v1",
                "kind": "Deployment",
                "metadata": {"name": name},
                "spec": {
                    "template": {
                        "metadata": {"labels": labels},
                        "spec": {"containers": [{"name": "x", "image": image}]},
                    }
                },
            }
        )
    for name, selector in fronts.items():
        meta = {"name": name}
        spec = {"selector": selector, "ports": [{"port": 80}]}
        front = {"apiVersion": "v1", "kind": "Service", "metadata": meta, "spec": spec}
        parts.append(front)
    return yaml.safe_dump_all(parts)


@pytest.mark.parametrize(
    ("of", "fronts", "expected"),
    [
        (  # one label for a whole system
            {"tea-web": "acme/web:1", "tea-db": "acme/db:1"},
            {"tea-web": {"run": "tea-web"}, "tea-db": {"run": "tea-db"}},
            {"tea-web", "tea-db"},
        ),
        ({"tea-web": "acme/web:1", "tea-job": "acme/job:1"}, {}, {"tea-web", "tea-job"}),
        (  # versions of one service, behind one Service
            {"tea-v1": "acme/tea-v1:1", "tea-v2": "acme/tea-v2:1"},
            {"tea": {"app": "tea"}},
            {"tea"},
        ),
        ({"tea": "acme/tea:1", "tea-canary": "acme/tea:2"}, {}, {"tea"}),
    ],
)
def test_a_label_names_a_service_only_where_it_is_one(tmp_path, of, fronts, expected):
    write(tmp_path, a=shared_label(of=of, fronts=fronts))
    assert services(collect(tmp_path, path=".", cluster="prod")).keys() == expected


def test_a_list_of_the_served_versions_is_kept_as_objects():
    names = ["v1beta1.policy", "v1.policy", "v1.apps"]
    items = [{"metadata": {"name": name}} for name in names]
    document = {"kind": "APIServiceList", "apiVersion": "apiregistration.k8s.io/v1"}
    lists = dict(KubernetesSource().sort(document | {"items": items}))
    rows = to_batch(lists, "c").rows["objects"]
    assert [row["name"] for row in rows] == names
    assert {row["kind"] for row in rows} == {"APIService"}
