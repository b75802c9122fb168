"""Who selects whom in a cluster: by labels, as the plain loop over all pairs has it."""

from collections import defaultdict

from hypothesis import given, settings
from hypothesis import strategies as st

from assess.sources.kubernetes.controllers import Owners, attach

NAMESPACES, NAMES = ("shop", "edge"), tuple("abcdef")
LABELS = st.dictionaries(st.sampled_from("xyz"), st.sampled_from("12"), max_size=3)
# one that is no text takes none
SELECTORS = LABELS | st.fixed_dictionaries({"x": st.just(["1"])})


def meta(name: str) -> st.SearchStrategy:
    return st.fixed_dictionaries(
        {"name": st.just(name), "namespace": st.sampled_from(NAMESPACES)}
    )


def items(spec: st.SearchStrategy) -> st.SearchStrategy[list[dict]]:
    """Things of a cluster, each with another name."""
    each = [
        st.fixed_dictionaries({"metadata": meta(name), "spec": spec}) for name in NAMES
    ]
    return st.lists(st.integers(0, len(NAMES) - 1), unique=True).flatmap(
        lambda chosen: st.tuples(*(each[n] for n in chosen)).map(list)
    )


CLUSTERS = st.fixed_dictionaries(
    {
        "deployments": items(
            LABELS.map(lambda x: {"template": {"metadata": {"labels": x}}})
        ),
        "services": items(
            st.fixed_dictionaries(
                {
                    "selector": SELECTORS,
                    "type": st.sampled_from(["ClusterIP", "LoadBalancer"]),
                }
            )
        ),
        "poddisruptionbudgets": items(
            st.fixed_dictionaries({"selector": LABELS.map(lambda x: {"matchLabels": x})})
        ),
        "ingresses": items(
            st.sampled_from(NAMES).map(lambda x: {"backend": {"service": {"name": x}}})
        ),
    }
)


def takes(selector: dict, namespace: str, controller) -> bool:
    asked = selector.get("matchLabels", selector)
    has = controller.pod_labels
    return (
        controller.namespace == namespace
        and bool(asked)
        and all(has.get(name) == value for name, value in asked.items())
    )


def told(item: dict) -> tuple[str, str, dict]:
    return item["metadata"]["namespace"], item["metadata"]["name"], item["spec"]


@settings(max_examples=60)
@given(CLUSTERS)
def test_controllers_are_told_what_a_loop_over_all_pairs_finds(found):
    found = defaultdict(list, found)
    owners = Owners(found)
    every = list(owners.controllers.values())
    own = {c: set(c.names) for c in every}
    attach(owners.controllers, found)
    reached = {
        (where, spec["backend"]["service"]["name"])
        for where, _, spec in map(told, found["ingresses"])
    }
    for controller in every:
        selecting = [
            (where, name, spec)
            for where, name, spec in map(told, found["services"])
            if takes(spec["selector"], where, controller)
        ]
        alone = {
            name
            for where, name, spec in selecting
            if len({c.names[0] for c in every if takes(spec["selector"], where, c)}) == 1
        }
        assert {n for s in controller.selected for n in s.names} == {
            n for _, n, _ in selecting
        }
        assert any(s.is_public for s in controller.selected) == any(
            spec["type"] == "LoadBalancer" or (where, name) in reached
            for where, name, spec in selecting
        )
        assert {n.name for n in controller.names} == {
            n.name for n in own[controller]
        } | alone
        assert controller.budgets == [
            spec
            for where, _, spec in map(told, found["poddisruptionbudgets"])
            if takes(spec["selector"], where, controller)
        ]


def test_thousands_of_services_of_the_same_pods_are_kept_once():
    labels = {"app": "web"}
    found = {
        "deployments": [
            {
                "metadata": {"name": f"web-{n}", "namespace": "shop"},
                "spec": {"template": {"metadata": {"labels": labels}}},
            }
            for n in range(3)
        ],
        "services": [
            {
                "metadata": {"name": f"s-{n}", "namespace": "shop"},
                "spec": {"selector": labels},
            }
            for n in range(2000)
        ],
    }
    found = defaultdict(list, found)
    controllers = Owners(found).controllers
    attach(controllers, found)
    (kept,) = {selected for c in controllers.values() for selected in c.selected}
    assert len(kept.names) == 2000
