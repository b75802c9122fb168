"""Sights: engines and images in one snapshot, and the changes between two."""

from collections import defaultdict
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from pandas import DataFrame, Series, Timestamp

from assess import reference
from assess.frames import surely
from assess.inventory import ANSWERED, ENDED, Inventory
from assess.policy import Policy
from assess.score.incidents import on_engine

STILL = ("same", "rebuild")  # changes of an engine that are none


class Image(NamedTuple):
    """The parts of an image's reference that are known."""

    registry: str | None
    repository: str | None
    tag: str | None = None
    digest: str | None = None


Images = Mapping[str, set[Image]]  # by service
Versions = dict[str, str]  # by runtime
Engines = dict[str, Any]  # rows of the frame, by host
Hosts = dict[str, set[str]]  # by service


class Sight(NamedTuple):
    """The fleet in one snapshot, without rows carried forward to it."""

    at: Timestamp
    engines: dict[str, Versions]  # by host, where known
    images: Images


def sight_of(inventory: Inventory) -> Sight:
    """Return versions of engines by host, and images by service, where they are known."""
    engines: dict[str, Versions] = defaultdict(dict)
    table = observed(inventory, "engines").dropna(subset="version")
    for host, runtime, version in sorted(cells(table, "host_id", "runtime", "version")):
        if version.strip():
            engines[host][runtime] = version
    images: dict[str, set[Image]] = defaultdict(set)
    table = observed(inventory, "workloads").dropna(subset="repository")
    columns = ["service_id", "registry", "repository", "tag", "image_digest"]
    for service, *names in cells(table, *columns):
        images[service].add(Image(*map(text_of, names)))
    return Sight(inventory.snapshot_at, engines, images)


def observed(inventory: Inventory, frame: str) -> DataFrame:
    """Leave out the rows that were carried forward from an earlier snapshot."""
    table = inventory[frame]
    coverage = inventory["coverage"]
    is_carried = coverage["call"].eq(f"carried:{frame}") & coverage["status"].eq("stale")
    answered = set(coverage.loc[coverage["status"].isin(ANSWERED), "source"])
    source = table["source"].str.replace(";.*", "", regex=True)
    is_old = Series(False, index=table.index)
    for name, scope in cells(coverage[is_carried], "source", "scope"):
        carried = source.eq(name)
        if name in answered:
            carried &= table["source_ref"].eq(scope)
        is_old |= surely(carried)
    return table[~is_old]


def cells(table: DataFrame, *columns: str) -> Iterator[tuple[Any, ...]]:
    """Iterate over the rows of some columns; faster than a sub-frame for small tables."""
    return zip(*(table[name].tolist() for name in columns), strict=True)


def text_of(cell: Any) -> str | None:
    """Return a cell of text, None where it is NA."""
    return cell if isinstance(cell, str) else None


def host_engines(inventory: Inventory) -> Engines:
    """Return the engine of each host: of several runtimes the first by name."""
    table = inventory["engines"].sort_values(["host_id", "runtime"])
    return {row.host_id: row for row in table.drop_duplicates("host_id").itertuples()}


def _is_live(workloads: DataFrame) -> Series:
    # one of unknown state is; one that fails again and again is upgraded with the others
    return ~workloads["state"].isin([*ENDED, "declared"])


def placed_replicas(inventory: Inventory) -> DataFrame:
    """Return live replicas; of a service without any, those declared for a known host."""
    table = inventory["workloads"].dropna(subset="host_id")
    return table[_counts(table)]


def _counts(workloads: DataFrame) -> Series:
    is_live = _is_live(workloads)
    service = workloads["service_id"]
    is_alone = ~service.isin(service[is_live])
    return is_live | is_alone & workloads["state"].eq("declared")


def unplaced_replicas(inventory: Inventory, policy: Policy) -> Series:
    """Count by service the replicas that may be anywhere; one that may have ended lists its service."""
    table = inventory["workloads"]
    is_vague = table["host_id"].isna() | on_engine(table, policy).isna()
    is_unplaced = _counts(table) & is_vague
    listed = table["service_id"].where(is_unplaced | table["state"].isna())
    return is_unplaced.groupby(listed).sum()


def hosts_of(inventory: Inventory) -> Hosts:
    """Return the hosts of every service with live replicas."""
    table = inventory["workloads"].dropna(subset="host_id")
    return table[_is_live(table)].groupby("service_id")["host_id"].agg(set).to_dict()


class Step(NamedTuple):
    """What changed: the new line or else the old, and the versions of one product."""

    line: str | None
    change: str  # as `assess.reference.engine_change` has it
    product: str
    was: str | None
    now: str | None


def engine_move(was: Versions, now: Versions) -> Step | None:
    """Return the first changed or replaced runtime; None without a change."""
    if was == now:
        return None
    for runtime, version in now.items():
        before = next(iter(was.items()))
        if runtime in was:
            before = (runtime, was[runtime])
        elif was.keys() & now.keys():
            continue  # a second runtime was added
        change = reference.engine_change(before, (runtime, version))
        if change not in STILL:
            line = line_name(runtime, version)
            return Step(line, change, runtime, was.get(runtime), version)
    return None


def line_name(product: str | None, version: str | None) -> str | None:
    """Return a line with its product, since products share numbers; None if unknown."""
    line = reference.line_of(product, version)
    return f"{product} {line}" if line else None


def is_read(versions: Versions) -> bool:
    """Return whether all versions can be parsed: ``master`` may move unseen."""
    return all(reference.parse_version(version) for version in versions.values())


def changed_images(was: set[Image], now: set[Image]) -> list[tuple[Image, Image, str]]:
    """List pairs of old and new images of a service, with the kind of change."""
    # The kind is that of `assess.reference.image_change`. Images are paired by
    # repository, the most advanced of each; where exactly one was replaced by exactly one
    # of another repository, those two are a pair.
    old = _by_repository(was)
    new = _by_repository(now)
    both = sorted(old.keys() & new.keys())
    pairs = [(old[name], new[name]) for name in both]
    gone = old.keys() - new.keys()
    come = new.keys() - old.keys()
    if len(gone) == len(come) == 1:
        pairs.append((old[gone.pop()], new[come.pop()]))
    kinds = [reference.image_change(before[1:], after[1:]) for before, after in pairs]
    found = zip(pairs, kinds, strict=True)
    return [(*pair, kind) for pair, kind in found if kind != "same"]


def _by_repository(images: set[Image]) -> dict[str, Image]:
    # the last of a repository is kept, the most advanced
    return {str(image.repository): image for image in sorted(images, key=_age)}


def _age(image: Image) -> tuple[tuple[int, ...], str]:
    return reference.tag_version(image.tag) or (), str(image)


def is_pinned(image: Image) -> bool:
    """Return whether a change of an image would be visible: it has a digest or a fixed tag."""
    return image.digest is not None or reference.is_fixed(image.tag)


def is_third_party(image: Image, policy: Policy) -> bool:
    """Return whether an image is from a public registry and not in an own namespace."""
    registries = policy["registries"]
    namespace = (image.repository or "").partition("/")[0]
    is_own = namespace in registries["own_namespaces"]
    return image.registry in registries["public"] and not is_own


def written(image: Image) -> str:
    """Write an image as a reference."""
    registry, repository, tag, digest = image
    end = f":{tag}" if tag else f"@{digest}" if digest else ""
    return f"{registry}/{repository}{end}"


def images_by_maker(inventory: Inventory, policy: Policy) -> DataFrame:
    """Count the images of a service by maker: third-party images change without the owner."""
    columns = ["service_id", "registry", "repository"]
    images = inventory["workloads"][columns].drop_duplicates()
    named = images.dropna()
    places = cells(named, "registry", "repository")
    is_third = [is_third_party(Image(*place), policy) for place in places]
    third = Series(is_third, named.index, dtype=bool)
    counts = DataFrame({"third_party_images_n": third, "first_party_images_n": ~third})
    counts = counts.reindex(images.index, fill_value=False)
    return counts.groupby(images["service_id"]).sum().astype("Int64")
