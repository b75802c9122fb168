"""Virtual machines: exports of every tool become hosts, templates and half files do not."""

from __future__ import annotations

import json
import zipfile
from io import BytesIO
from pathlib import Path

import pytest
from openpyxl import Workbook

from assess.sources import vms
from assess.sources.base import Batch
from assess.sources.deadline import Deadline
from assess.sources.hosts.ansible import AnsibleSource
from assess.sources.joining.hosts import settle_hosts
from assess.sources.joining.merge import to_tables
from assess.sources.vms import VmsSource
from assess.sources.vms.machines import whole

FIXTURES = Path(__file__).parents[1] / "fixtures" / "vms"
HEADS = ["VM", "Powerstate", "Template", "CPUs", "Memory", "DNS Name"]
GIB = 1 << 30


def collect(place: Path) -> Batch:
    source = VmsSource()
    assert source.check({"path": str(place)}) == []
    return source.collect({"path": str(place)}, place, Deadline(60))


def hosts(place: Path) -> dict[str, dict]:
    return {row["host_id"]: row for row in collect(place).rows["hosts"]}


def workbook(file: Path, tabs: dict[str, list[list]], prologue: str = "") -> Path:
    book = Workbook()
    book.remove(book.active)
    for name, rows in tabs.items():
        sheet = book.create_sheet(name)
        for row in rows:
            sheet.append([value if value != "" else None for value in row])
        if len(rows[0]) == 1:  # a title
            sheet.merge_cells("A1:F1")
    if not prologue:
        book.save(file)
        return file
    whole = BytesIO()
    book.save(whole)
    with zipfile.ZipFile(whole) as sound, zipfile.ZipFile(file, "w") as changed:
        for name in sound.namelist():
            is_sheet = name.startswith("xl/worksheets/")
            changed.writestr(name, prologue.encode() * is_sheet + sound.read(name))
    return file


@pytest.mark.parametrize(
    ("offer", "sku", "system"),
    [
        ("ubuntu-24_04-lts", "server-gen1", ("ubuntu", "24.04")),
        ("ubuntu-24_04-lts", "server-arm64", ("ubuntu", "24.04")),
        ("0001-com-ubuntu-server-jammy", "22_04-lts-gen2", ("ubuntu", "22.04")),
        ("RHEL", "9-lvm-gen2", ("rhel", "9")),
        ("debian-12", "12-gen2", ("debian", "12")),
        ("WindowsServer", "2022-datacenter", ("windows", "2022")),
    ],
)
def test_the_version_of_an_image_of_azure_is_no_generation(tmp_path, offer, sku, system):
    image = {"offer": offer, "sku": sku, "publisher": "p"}
    machine = {
        "name": "a",
        "hardwareProfile": {},
        "powerState": "VM running",
        "storageProfile": {"imageReference": image},
    }
    (tmp_path / "vms.json").write_text(json.dumps([machine]))
    (row,) = hosts(tmp_path / "vms.json").values()
    assert (row["os_name"], row["os_version"]) == system


def test_every_tool_gives_size_system_state_and_place():
    found = hosts(FIXTURES)
    assert len(found) == 13
    columns = (
        "provider",
        "power_state",
        "vcpus",
        "memory_bytes",
        "os_name",
        "os_version",
    )
    expected = {
        "erp-db-01": ("vmware", "on", 8, 64 * GIB, "rhel", "8"),
        "erp-app-01": ("vmware", "on", 4, 16 * GIB, "ubuntu", "22.04"),
        "fileserver": ("vmware", "off", 2, 4 * GIB, "windows server", "2019"),
        "legacy": ("vmware", "suspended", 1, 2 * GIB, "centos", None),
        "mail-01": ("proxmox", "on", 4, 8 * GIB, None, None),
        "dns-01": ("proxmox", "off", 1, GIB // 2, None, None),
        "search-1": ("gcp", "on", 8, None, "ubuntu", "22.04"),
        "batch-1": ("gcp", "off", 4, 10 * GIB, "debian", "11"),
        "report-1": ("azure", "on", 4, None, "ubuntu", "22.04"),
        "ad-1": ("azure", "off", None, None, "windows", "2022"),
        "ci-01": ("libvirt", "on", 4, 8 * GIB, "debian", "12"),
        "ci-02": ("libvirt", "off", 1, 2 * GIB, None, None),
        "ci-03": ("libvirt", "off", None, None, None, None),
    }
    for name, values in expected.items():
        assert tuple(found[name].get(column) for column in columns) == values, name
    assert found["search-1"]["addresses"] == "10.132.0.4;203.0.113.40"
    assert found["search-1"]["region"] == "europe-west1"
    assert found["report-1"]["account"].startswith("00000000-")
    assert found["ad-1"]["os_family"] == "windows"


def test_templates_are_counted_and_left_out():
    rows = [r for r in collect(FIXTURES).coverage if r["call"] == "templates"]
    assert [row["rows"] for row in rows] == [1, 1]


def test_a_machine_is_no_service():
    tables, _ = to_tables([("vms", collect(FIXTURES))], [])
    assert "workloads" not in tables or tables["workloads"].empty
    assert tables.get("services") is None or tables["services"].empty


def test_a_workbook_with_merged_heads_and_other_tabs(tmp_path):
    rows = [
        ["Virtual machines of the estate"],
        ["Machine", "", "", "Size"],
        HEADS,
        ["web-01", "poweredOn", False, 4, 8192, "web-01.corp.example.com"],
        [],
        ["tmpl", "poweredOff", True, 1, 512, ""],
        ["db-01", "poweredOff", "False", "8", "16 384", ""],
        ["", "poweredOff", "", 1, 1, ""],
        ["odd", "asleep", "", "many", 1, ""],
    ]
    workbook(tmp_path / "export.xlsx", {"vDisk": [["VM", "Disk"]], "vInfo": rows})
    batch = collect(tmp_path / "export.xlsx")
    found = {row["host_id"]: row for row in batch.rows["hosts"]}
    assert set(found) == {"web-01", "db-01", "odd"}
    assert found["web-01"]["memory_bytes"] == 8 * GIB
    assert found["db-01"]["memory_bytes"] == 16 * GIB
    assert found["web-01"]["hostname"] == "web-01.corp.example.com"
    assert found["odd"]["power_state"] == "unknown" and "vcpus" not in found["odd"]
    assert batch.coverage[0]["unmapped_n"] == 2


def test_1500_machines_are_1500_hosts_that_join_what_ansible_knows(tmp_path):
    rows = [[f"vm-{n:04}", "poweredOn", False, 2, 4096, ""] for n in range(1500)]
    workbook(tmp_path / "export.xlsx", {"vInfo": [HEADS, *rows]})
    (tmp_path / "facts").mkdir()
    facts = {"ansible_facts": {"ansible_hostname": "vm-0007", "ansible_kernel": "6.1.0"}}
    (tmp_path / "facts" / "vm-0007.corp.example.com").write_text(json.dumps(facts))
    ansible = AnsibleSource().collect({"path": "facts"}, tmp_path, Deadline(9))
    batches = [("ansible", ansible), ("vms", collect(tmp_path / "export.xlsx"))]
    tables, _ = to_tables(settle_hosts(batches)[0], [])
    table = tables["hosts"]
    assert len(table) == 1500
    (known,) = table[table["kernel"].notna()].to_dict("records")
    assert (known["vcpus"], known["power_state"]) == (2, "on")


def test_two_machines_of_one_name_are_two(tmp_path):
    rows = [["web", "poweredOn", False, n, 1, ""] for n in (1, 2)]
    workbook(tmp_path / "export.xlsx", {"vInfo": [HEADS, *rows]})
    assert sorted(row["vcpus"] for row in hosts(tmp_path).values()) == [1, 2]


@pytest.mark.parametrize(("declared", "running_n"), [("", 4), (" current='2'", 2)])
def test_processors_that_are_off_are_not_there(tmp_path, declared, running_n):
    (tmp_path / "till.xml").write_text(
        f"<domain id='3'><name>till</name><vcpu{declared}>4</vcpu></domain>"
    )
    assert hosts(tmp_path)["till"]["vcpus"] == running_n


@pytest.mark.parametrize(
    ("written", "number"),
    [
        ("4096", 4096),
        ("4.096", 4096),
        ("4,096", 4096),
        ("4 096", 4096),
        ("4\u202f096", 4096),
        ("4096.0", 4096),
        ("1'048'576", 1_048_576),
        ("4.5", None),
        ("", None),
        ("many", None),
    ],
)
def test_numbers_of_any_country(written, number):
    assert whole(written) == number


# -- hostile files -------------------------------------------------------------------------------

BOMB = '<!DOCTYPE a [<!ENTITY b "bbbbbbbb"><!ENTITY c "&b;&b;&b;&b;&b;&b;&b;&b;">]>'


def test_entities_are_refused(tmp_path):
    workbook(tmp_path / "a.xlsx", {"vInfo": [HEADS]}, prologue=BOMB)
    (tmp_path / "b.xml").write_text(f"{BOMB}<domain><name>&c;</name></domain>")
    batch = collect(tmp_path)
    assert {row["status"] for row in batch.coverage} == {"parse_error"}
    assert "document type" in batch.coverage[1]["hint"]


def test_a_part_that_unpacks_without_end_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(vms, "MAX_UNPACKED", 1 << 20)
    rows = [["x" * 1000, "poweredOn", False, 1, 1, ""] for _ in range(2000)]
    workbook(tmp_path / "a.xlsx", {"vInfo": [HEADS, *rows]})
    (row,) = collect(tmp_path).coverage
    assert row["status"] == "parse_error" and "limit" in row["hint"]


def test_cells_far_to_the_right_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(vms, "MAX_CELLS", 10_000)
    rows = [["web", "poweredOn", *[None] * 16_000, 1]]
    workbook(tmp_path / "a.xlsx", {"vInfo": [HEADS, *rows]})
    (row,) = collect(tmp_path).coverage
    assert row["status"] == "parse_error" and "limit" in row["hint"]


def test_a_cell_whose_formula_failed_is_empty(tmp_path):
    workbook(
        tmp_path / "a.xlsx", {"vInfo": [HEADS, ["web", "poweredOn", False, "#REF!"]]}
    )
    assert "vcpus" not in hosts(tmp_path)["web"]
    assert collect(tmp_path).coverage[0].get("unmapped_n") is None


@pytest.mark.parametrize(
    "content",
    [
        b"PK\x03\x04broken",
        b"name;size\na;1\n",
        b'[{"a": 1}]',
        b'["a", "b"]',
        b"kind: StatefulSet\n",
        b"",
        b"<domain><name>x</na",
        b"no",
    ],
)
def test_what_is_no_list_of_machines_is_told(tmp_path, content):
    (tmp_path / "a.dump").write_bytes(content)
    (row,) = collect(tmp_path).coverage
    assert row["status"] == "parse_error" and row["hint"]


GOVC = {
    "name": "erp-1",
    "config": {
        "template": False,
        "guestFullName": "Debian GNU/Linux 12 (64-bit)",
        "hardware": {"numCPU": 2, "memoryMB": 4096},
    },
    "summary": {"runtime": {"powerState": "poweredOn"}},
    "guest": {"hostName": "erp-1.example", "ipAddress": "10.0.0.9"},
}
SERVER = {
    "name": "erp-1",
    "status": "SHUTOFF",
    "flavor": {"original_name": "m1.small", "vcpus": 2, "ram": 4096},
    "OS-EXT-AZ:availability_zone": "nova",
}


@pytest.mark.parametrize(
    ("dump", "expected"),
    [
        (
            {"virtualMachines": [GOVC, GOVC | {"config": {"template": True}}]},
            {
                "provider": "vmware",
                "power_state": "on",
                "os_name": "debian",
                "os_version": "12",
                "hostname": "erp-1.example",
                "addresses": "10.0.0.9",
            },
        ),
        (
            {"servers": [SERVER]},
            {
                "provider": "openstack",
                "power_state": "off",
                "state": "stopped",
                "instance_type": "m1.small",
                "az": "nova",
            },
        ),
    ],
)
def test_machines_of_govc_and_openstack(tmp_path, dump, expected):
    (tmp_path / "a.json").write_text(json.dumps(dump))
    (host,) = collect(tmp_path).rows["hosts"]
    size = {"host_id": "erp-1", "vcpus": 2, "memory_bytes": 4 * GIB}
    assert {column: host[column] for column in expected | size} == expected | size


@pytest.mark.parametrize(
    ("cells", "az"),
    [
        ({"Flavor": "m1.small"}, None),
        ({"Flavor Name": "m1.small", "Availability Zone": "nova"}, "nova"),
        ({"Flavor": "m1.small", "Power State": 1, "Availability Zone": "nova"}, "nova"),
    ],
)
def test_openstacks_list_for_people_is_read_too(tmp_path, cells, az):
    server = {"ID": "6c1", "Name": "web", "Status": "ACTIVE"} | cells
    (tmp_path / "a.json").write_text(json.dumps([server]))
    (host,) = collect(tmp_path).rows["hosts"]
    assert (host["power_state"], host["instance_type"]) == ("on", "m1.small")
    assert host.get("az") == az


def test_the_answer_of_google_is_read_as_its_command_line_lists_it(tmp_path):
    listed = json.loads((FIXTURES / "gcloud.json").read_text())
    found = []
    for document in (listed, {"kind": "compute#instanceList", "items": listed}):
        (tmp_path / "a.json").write_text(json.dumps(document))
        hosts = collect(tmp_path).rows["hosts"]
        found.append([(host["host_id"], host["instance_type"]) for host in hosts])
    assert found[0] and found[0] == found[1]


def test_half_a_list_keeps_what_is_whole(tmp_path):
    text = (FIXTURES / "proxmox.json").read_text()
    (tmp_path / "a.json").write_text(text[: text.index('"node": "pve-2"')])
    batch = collect(tmp_path)
    assert [row["host_id"] for row in batch.rows["hosts"]] == ["mail-01"]
    assert batch.coverage[0]["status"] == "partial"
