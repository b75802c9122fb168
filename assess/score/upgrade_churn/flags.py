"""Settings of engines and kubelets for the rules: one row per setting."""

import pandas as pd

from assess import reference
from assess.frames import surely

GATE = "feature-gates."
_KEEPS_CLOUD = GATE + "DisableCloudProviders=false"
_TOLERATES = "toleration.node-role.kubernetes.io/control-plane"
_DOMAIN = r"^node-label\.([^/]*)/"
POD = "pod"  # whose settings are those that it asks of its cluster
_KEPT = ["service_id", "workload_id", "host_id", "version"]


def flags_of(workloads: pd.DataFrame, column: str, target: str) -> pd.DataFrame:
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
    pairs = [setting.strip().partition("=") for setting in table["setting"]]
    table = table.assign(
        flag=[name for name, _, _ in pairs],
        value=[value for _, _, value in pairs],
    )
    is_cloud = table["flag"] == "cloud-provider"
    labels = table["flag"].astype("string").str.extract(_DOMAIN)
    return table.assign(
        label_domain=labels[0].fillna(""),
        cloud=table["value"].where(is_cloud, ""),
        gate_is_known=[_is_known(flag, target) for flag in table["flag"]],
        gate_is_free=[
            _is_free(flag, value, target)
            for flag, value in zip(table["flag"], table["value"], strict=True)
        ],
    )


def has_setting(settings: pd.Series, setting: str) -> pd.Series:
    """Return which rows have a setting; False where the settings of the host are unknown."""
    padded = ";" + settings.astype("string") + ";"
    found = padded.str.contains(f";{setting};", regex=False)
    return surely(found)


def value_of(settings: pd.Series, flag: str) -> pd.Series:
    """Return the value of a setting by row; NA if unknown."""
    padded = ";" + settings.astype("string") + ";"
    return padded.str.extract(f";{flag}=([^;]*);")[0]


def _is_known(flag: str, target: str) -> bool | None:
    """Return whether a target knows a feature gate; None for another setting or an unknown gate."""
    last = _fact_of(flag, "last")  # of the gates that are gone
    there = reference.parse_version(target)
    if last is None or there is None:
        return None
    return there[:2] <= reference.numbers_of(last)


def _is_free(flag: str, value: str, target: str) -> bool | None:
    """Return whether a target lets a feature gate have a value; None where nobody knows."""
    since = _fact_of(flag, "locked")
    there = reference.parse_version(target)
    if since is None or there is None:
        return None
    is_locked = there[:2] >= reference.numbers_of(since)
    return not is_locked or value.lower() == _fact_of(flag, "held")


def _fact_of(flag: str, column: str) -> str | None:
    """Return a fact of the feature gate that a setting names; None for another setting."""
    known = reference.lookup("feature_gates", "gate", column)
    gate = flag.removeprefix(GATE) if flag.startswith(GATE) else ""
    return known.get(gate) or None
