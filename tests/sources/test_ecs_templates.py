"""What task definitions and templates of CloudFormation declare, without any account of AWS."""

import json
from pathlib import Path

import pytest
from batches import table

from assess.sources.base import Batch
from assess.sources.deadline import Deadline
from assess.sources.ecs import EcsSource
from assess.sources.ecs.template import MAX_NODES, Template, declared

CANARY = "hunter2"
TEMPLATE = """
AWSTemplateFormatVersion: '2010-09-09'
Parameters:
  Tag: {Type: String, Default: '2.4.1'}
  Secret: {Type: String, NoEcho: true}
  Count: {Type: Number, Default: 2}
Mappings:
  Sizes: {prod: {Cpu: 512}}
Conditions:
  IsProd: !Equals [!Ref Tag, latest]
Resources:
  Cluster: {Type: AWS::ECS::Cluster}
  Database:
    Type: AWS::RDS::DBInstance
    Properties: {Engine: postgres, MasterUserPassword: hunter2}
  Balancer:
    Type: AWS::ElasticLoadBalancingV2::LoadBalancer
    Properties: {Subnets: [!Select [0, !GetAZs '']]}
  OrdersDiscovery:
    Type: AWS::ServiceDiscovery::Service
    Properties: {Name: orders, NamespaceId: !ImportValue ns}
  WebTaskDefinition:
    Type: AWS::ECS::TaskDefinition
    Properties:
      Family: !Sub '${AWS::StackName}-web'
      Cpu: !FindInMap [Sizes, prod, Cpu]
      Memory: '1024'
      RequiresCompatibilities: [FARGATE]
      Volumes:
        - Name: files
          EFSVolumeConfiguration: {FilesystemId: fs-12345678}
        - !If [IsProd, {Name: more}, !Ref AWS::NoValue]
      ContainerDefinitions:
        - Name: web
          Image: !Sub 'registry.example.com/shop/web:${Tag}'
          Privileged: 'true'
          PortMappings: [{ContainerPort: 8080}]
          MountPoints: [{SourceVolume: files, ContainerPath: /data}]
          Environment:
            - {Name: ORDERS_URL, Value: 'http://orders.shop.local:8080'}
            - Name: DATABASE_URL
              Value: !Sub 'postgres://u:${Secret}@${Database.Endpoint.Address}:5432/shop'
            - {Name: DEBUG, Value: false}
            - !If [IsProd, {Name: A, Value: b}, !Ref 'AWS::NoValue']
          DockerLabels: {Team: shop}
        - {Name: proxy, Image: envoyproxy/envoy, Essential: false}
  WebService:
    Type: AWS::ECS::Service
    DependsOn: Balancer
    Properties:
      Cluster: !Ref Cluster
      DesiredCount: !Ref Count
      LaunchType: FARGATE
      TaskDefinition: !Ref WebTaskDefinition
      LoadBalancers: [{ContainerName: web, ContainerPort: 8080, TargetGroupArn: !Ref Group}]
  OrdersService:
    Type: AWS::ECS::Service
    Properties:
      ServiceName: orders
      Cluster: !Ref Cluster
      DesiredCount: !If [IsProd, 3, 1]
      TaskDefinition: !Ref OrdersTask
      ServiceRegistries: [{RegistryArn: !GetAtt OrdersDiscovery.Arn}]
  OrdersTask:
    Type: AWS::ECS::TaskDefinition
    Properties:
      Family: orders
      ContainerDefinitions: [{Name: orders, Image: 'shop/orders:7', Memory: 256}]
"""


def collect(tmp_path: Path, **files: str) -> Batch:
    place = tmp_path / "templates"
    place.mkdir(exist_ok=True)
    for name, content in files.items():
        (place / name.replace("_", ".")).write_text(content)
    return EcsSource().collect({"path": "templates"}, tmp_path, Deadline(20))


@pytest.fixture
def batch(tmp_path) -> Batch:
    return collect(tmp_path, stack_yaml=TEMPLATE)


def test_a_template_declares_services_and_every_container(batch):
    rows = table(batch, "workloads").set_index("workload_id")
    assert set(rows["state"]) == {"declared"} and CANARY not in repr(batch)
    roles = rows["container_role"].astype("object").fillna("alone").tolist()
    assert roles == ["main", "sidecar"] * 2 + ["alone"]
    web, proxy = rows.iloc[0], rows.iloc[1]
    assert (web["repository"], web["tag"], web["privileged"]) == (
        "shop/web",
        "2.4.1",
        True,
    )
    assert (web["cluster"], web["cpu_limit"]) == ("Cluster", 0.5)
    assert web["memory_limit_bytes"] == 1024 * 2**20
    assert proxy["tag_floating"] and not proxy["privileged"]
    assert web["env_names_n"] == 3  # and one that only a deployment decides
    names = {row["names"][0].name for row in batch.rows["services"]}
    assert names == {"Web", "orders"}
    (mount,) = {m["destination"]: m for m in batch.rows["mounts"]}.values()
    assert (mount["volume_name"], mount["driver"]) == ("fs-12345678", "efs")
    assert [r["status"] for r in batch.coverage] == ["ok"]


def test_templates_alone_do_not_say_that_nothing_runs(batch, tmp_path):
    assert "activities" not in batch.rows
    template = TEMPLATE.replace("FARGATE", "EC2")
    onto_hosts = collect(tmp_path, stack_yaml=template)
    assert onto_hosts.rows.keys().isdisjoint(("hosts", "engines"))
    assert "mounts" in onto_hosts.rows


def test_a_template_tells_whom_customers_reach_and_who_patches(batch):
    public = {r["names"][0].name: r["public"] for r in batch.rows["services"]}
    assert public == {"Web": True, "orders": None}
    hosts = table(batch, "hosts")
    assert hosts["managed_by"].tolist() == ["provider"]


def test_beside_an_inner_balancer_nobody_tells_who_is_public(tmp_path):
    inner = (
        "  Inner:\n    Type: AWS::ElasticLoadBalancingV2::LoadBalancer\n"
        "    Properties: {Scheme: internal}\n"
    )
    batch = collect(tmp_path, stack_yaml=TEMPLATE + inner)
    assert [row["public"] for row in batch.rows["services"]] == [None, None]


def test_a_template_names_services_and_managed_stores(batch):
    edges = {
        (e["src"].name, getattr(e["dst"], "name", e["dst"]), e["kind"])
        for e in batch.rows["dependencies"]
        if e["kind"] != "discovery"
    }
    assert edges == {
        ("Web", "orders", "call"),
        ("Web", "ext:database.rds.amazonaws.com", "data"),
    }


def test_what_a_deployment_completes_still_leads_to_services(tmp_path):
    batch = collect(
        tmp_path,
        stack_yaml="""
Parameters: {Domain: {Type: String}, EdgeTask: {Type: String}}
Resources:
  EdgeRecord: {Type: 'AWS::ServiceDiscovery::Service', Properties: {Name: front-door}}
  EdgeService:
    Type: AWS::ECS::Service
    Properties:
      TaskDefinition: !Ref EdgeTask
      ServiceRegistries: [{RegistryArn: {'Fn::GetAtt': EdgeRecord.Arn}}]
  ProbeService: {Type: 'AWS::ECS::Service', Properties: {TaskDefinition: !Ref ProbeTask}}
  ProbeTask:
    Type: AWS::ECS::TaskDefinition
    Properties:
      ContainerDefinitions:
        - Name: app
          Image: !Sub 'registry.${Domain}/probe:1'
          Command: [!Sub '-u http://front-door.${Domain}:9080/']
""",
    )
    [edge] = batch.rows["dependencies"]
    assert (edge["src"].name, edge["dst"].name) == ("Probe", "Edge")
    assert [w["image_ref"] for w in batch.rows["workloads"]] == [
        "registry.${Domain}/probe:1"
    ]
    [read] = [row for row in batch.coverage if row["call"] == "ecs read-templates"]
    assert read["status"] == "partial" and "containers of 1 services" in read["hint"]


def test_a_template_in_json_and_a_definition_as_it_is_registered(tmp_path):
    task = {
        "Type": "AWS::ECS::TaskDefinition",
        "Properties": {
            "ContainerDefinitions": [{"Name": "a", "Image": {"Ref": "Image"}}],
        },
    }
    stack = {"Resources": {"ApiTaskDefinition": task}, "Parameters": {"Image": {}}}
    register = {"family": "job", "containerDefinitions": [{"name": "j", "image": "j:1"}]}
    batch = collect(tmp_path, a_json=json.dumps(stack), b_json=json.dumps(register))
    names = {row["names"][0].name for row in batch.rows["services"]}
    assert names == {"Api", "job"}
    images = {w["image_ref"]: w["repository"] for w in batch.rows["workloads"]}
    assert images == {"${Image}": None, "j:1": "library/j"}


def test_a_scaler_says_how_few_and_how_many_tasks_a_service_has(tmp_path):
    def resource(kind: str, **properties: object) -> dict:
        return {"Type": f"AWS::{kind}", "Properties": properties}

    place = "service/${Cluster}/${Orders.Name}"
    target = {"ResourceId": {"Fn::Sub": place}, "MinCapacity": 3, "MaxCapacity": 5}
    containers = [{"Name": "orders", "Image": "shop/orders:7"}]
    task = resource("ECS::TaskDefinition", ContainerDefinitions=containers)
    service = resource("ECS::Service", TaskDefinition={"Ref": "Task"})
    stack = {
        "Task": task,
        "Orders": service,
        "Scaler": resource("ApplicationAutoScaling::ScalableTarget", **target),
    }
    batch = collect(tmp_path, a_json=json.dumps({"Resources": stack}))
    (row,) = batch.rows["services"]
    assert (row["asg_min"], row["asg_max"]) == (3, 5)
    assert len(batch.rows["workloads"]) == 3


def test_definitions_without_a_service_call_each_other_by_their_containers(tmp_path):
    def registered(family: str, name: str, **environment: str) -> str:
        pairs = [{"name": key, "value": value} for key, value in environment.items()]
        container = {"name": name, "image": f"acme/{name}:1", "environment": pairs}
        return json.dumps({"family": family, "containerDefinitions": [container]})

    batch = collect(
        tmp_path,
        a_json=registered(
            "acme-web",
            "web",
            ORDERS_URL="http://orders.acme.local:8001",
            DOCUMENTS_URI=f"mongodb+srv://acme:{CANARY}@main.example.net/shop",
        ),
        b_json=registered("acme-orders", "orders", WEB_URL="http://acme-web.acme.local"),
    )
    edges = {
        (e["src"].name, getattr(e["dst"], "name", e["dst"]), e["kind"])
        for e in batch.rows["dependencies"]
    }
    assert edges == {
        ("acme-web", "acme-orders", "call"),
        ("acme-web", "ext:main.example.net", "data"),
        ("acme-orders", "acme-web", "call"),
    }
    assert CANARY not in repr(batch)


@pytest.mark.parametrize(
    ("content", "status"),
    [("Resources: [", "parse_error"), ("a: {{ .Values.x }}", "parse_error")],
)
def test_what_is_no_template_is_told(tmp_path, content, status):
    batch = collect(tmp_path, bad_yaml=content, good_yaml=TEMPLATE)
    statuses = {row["status"] for row in batch.coverage}
    assert statuses <= {status, "partial", "ok"} and len(statuses - {"ok"}) == 1
    assert len(batch.rows["services"]) == 2


def test_what_is_of_something_else_costs_nothing(tmp_path):
    batch = collect(tmp_path, other_yaml="kind: Deployment", stack_template=TEMPLATE)
    assert len(batch.rows["services"]) == 2


def test_a_template_that_grows_without_bounds_is_refused(tmp_path):
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    for n in range(1, 8):
        lines.append(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]")
    task = "{Type: AWS::ECS::TaskDefinition, Properties: {Family: f, X: *a7}}"
    batch = collect(tmp_path, bomb_yaml="\n".join([*lines, f"Resources: {{T: {task}}}"]))
    (row,) = batch.coverage
    assert row["status"] == "parse_error" and "split it" in row["hint"]
    assert not any(row["image_ref"] for row in batch.rows["workloads"])


def test_references_cost_what_they_become():
    document = {"Parameters": {"P": {"Default": "x" * 4000}}}
    template = Template(document)
    with pytest.raises(ValueError, match="split it"):
        template.value([{"Fn::Sub": "${P}" * 100}] * MAX_NODES)
    assert declared([{"Resources": {"X": {"Type": 3}}}]) == ([], [])


def resources(service: str, family: str, environment: dict[str, str]) -> dict:
    """Return the resources of one service whose logical id is given."""
    listed = [{"Name": n, "Value": value} for n, value in environment.items()]
    container = {"Name": f"{family}-main", "Image": f"acme/{family}:1.2.3"}
    container["Environment"] = listed
    task = {"Family": family, "ContainerDefinitions": [container]}
    of_service = {"Cluster": "shop", "TaskDefinition": {"Ref": f"{service}Task"}}
    return {
        f"{service}Task": {"Type": "AWS::ECS::TaskDefinition", "Properties": task},
        service: {"Type": "AWS::ECS::Service", "Properties": of_service},
    }


def test_logical_ids_that_say_nothing_leave_the_name_to_the_family(tmp_path):
    web = resources("Service", "web", {"A": "http://orders-main:80", "B": "info"})
    orders = resources("ECSService", "orders", {"PEER": "http://money"})
    billing = resources("BillingService", "money", {})
    (tmp_path / "a.json").write_text(json.dumps({"Resources": web | orders | billing}))
    batch = EcsSource().collect({"path": "a.json"}, tmp_path, Deadline(20))
    names = {row["names"][0].name for row in batch.rows["services"]}
    assert names == {"web", "orders", "Billing"}
    edges = [(e["src"].name, e["dst"].name) for e in batch.rows["dependencies"]]
    # by the name of a container, and by the family
    assert sorted(edges) == [("orders", "Billing"), ("web", "orders")]


def test_a_service_has_one_name_in_its_template_and_where_it_runs(tmp_path):
    definition = "arn:aws:ecs:eu-west-1:123456789012:task-definition/shop-mail:3"
    ids = {"WebServiceE2A7B1C9": "web", "ServiceD69D759B": "mail"}
    resources = {}
    running = []
    for logical, family in ids.items():
        resources[f"{logical}Def"] = {
            "Type": "AWS::ECS::TaskDefinition",
            "Properties": {"Family": family, "ContainerDefinitions": [{"Name": "main"}]},
        }
        resources[logical] = {
            "Type": "AWS::ECS::Service",
            "Properties": {"TaskDefinition": {"Ref": f"{logical}Def"}},
        }
        name = f"shop-{logical}-x7Kq20pZr1aB"
        running.append(
            {
                "serviceArn": f"arn:aws:ecs:eu-west-1:123456789012:service/main/{name}",
                "serviceName": name,
                "clusterArn": "arn:aws:ecs:eu-west-1:123456789012:cluster/main",
                "status": "ACTIVE",
                "desiredCount": 1,
                "taskDefinition": definition if family == "mail" else "gone",
                "tags": [{"key": "aws:cloudformation:logical-id", "value": logical}],
            }
        )
    described = {
        "taskDefinitionArn": definition,
        "family": "mail",
        "containerDefinitions": [{"name": "main"}],
    }
    declared_batch = collect(tmp_path, stack_json=json.dumps({"Resources": resources}))
    place = tmp_path / "running"
    place.mkdir()
    running_batch = collect(
        place,
        services_json=json.dumps({"services": running}),
        definition_json=json.dumps(described),
    )
    for batch in (declared_batch, running_batch):
        assert [r["names"][0].name for r in batch.rows["services"]] == ["Web", "mail"]


CONDITIONAL = """
Parameters:
  Env: {{Type: String, Default: {env}}}
  Extra: {{Type: String, Default: true}}
  Zone: {{Type: String}}
Conditions:
  IsProd: !Equals [!Ref Env, prod]
  IsOther: !Not [!Condition IsProd]
  HasExtra: !And [!Condition IsProd, !Equals [!Ref Extra, true]]
  HasAny: !Or [!Condition IsOther, !Condition HasExtra]
  IsInZone: !And [!Condition IsProd, !Equals [!Ref Zone, a]]
  IsRound: !Not [!Condition IsBack]
  IsBack: {{Condition: IsRound}}
Resources:
  WebTask:
    Type: AWS::ECS::TaskDefinition
    Properties:
      Family: web
      ContainerDefinitions: [{{Name: web, Image: !If [IsProd, "web:2", "web:latest"]}}]
  WebService:
    Type: AWS::ECS::Service
    Properties:
      ServiceName: web
      TaskDefinition: !Ref WebTask
      DesiredCount: !If [IsProd, 3, 1]
  OnlyService:
    Type: AWS::ECS::Service
    Condition: {condition}
    Properties: {{ServiceName: only, TaskDefinition: !Ref WebTask}}
"""


@pytest.mark.parametrize(
    ("env", "condition", "is_there"),
    [
        ("prod", "IsProd", True),
        ("dev", "IsProd", False),
        ("prod", "IsOther", False),
        ("prod", "HasExtra", True),
        ("dev", "HasExtra", False),
        ("dev", "HasAny", True),
        ("prod", "IsInZone", True),  # only a deployment decides it
        ("dev", "IsInZone", False),
        ("prod", "Absent", True),
        ("prod", "IsRound", True),  # it needs itself
    ],
)
def test_a_resource_whose_condition_is_off_is_left_out(
    tmp_path, env, condition, is_there
):
    template = CONDITIONAL.format(env=env, condition=condition)
    batch = collect(tmp_path, stack_yaml=template)
    names = {row["names"][0].name for row in batch.rows["services"]}
    assert names == ({"web", "only"} if is_there else {"web"})
    web = [row for row in batch.rows["workloads"] if row["names"][0].name == "web"]
    expected = ("web:2", 3) if env == "prod" else ("web:latest", 1)
    assert (web[0]["image_ref"], len(web)) == expected
    hints = [row.get("hint") or "" for row in batch.coverage]
    assert any(hint.endswith("OnlyService") for hint in hints) is not is_there


def state(kind, **values):
    return {"mode": "managed", "type": f"aws_ecs_{kind}", "values": values}


CONTAINER = {
    "name": "till",
    "image": "shop/till:1.2",
    "mountPoints": [{"sourceVolume": "files", "containerPath": "/data"}],
    "environment": [{"name": "TOKEN", "value": CANARY}],
}
RESOURCES = [
    state(
        "service",
        name="till",
        id="s-1",
        desired_count=2,
        task_definition="till:4",
        deployment_minimum_healthy_percent=66,
    ),
    state(
        "task_definition",
        arn="arn:aws:ecs:eu-west-1:1:task-definition/till:4",
        family="till",
        revision=4,
        memory="512",
        requires_compatibilities=["FARGATE"],
        volume=[
            {"name": "files", "efs_volume_configuration": [{"file_system_id": "fs-1"}]},
            {"name": "own", "host_path": ""},
        ],
        container_definitions=json.dumps([CONTAINER]),
    ),
]
KEPT = [
    {"type": r["type"], "instances": [{"attributes": r["values"]}]} for r in RESOURCES
]


@pytest.mark.parametrize(
    ("name", "kept"),
    [
        ("terraform.tfstate", {"version": 4, "resources": KEPT}),
        ("show.json", {"values": {"root_module": {"resources": RESOURCES}}}),
        (
            "show.json",
            {"values": {"root_module": {"child_modules": [{"resources": RESOURCES}]}}},
        ),
    ],
)
def test_a_state_of_terraform_declares_services(tmp_path, name, kept):
    (tmp_path / "state").mkdir()
    (tmp_path / "state" / name).write_text(json.dumps(kept))
    batch = EcsSource().collect({"path": "state"}, tmp_path, Deadline(20))
    workload, _ = batch.rows["workloads"]
    assert (workload["image_ref"], workload["memory_limit_bytes"]) == (
        "shop/till:1.2",
        512 * 2**20,
    )
    assert {m["volume_name"] for m in batch.rows["mounts"]} == {"fs-1"}
    assert [s["min_healthy_pct"] for s in batch.rows["services"]] == [66]
    assert CANARY not in repr(batch)


@pytest.mark.parametrize("text", ["", "[{", "7", "{}", '["x"]', None, "[" * 5000])
def test_a_state_whose_containers_cannot_be_read(tmp_path, text):
    definition = state("task_definition", family="till", container_definitions=text)
    kept = {"values": {"root_module": {"resources": [definition, RESOURCES[0], 3]}}}
    (tmp_path / "state").mkdir()
    (tmp_path / "state" / "show.json").write_text(json.dumps(kept))
    batch = EcsSource().collect({"path": "state"}, tmp_path, Deadline(20))
    assert batch.coverage
    assert not any(row["image_ref"] for row in batch.rows["workloads"])
