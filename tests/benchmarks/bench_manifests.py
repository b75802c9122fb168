# ruff: noqa: T201
"""Reading a tree of Kubernetes manifests that nothing runs.

    python tests/benchmarks/bench_manifests.py [MANIFESTS]

Prints the seconds for a tree with a Deployment, a Service and a ConfigMap in every third file.
Promised: 5,000 manifests in at most 20 s on two cores.
"""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

from assess.sources.deadline import Deadline  # noqa: E402
from assess.sources.kubernetes import KubernetesSource  # noqa: E402

PROMISED_S = 20
WORKLOAD = """apiVersion: apps/v1
kind: Deployment
metadata: {{name: svc-{n}, namespace: team-{team}, labels: {{app: svc-{n}}}}}
spec:
  replicas: 3
  selector: {{matchLabels: {{app: svc-{n}}}}}
  template:
    metadata: {{labels: {{app: svc-{n}}}}}
    spec:
      initContainers:
      - name: wait
        image: busybox:1.36
        command: [sh, -c, "until nc -z svc-{below} 8080; do sleep 1; done"]
      containers:
      - name: main
        image: registry.example.com/team/svc-{n}:1.{n}.0
        env:
        - {{name: PEER_URL, value: "http://svc-{below}.team-{team}.svc:8080"}}
        - {{name: LEVEL, value: info}}
        envFrom: [{{configMapRef: {{name: conf-{n}}}}}]
        ports: [{{containerPort: 8080}}]
        readinessProbe: {{httpGet: {{path: /healthz, port: 8080}}}}
        resources: {{requests: {{cpu: 100m, memory: 64Mi}}, limits: {{memory: 128Mi}}}}
        volumeMounts: [{{name: data, mountPath: /data}}]
      volumes: [{{name: data, persistentVolumeClaim: {{claimName: data-{n}}}}}]
"""
SERVICE = """apiVersion: v1
kind: Service
metadata: {{name: svc-{n}, namespace: team-{team}}}
spec: {{selector: {{app: svc-{n}}}, ports: [{{port: 8080}}]}}
"""
CONFIG = """apiVersion: v1
kind: ConfigMap
metadata: {{name: conf-{n}, namespace: team-{team}}}
data: {{CACHE: "redis://svc-{below}:6379", app.conf: "upstream svc-{below}:8080\\nworkers 4\\n"}}
"""


def write(base: Path, manifests: int) -> None:
    for k in range(manifests):
        n = k // 3
        team = n // 50
        below = max(team * 50, n - 1)
        template = (WORKLOAD, SERVICE, CONFIG)[k % 3]
        folder = base / f"team-{team}"
        folder.mkdir(exist_ok=True)
        text = template.format(n=n, team=team, below=below)
        (folder / f"{k:06}.yaml").write_text(text)


def main() -> None:
    manifests = int(sys.argv[1]) if len(sys.argv) > 1 else 5000
    with tempfile.TemporaryDirectory() as name:
        write(Path(name), manifests)
        start = time.perf_counter()
        options = {"path": ".", "cluster": "prod"}
        batch = KubernetesSource().collect(options, Path(name), Deadline(600))
        seconds = time.perf_counter() - start
    rows = {frame: len(rows) for frame, rows in batch.rows.items() if rows}
    print(f"{manifests:,} manifests in {seconds:.1f} s, promised {PROMISED_S} s: {rows}")
    if manifests <= 5000 and seconds > PROMISED_S:
        sys.exit("too slow")


if __name__ == "__main__":
    main()
