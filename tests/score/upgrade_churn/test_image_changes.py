"""Images of services between two snapshots, worked by hand."""

import pandas as pd

import assess
from assess.inventory import from_frames
from assess.score.upgrade_churn.history import upgrade_history
from assess.score.upgrade_churn.pace import image_changes

POLICY = assess.load_policy()
OURS = POLICY.replace(registries={"own_namespaces": ["shop"]})


def fleet(day, *images):
    rows = [
        {
            "workload_id": f"w{n}",
            "service_id": service,
            "registry": registry,
            "repository": repository,
            "tag": tag,
            "image_digest": digest,
            "state": "running",
        }
        for n, (service, registry, repository, tag, digest) in enumerate(images)
    ]
    services = [
        {"service_id": name} for name in sorted({row["service_id"] for row in rows})
    ]
    frames = {"services": services, "workloads": rows}
    tables = {name: pd.DataFrame(rows) for name, rows in frames.items()}
    return from_frames(tables, snapshot_at=day)


BEFORE = fleet(
    "2026-06-30",
    ("db", "docker.io", "library/postgres", "9.5.25", None),
    ("cache", "docker.io", "library/redis", "7.2.1", None),
    ("web", "registry.example", "shop/web", "2.0.0", "sha256:" + "a" * 64),
    ("web", "registry.example", "shop/web", "1.9.0", "sha256:" + "b" * 64),
    ("api", "docker.io", "shop/api", "1.4", None),
    ("gone", "docker.io", "library/nginx", "1.25", None),
)
AFTER = fleet(
    "2026-09-30",
    ("db", "docker.io", "library/postgres", "9.6.24", None),
    ("cache", "docker.io", "valkey/valkey", "8.0.1", None),
    ("web", "registry.example", "shop/web", "2.0.1", "sha256:" + "c" * 64),
    ("web", "registry.example", "shop/web", "2.0.0", "sha256:" + "a" * 64),
    ("api", "docker.io", "shop/api", "1.3", None),
    ("new", "docker.io", "library/nginx", "1.25", None),
)


def test_changes_by_service():
    found = image_changes(upgrade_history([BEFORE, AFTER], POLICY), OURS)
    found = found.set_index("service_id")
    assert found["change"].to_dict() == {
        "api": "rollback",
        "cache": "swap",
        "db": "major",
        "web": "patch",
    }
    assert found["third_party"].to_dict() == {
        "api": False,
        "cache": True,
        "db": True,
        "web": False,
    }
    assert found.loc["web", ["before", "after"]].tolist() == [
        "registry.example/shop/web:2.0.0",
        "registry.example/shop/web:2.0.1",
    ]


def test_nothing_changes_between_a_snapshot_and_itself():
    same = from_frames(BEFORE.tables, snapshot_at="2026-07-01")
    assert image_changes(upgrade_history([BEFORE, BEFORE, same], POLICY), OURS).empty


def test_churn_counts_them_apart_and_knows_nothing_without_an_earlier_snapshot():
    columns = ["third_party_changes_n", "first_party_changes_n"]
    alone = assess.score_upgrade_churn(AFTER, POLICY)
    assert alone.frame[columns].isna().all(axis=None)
    both = assess.score_upgrade_churn(AFTER, POLICY, previous=BEFORE)
    assert both.frame.loc["db", columns].tolist() == [1, 0]
    assert both.frame.loc["web", columns].tolist() == [0, 1]
    assert both.frame.loc["new", columns].isna().all()  # nobody saw it then
    assert set(both.details["image_changes"]["service_id"]) == {
        "api",
        "cache",
        "db",
        "web",
    }
