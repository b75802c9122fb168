"""Settings of engines and kubelets for the rules: one row per setting."""

import pandas as pd
from pandas import DataFrame, Series

from assess import reference
from assess.frames import surely
from assess.score.upgrade_churn.builds import IDS
from assess.score.upgrade_churn.sights import cells

GATE = "feature-gates."
_FACTS = ("last", "locked", "held")
_KEEPS_CLOUD = GATE + "DisableCloudProviders=false"
_TOLERATES = "toleration.node-role.kubernetes.io/control-plane"
_PAIR = r"(?s)^([^=]*)=?(.*)$"
_DOMAIN = r"^node-label\.([^/]*)/"
POD = "pod"  # whose settings are those that it asks of its cluster
_KEPT = [*IDS, "version", "host_network", "repository", "tag", "package_sources"]


def flags_of(workloads: DataFrame, column: str, target: str) -> DataFrame:
    """Return a row for each setting in a column, and for each that a workload has of its own."""
    component = "kubelet" if column == "kubelet_flags" else "engine"
    of_host = workloads[_KEPT].assign(component=component, setting=workloads[column])
    own = workloads["settings"].astype("string")
    program = value_of(own, "program").fillna(POD)
    of_workload = workloads[_KEPT].assign(component=program, setting=own)
    table = pd.concat([of_host, of_workload], ignore_index=True)
    table["keeps_cloud"] = has_setting(table["setting"], _KEEPS_CLOUD)
    table["tolerates_control_plane"] = has_setting(table["setting"], _TOLERATES)
    table["setting"] = table["setting"].astype("string").str.split(";")
    table = table.explode("setting").dropna(subset="setting")
    parts = table["setting"].str.strip().str.extract(_PAIR)
    table = table.assign(flag=parts[0], value=parts[1])
    labels = table["flag"].astype("string").str.extract(_DOMAIN)
    return table.assign(
        label_domain=labels[0].fillna(""),
        cloud=table["value"].where(table["flag"] == "cloud-provider", ""),
        family=table["value"].str.rsplit(".", n=1).str[0],
        option=table["value"].str.split("=").str[0],
        gate=[_fate_of(target, *pair) for pair in cells(table, "flag", "value")],
    )


def has_setting(settings: Series, setting: str) -> Series:
    """Return which rows have a setting; False where the settings of the host are unknown."""
    # a file says failCgroupV1, a command line fail-cgroupv1
    padded = ";" + settings.astype("string") + ";"
    plain = padded.str.replace("-", "").str.lower()
    wanted = setting.replace("-", "").lower()
    return surely(plain.str.contains(f";{wanted};", regex=False))


def value_of(settings: Series, flag: str) -> Series:
    """Return the value of a setting by row; NA if unknown."""
    padded = ";" + settings.astype("string") + ";"
    return padded.str.extract(f";{flag}=([^;]*);")[0]


def _fate_of(target: str, flag: str, value: str) -> str:
    """Return whether a target lacks a feature gate (gone) or holds it at another value (held)."""
    gate = flag.removeprefix(GATE)
    there = (reference.parse_version(target) or ())[:2]
    facts = (reference.lookup("feature_gates", "gate", name) for name in _FACTS)
    last, locked, locked_at = (column.get(gate) for column in facts)
    if last and there > reference.numbers_of(last):
        return "gone"
    is_held = locked and there >= reference.numbers_of(locked)
    return "held" if is_held and value.lower() != locked_at else ""
