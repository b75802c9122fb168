"""Reference facts: what the world publishes about engines, kernels, systems and registries.

The facts are the CSV tables beside this file; its README says what they are and where they end.
A version that the facts do not know is unknown: never supported, never fit.
"""

from assess.reference.images import (
    VAGUE,
    engine_change,
    holds_record,
    image_change,
    is_fixed,
    is_store_name,
    is_tool,
    moves,
    product_of,
    stateful_kind,
    tag_version,
)
from assess.reference.programs import (
    asked_values,
    base_lists,
    base_system,
    engine_api,
    fixed_api,
    gone_api,
    is_engine_client,
    system_in,
)
from assess.reference.runtimes import (
    Node,
    api_range,
    cluster_product,
    driver_runs,
    drivers_gone,
    is_managed,
    kernel_floor,
    kernel_runs,
    lines_behind,
    node_driver_runs,
    node_system_support,
    platform_kind,
    platform_of,
    runtime_line,
    runtime_support,
    target_docker,
    target_engine,
    worst_node,
)
from assess.reference.support import (
    ENGINE,
    LINUX,
    Support,
    arch_of,
    arch_runs,
    distro_of,
    engine_lines,
    kernel_support,
    line_of,
    newest_line,
    os_family,
    os_support,
    outages,
    product_support,
    shipped,
    support_windows,
    system_of,
)
from assess.reference.tables import (
    STALE_DAYS,
    compiled_on,
    lookup,
    outdated,
    rows,
    table,
    tables,
)
from assess.reference.versions import (
    engine_line,
    is_known,
    numbers_of,
    parse_version,
    release_of,
    versions_behind,
)
