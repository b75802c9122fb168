"""The dry run of a clean-up, by hand: docker-gc's rules, without its defects."""

from datetime import UTC, datetime, timedelta

import pandas as pd
import pytest

from assess import load_policy
from assess.errors import PolicyError
from assess.inventory import from_frames
from assess.score.cleanup import clean_up
from assess.sources.base import Batch
from assess.sources.docker.payload import EngineData
from assess.sources.docker.rows import to_batch

NOW = datetime(2026, 9, 30, 12, tzinfo=UTC)
POLICY = load_policy()
HOUR, DAY = timedelta(hours=1), timedelta(days=1)
MB = 1_000_000


def iso(moment: datetime) -> str:
    return moment.isoformat().replace("+00:00", "Z")


def identifier(letter: str) -> str:
    return "sha256:" + letter * 64


def image(
    letter: str, *tags: str, age: timedelta = 30 * DAY, size: int = 10 * MB
) -> dict:
    return {
        "Id": identifier(letter),
        "RepoTags": list(tags),
        "RepoDigests": [],
        "Created": (NOW - age).timestamp(),
        "Size": size,
    }


def container(letter: str, of: str, state: str, ended: timedelta | None = None) -> dict:
    finished = iso(NOW - ended) if ended else "0001-01-01T00:00:00Z"
    return {
        "Id": letter * 64,
        "Name": f"/{letter}",
        "Image": identifier(of),
        "Created": iso(NOW - 60 * DAY),
        "Config": {"Image": "x", "Labels": {}},
        "Mounts": [],
        "State": {"Status": state, "FinishedAt": finished},
        "HostConfig": {},
    }


def host(images, containers=(), host_id="h1", df=None, volumes=None) -> Batch:
    """The payloads of an engine, as its API gives them, through the source."""
    payloads = EngineData(seen_at=NOW)
    listed = [
        {
            "Id": c["Id"],
            "ImageID": c["Image"],
            "State": c["State"]["Status"],
            "Mounts": [],
        }
        for c in containers
    ]
    payloads.take("containers", listed)
    payloads.take("images", list(images))
    payloads.take("inspect", list(containers))
    if volumes is not None:
        payloads.take("volumes", {"Volumes": volumes})
    if df is not None:
        payloads.take("df", df)
    return to_batch(payloads, host_id)


def inventory(*hosts: Batch):
    batch = Batch()
    for each in hosts:
        batch.merge(each)
    frames = ("hosts", "engines", "images")
    return from_frames(
        {name: pd.DataFrame(batch.rows[name]) for name in frames},
        snapshot_at=NOW.isoformat(),
    )


def judged(found, **rules) -> dict[str, object]:
    policy = POLICY.replace(cleanup=rules) if rules else POLICY
    images = clean_up(found, policy).images
    found = images["reclaimable"].astype(object)  # True, False or NA
    return dict(
        zip(
            images["image_id"].str[7], zip(found, images["why"], strict=True), strict=True
        )
    )


EVERYTHING = host(
    [
        image("1", "shop/web:3"),
        image("2", "shop/web:2"),
        image("3", "shop/web:1"),
        image("4", "shop/api:1"),
        image("5", "shop/job:1"),
        image("6"),
        image("7", "redis:7", age=HOUR / 2),
        image("8", "old:1", age=57 * 365 * DAY),
    ],
    [
        container("a", "1", "running"),
        container("b", "2", "exited", 2 * HOUR),
        container("c", "4", "exited", HOUR / 2),
        container("d", "5", "created"),
    ],
)


def test_docker_gcs_rules_without_its_defects():
    assert judged(inventory(EVERYTHING)) == {
        "1": (False, "a container needs it"),
        "2": (True, "no container that still runs"),
        "3": (True, "no container"),
        "4": (False, "a container needs it"),  # it ended within the grace period
        "5": (False, "a container needs it"),  # never started is not ended in the year 1
        "6": (True, "no name and no container"),
        "7": (False, "too young"),
        "8": (pd.NA, "unknown"),  # 1970 is what reproducible builds write
    }


def test_the_source_says_the_same_by_the_defaults():
    found = inventory(EVERYTHING)
    mine = clean_up(found, POLICY).images.set_index("image_id")["reclaimable"]
    theirs = found["images"].set_index("image_id")["reclaimable"]
    pd.testing.assert_series_equal(mine.sort_index(), theirs.sort_index())


def test_the_rules_are_the_policys():
    found = inventory(EVERYTHING)
    goes = {name for name, (gone, _) in judged(found, grace_s=60).items() if gone is True}
    assert goes == {"2", "3", "4", "6", "7"}
    stays = judged(found, stopped_need=True)
    assert stays["2"] == (False, "a container needs it") and stays["3"][0] is True
    excluded = judged(found, exclude=["shop/.*", "6" * 12])
    assert {k for k, (_, why) in excluded.items() if why == "excluded"} == {
        "1",
        "2",
        "3",
        "4",
        "5",
        "6",
    }
    # a whole name:tag, or none
    assert judged(found, exclude=["shop/web"])["3"][0] is True
    # as docker writes it
    assert judged(found, exclude=["redis:7"])["7"] == (False, "excluded")
    with pytest.raises(PolicyError, match=r"cleanup\.exclude"):
        clean_up(found, POLICY.replace(cleanup={"exclude": ["("]}))


def test_the_newest_of_each_repository_stay():
    found = inventory(
        host(
            [
                image("1", "shop/web:1", age=30 * DAY),
                image("2", "shop/web:2", age=20 * DAY),
                image("3", "shop/web:3", age=10 * DAY),
                image("4", "shop/api:1", age=40 * DAY),
                image("5", age=5 * DAY),
                image("6", "shop/web:0", "shop/other:1", age=50 * DAY),
            ]
        )
    )
    goes = [k for k, (gone, _) in judged(found, keep_n=1).items() if gone]
    assert goes == ["1", "2", "5"]  # the last is the newest of shop/other
    assert judged(found, keep_n=2)["2"] == (False, "among the newest of its repository")


def test_what_is_not_known_is_not_garbage():
    unknown = EngineData(seen_at=NOW)
    unknown.take("images", [image("1", "a:1"), image("2", "b:1")])
    found = inventory(to_batch(unknown, "h1"))  # nobody listed the containers
    assert judged(found) == dict.fromkeys("12", (pd.NA, "unknown"))
    hosts = clean_up(found, POLICY).hosts.loc["h1"]
    assert (hosts["reclaimable_n"], hosts["unknown_n"]) == (0, 2)
    assert hosts["bytes_lo"] == 0 and hosts["bytes_hi"] == 20 * MB
    assert hosts[["stopped_n", "never_started_n", "dangling_volumes_n"]].isna().all()
    listed = EngineData(seen_at=NOW)
    listed.take("images", [image("1", "a:1")])
    one = {"Id": "c" * 64, "ImageID": identifier("1"), "State": "exited", "Mounts": []}
    listed.take("containers", [one])  # when it ended only an inspection tells
    assert judged(inventory(to_batch(listed, "h1")))["1"][0] is pd.NA


# 1 and 2 share a base of 6 MB, 3 stands alone; the engine says so
SHARED = {
    "LayersSize": 24 * MB,
    "Images": [
        {"Id": identifier("1"), "Size": 10 * MB, "SharedSize": 6 * MB, "Containers": 1},
        {"Id": identifier("2"), "Size": 10 * MB, "SharedSize": 6 * MB, "Containers": 0},
        {"Id": identifier("3"), "Size": 10 * MB, "SharedSize": 0, "Containers": 0},
    ],
    "Volumes": [
        {"Name": "data", "Driver": "local", "UsageData": {"Size": 5, "RefCount": 0}},
        {"Name": "more", "Driver": "local", "UsageData": {"Size": 7, "RefCount": 0}},
    ],
}


def test_layers_that_images_share_are_counted_once():
    images = [image("1", "a:1"), image("2", "b:1"), image("3", "c:1")]
    used = [container("a", "1", "running")]
    hosts = clean_up(inventory(host(images, used, df=SHARED)), POLICY).hosts.loc["h1"]
    assert (hosts["images_n"], hosts["reclaimable_n"]) == (3, 2)
    # 2 gives back its own 4 MB and 3 its 10; the base stays, though docker counts it too
    assert (hosts["bytes_lo"], hosts["bytes_hi"]) == (14 * MB, 20 * MB)
    assert (hosts["dangling_volumes_n"], hosts["dangling_volumes_bytes"]) == (2, 12)
    without = clean_up(inventory(host(images, used)), POLICY).hosts.loc["h1"]
    assert pd.isna(without["bytes_lo"]) and without["bytes_hi"] == 20 * MB


def test_hosts_are_apart_and_what_lies_about_is_counted():
    found = inventory(
        EVERYTHING, host([image("1", "shop/web:3")], host_id="h2"), host([], host_id="h3")
    )
    hosts = clean_up(found, POLICY).hosts
    assert hosts["reclaimable_n"].fillna(0).to_dict() == {"h1": 3, "h2": 1, "h3": 0}
    assert (hosts.loc["h1", "stopped_n"], hosts.loc["h1", "never_started_n"]) == (2, 1)
    assert hosts.loc["h2", "stopped_n"] == 0


def test_an_image_of_several_names_counts_once():
    several = image("1", "a:1", "b:1") | {"RepoDigests": ["a@" + identifier("e")]}
    found = inventory(host([several]))
    assert len(found["images"]) == 2
    hosts = clean_up(found, POLICY).hosts.loc["h1"]
    assert hosts["images_n"] == 1 and hosts["bytes_hi"] == 10 * MB


def test_an_empty_fleet_and_the_sample():
    from assess import load

    assert clean_up(inventory(), POLICY).hosts.empty
    found = clean_up(load("data/sample/2026Q3"), POLICY)
    own = load("data/sample/2026Q3")["images"]
    assert found.hosts["reclaimable_n"].sum() == own["reclaimable"].sum() > 0
