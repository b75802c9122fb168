"""The sample, the policy in force, the reference facts."""

import csv
import io
import json

import assess
from assess import reference


def test_sample_writes_quarters_of_the_size_asked_for(call, tmp_path):
    shown = call("sample", "fleet", "--services", "5", "--seed", "7").stdout.splitlines()
    assert shown == ["fleet/2026Q2", "fleet/2026Q3"]
    assert len(assess.load(tmp_path / "fleet" / "2026Q3")["services"]) == 5
    call("sample", "again", "--services", "5", "--seed", "7")
    for file in (tmp_path / "fleet").rglob("*.csv"):
        assert (
            file.read_bytes()
            == (tmp_path / "again" / file.relative_to(tmp_path / "fleet")).read_bytes()
        )
    call("sample", "none", "--services", "0", code=2)


def test_policy_gives_every_value_and_where_it_is_from(call, tmp_path):
    (tmp_path / "own.toml").write_text("[dimensions]\nteam = 0.5\n")
    rows = list(
        csv.DictReader(
            io.StringIO(call("policy", "--policy", "own.toml", "--format", "csv").stdout)
        )
    )
    origin = {row["key"]: (row["value"], row["origin"]) for row in rows}
    assert origin["dimensions.team"] == ("0.5", "own.toml")
    assert origin["simulation.seed"] == ("2026", "default")
    assert {o for _, o in origin.values()} == {"default", "own.toml"}
    document = json.loads(call("policy", "--json").stdout)
    assert document["policy_hash"] == assess.load_policy().hash
    assert document["policy"]["simulation"]["seed"] == assess.load_policy().seed


def test_policy_check_says_whether_a_file_can_be_used(call, tmp_path):
    (tmp_path / "own.toml").write_text("[dimensions]\nteam = 0.5\n")
    result = call("policy", "--check", "own.toml")
    assert result.stdout == ""
    assert result.stderr.startswith("own.toml is valid")
    (tmp_path / "own.toml").write_text("[dimensions]\nteam = -1\n")
    assert "dimensions.team is -1" in call("policy", "--check", "own.toml", code=1).stderr
    assert (
        "no policy at absent.toml"
        in call("policy", "--check", "absent.toml", code=1).stderr
    )


def test_facts_list_every_table_with_its_age(call):
    rows = json.loads(call("facts", "--json").stdout)["rows"]
    assert {row["table"]: row["rows"] for row in rows} == reference.tables()[
        "rows"
    ].to_dict()
    assert all(row["age_days"] >= 0 and row["compiled_on"] for row in rows)
    asked = {row["table"]: row["asked"] for row in rows}
    assert 0 < asked["engine_changes"] < len(reference.table("engine_changes"))
    assert asked["storage_drivers"] == len(reference.table("storage_drivers"))
    assert asked["unasked"] == 0
    head = call("facts").stdout.splitlines()[0].split()
    assert {"table", "rows", "age_days", "asked"} <= set(head)


def test_facts_give_one_table(call):
    text = call("facts", "engine_releases", "--format", "csv").stdout
    assert (
        len(list(csv.reader(io.StringIO(text))))
        == len(reference.table("engine_releases")) + 1
    )
    assert "tables: " in call("facts", "nonsense", code=1).stderr
