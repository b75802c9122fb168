"""Reference facts: what the world publishes about engines, kernels, systems and registries.

The facts are the CSV tables beside this file; its README says what they are and where they end.
A version that the facts do not know is unknown: never supported, never fit.
"""

from __future__ import annotations

from assess.reference.bases import base_lists as base_lists
from assess.reference.bases import base_system as base_system
from assess.reference.bases import system_in as system_in
from assess.reference.clients import engine_api as engine_api
from assess.reference.clients import gone_api as gone_api
from assess.reference.clients import is_engine_client as is_engine_client
from assess.reference.engines import api_range as api_range
from assess.reference.engines import driver_runs as driver_runs
from assess.reference.engines import drivers_gone as drivers_gone
from assess.reference.engines import kernel_floor as kernel_floor
from assess.reference.engines import kernel_runs as kernel_runs
from assess.reference.engines import target_docker as target_docker
from assess.reference.engines import target_engine as target_engine
from assess.reference.images import engine_change as engine_change
from assess.reference.images import image_change as image_change
from assess.reference.images import is_fixed as is_fixed
from assess.reference.images import moves as moves
from assess.reference.images import tag_version as tag_version
from assess.reference.runtimes import MANAGED as MANAGED
from assess.reference.runtimes import Node as Node
from assess.reference.runtimes import cluster_product as cluster_product
from assess.reference.runtimes import is_cluster_product as is_cluster_product
from assess.reference.runtimes import is_managed as is_managed
from assess.reference.runtimes import is_managed_product as is_managed_product
from assess.reference.runtimes import lines_behind as lines_behind
from assess.reference.runtimes import node_driver_runs as node_driver_runs
from assess.reference.runtimes import node_system_support as node_system_support
from assess.reference.runtimes import platform_of as platform_of
from assess.reference.runtimes import runtime_line as runtime_line
from assess.reference.runtimes import runtime_support as runtime_support
from assess.reference.runtimes import worst_node as worst_node
from assess.reference.stores import VAGUE as VAGUE
from assess.reference.stores import holds_record as holds_record
from assess.reference.stores import is_store_name as is_store_name
from assess.reference.stores import is_tool as is_tool
from assess.reference.stores import stateful_kind as stateful_kind
from assess.reference.support import ENGINE as ENGINE
from assess.reference.support import Support as Support
from assess.reference.support import default_kernel as default_kernel
from assess.reference.support import distro_of as distro_of
from assess.reference.support import engine_lines as engine_lines
from assess.reference.support import engine_support as engine_support
from assess.reference.support import kernel_support as kernel_support
from assess.reference.support import line_of as line_of
from assess.reference.support import newest_line as newest_line
from assess.reference.support import os_support as os_support
from assess.reference.support import outages as outages
from assess.reference.support import product_support as product_support
from assess.reference.support import support_windows as support_windows
from assess.reference.support import system_of as system_of
from assess.reference.systems import LINUX as LINUX
from assess.reference.systems import arch_of as arch_of
from assess.reference.systems import arch_runs as arch_runs
from assess.reference.systems import os_family as os_family
from assess.reference.tables import STALE_DAYS as STALE_DAYS
from assess.reference.tables import compiled_on as compiled_on
from assess.reference.tables import lookup as lookup
from assess.reference.tables import outdated as outdated
from assess.reference.tables import rows as rows
from assess.reference.tables import table as table
from assess.reference.tables import tables as tables
from assess.reference.versions import engine_line as engine_line
from assess.reference.versions import is_known as is_known
from assess.reference.versions import numbers_of as numbers_of
from assess.reference.versions import parse_version as parse_version
from assess.reference.versions import release_of as release_of
from assess.reference.versions import versions_behind as versions_behind
