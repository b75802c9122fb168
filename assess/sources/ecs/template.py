"""Templates of CloudFormation, and unregistered definitions, in the form of the API."""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import yaml

from assess.sources.aws.place import ForeignAnswerError
from assess.sources.base import Row, Rows
from assess.sources.csv_records import vocabulary
from assess.sources.dumps import Loader, decode_values
from assess.sources.unit import any_of
from assess.sources.values import as_list, dicts, dig, picked, table, text, without_none

MAX_NODES = 200_000  # of a template with all aliases and references in their places
_SERVICE = "AWS::ECS::Service"
_DEFINITION = "AWS::ECS::TaskDefinition"
_KEPT_SERVICE = "aws_ecs_service"  # in a state of Terraform
_KEPT_DEFINITION = "aws_ecs_task_definition"
_BALANCER = "AWS::ElasticLoadBalancingV2::LoadBalancer"
_STORES = vocabulary("ecs", "stores")  # managed, and the domain of their endpoints
_OUTSIDE = "internet-facing"  # the default of a load balancer
_MENTION = re.compile(r"\$\{([\w:.]+)\}")
# A domain that only a deployment knows: http://orders.${Domain}:8080
_OPEN_DOMAIN = re.compile(r"\.\$\{[\w:.]+\}(?=[:/\s]|$)")
_SCALER = "AWS::ApplicationAutoScaling::ScalableTarget"
_HASH = re.compile(r"(?<=[a-z])[0-9A-F]{8}$")  # that CDK puts behind a logical id
_SAYS_NOTHING = ("", "ecs", "fargate")  # logical ids of services, without that word
# Of what people named, which are no words of CloudFormation.
_VERBATIM = vocabulary("ecs", "keys of people")
# Words that are more than another capital letter.
_RENAMED = vocabulary("ecs", "renamed keys")


class TemplateLoader(Loader):
    """Reads the short forms of functions, such as ``!Ref Image``, as their long ones."""


def _function(loader: TemplateLoader, suffix: str, node: yaml.Node) -> Any:
    value = loader.value_of(node)
    if suffix == "GetAtt" and isinstance(value, str):
        value = value.split(".", 1)
    return {suffix if suffix in ("Ref", "Condition") else f"Fn::{suffix}": value}


TemplateLoader.add_multi_constructor("!", _function)


@dataclass
class Template:
    """One template: its resources, with functions resolved as far as the template allows."""

    document: Row
    nodes_n: int = 0
    names: Row = field(default_factory=dict)  # values of its parameters
    answers: dict[str, bool | None] = field(default_factory=dict)  # of its conditions

    def __post_init__(self) -> None:
        self.names["AWS::NoValue"] = None
        for name, parameter in table(self.document, "Parameters").items():
            default = dig(parameter, "Default")
            if isinstance(default, str | int | float) and default != "":
                self.names[name] = _as_text(default)

    def of_type(self, kind: str) -> Iterator[tuple[str, Row]]:
        """List resources of a type: logical ids and properties."""
        for name, resource in table(self.document, "Resources").items():
            if text(resource, "Type") == kind and not self.is_off(resource):
                yield name, table(self.value(dig(resource, "Properties")))

    def is_off(self, resource: Any) -> bool:
        """Return whether the condition of a resource does not hold, as parameters are by default."""
        return self._holds(text(resource, "Condition")) is False

    def _holds(self, raw: Any) -> bool | None:
        """Return whether a condition holds; None where only a deployment decides it."""
        if isinstance(raw, str):
            if raw not in self.answers:
                self.answers[raw] = None  # one that needs itself stays open
                self.answers[raw] = self._holds(dig(self.document, "Conditions", raw))
            return self.answers[raw]
        name, given = next(iter(table(raw).items()), ("", None))
        if name == "Condition":
            return self._holds(given)
        if name == "Fn::Equals":
            values = [*map(_as_text, as_list(self.value(given)))]
            is_open = len(values) != 2 or any(map(_MENTION.search, values))
            return None if is_open else values[0] == values[1]
        answers = [*map(self._holds, as_list(given))]
        if name == "Fn::Not":
            return None if None in answers else not any(answers)
        return any_of(answers, decisive=name == "Fn::Or") if answers else None

    def value(self, raw: Any) -> Any:
        """Return the resolved value; None if only a deployment decides it."""
        self.nodes_n += 1
        if self.nodes_n > MAX_NODES:
            limit = f"the limit of {MAX_NODES:,} values"
            raise ForeignAnswerError(f"a template is larger than {limit}: split it")
        if isinstance(raw, list):
            values = [self.value(item) for item in raw]
            return [item for item in values if item is not None]
        if not isinstance(raw, dict):
            return raw
        name = next(iter(raw), None)
        is_call = name == "Ref" or str(name).startswith("Fn::")
        if len(raw) == 1 and is_call:
            return self._call(str(name), raw[name])
        return {str(key): self.value(item) for key, item in raw.items()}

    def _call(self, name: str, raw: Any) -> Any:
        if name == "Fn::If":
            holds = self._holds(text(raw, 0))
            return None if holds is None else self.value(dig(raw, 1 if holds else 2))
        given = self.value(raw)
        if name == "Ref":
            return self.names.get(text(given), f"${{{given}}}")
        if name == "Fn::GetAtt":
            return self._attribute(".".join(map(str, as_list(given))))
        if name == "Fn::Sub":
            return self._filled(given)
        if name == "Fn::Join":
            parts = dig(given, 1)
            is_list = isinstance(parts, list)
            return text(given, 0).join(map(str, parts)) if is_list else None
        if name == "Fn::FindInMap" and isinstance(given, list):
            return dig(self.document, "Mappings", *map(str, given))
        return None  # imports and the like

    def _filled(self, given: Any) -> str:
        """Fill the names into a text; those that only a deployment knows stay."""
        pattern = text([given], 0) or text(given, 0)
        names = self.names | table(given, 1)

        def value(found: re.Match[str]) -> str:
            return str(names.get(found[1]) or self._attribute(found[1]))

        filled = _MENTION.sub(value, pattern)
        self.nodes_n += len(filled) // 100
        return filled

    def _attribute(self, path: str) -> str:
        """Return an attribute of a resource; for a managed store, a placeholder of its host."""
        name, _, attribute = path.partition(".")
        kind = text(self.document, "Resources", name, "Type")
        domain = next((d for k, d in _STORES.items() if kind.startswith(k)), "")
        if domain and attribute.endswith(("Address", "Endpoint", "Endpoints")):
            return f"{name.lower()}.{domain}"
        return "" if domain and attribute.endswith("Port") else f"${{{path}}}"


def declared(documents: Iterable[Row]) -> tuple[Rows, Rows]:
    """Return the services and the definitions that documents declare, as the API has them."""
    services: Rows = []
    definitions = []
    for document in documents:
        if "containerDefinitions" in document:  # as it is registered
            family = text(document, "family")
            definitions.append({"taskDefinitionArn": family, **document})
        elif is_template(document):
            template = Template(document)
            definitions += _definitions(template)
            services += _services(template)
            for kind, values in _of_terraform(document):
                if kind == _KEPT_SERVICE:
                    services.append(without_none(picked(values, "terraform service")))
                elif kind == _KEPT_DEFINITION:
                    definitions += _registered(values)
    return services, definitions


def _of_terraform(document: Row) -> Iterator[tuple[str, Row]]:
    """List the resources of a state of Terraform, as it is kept or shown, with their types."""
    waiting = [document, table(document, "values", "root_module")]
    while waiting:
        module = waiting.pop()
        waiting += dicts(module, "child_modules")
        for resource in dicts(module, "resources"):
            kept = [table(entry, "attributes") for entry in dicts(resource, "instances")]
            for values in kept or [table(resource, "values")]:
                yield text(resource, "type"), values


def _registered(values: Row) -> Iterator[Row]:
    """Yield a definition in a state of Terraform as the API has it, if it can be read."""
    containers, _ = decode_values(text(values, "container_definitions"))
    volumes = []
    for volume in dicts(values, "volume"):
        files = text(volume, "efs_volume_configuration", 0, "file_system_id")
        host = {"sourcePath": text(volume, "host_path")}
        of_api: Row = {"name": text(volume, "name"), "host": host}
        if files:
            of_api["efsVolumeConfiguration"] = {"fileSystemId": files}
        volumes.append(of_api)
    known = {"containerDefinitions": dicts(containers), "volumes": volumes}
    if dicts(containers):
        yield without_none(picked(values, "terraform definition")) | known


def idle(documents: Iterable[Row]) -> list[str]:
    """List the resources whose conditions are off."""
    return [
        name
        for template in map(Template, documents)
        for name, resource in table(template.document, "Resources").items()
        if template.is_off(resource)
    ]


def is_template(document: Row) -> bool:
    """Return whether a document is a template, or a state of Terraform, with anything of ECS."""
    kinds = [text(r, "Type") for r in table(document, "Resources").values()]
    kinds += (kind for kind, _ in _of_terraform(document))
    known = {_SERVICE, _DEFINITION, _KEPT_SERVICE, _KEPT_DEFINITION}
    return not known.isdisjoint(kinds)


def _definitions(template: Template) -> Iterator[Row]:
    for name, properties in template.of_type(_DEFINITION):
        raw = _as_api(properties)
        family = stem_of(name, "TaskDefinition", "TaskDef")
        yield {
            **raw,
            "family": _named(raw, "family", family or name),
            "taskDefinitionArn": f"${{{name}}}",
        }


def _services(template: Template) -> Iterator[Row]:
    discovery = dict(template.of_type("AWS::ServiceDiscovery::Service"))
    balancers = dict(template.of_type(_BALANCER)).values()
    # beside one that faces inwards, a service may be behind either
    is_public = {b.get("Scheme", _OUTSIDE) for b in balancers} == {_OUTSIDE}
    families = {
        name: _named(_as_api(properties), "family", "")
        for name, properties in template.of_type(_DEFINITION)
    }
    scalers = {_mentioned(s, "ResourceId"): s for _, s in template.of_type(_SCALER)}
    for name, properties in template.of_type(_SERVICE):
        raw = _as_api(properties)
        hosts = [
            text(discovery.get(_mentioned(registry, "registryArn")), "Name")
            for registry in dicts(raw, "serviceRegistries")
        ]
        stem = stem_of(name, "Service")
        family = families.pop(_mentioned(raw, "taskDefinition"), "")
        otherwise = family or name if stem.lower() in _SAYS_NOTHING else stem
        connected = [raw.get("serviceConnectConfiguration")]
        connected.append({"services": [{"discoveryName": host} for host in hosts]})
        scaler = table(scalers.get(name))
        yield {
            "desiredCount": scaler.get("MinCapacity"),
            **scaler,
            **raw,
            "serviceName": _named(raw, "serviceName", otherwise),
            "serviceArn": f"${{{name}}}",
            "clusterArn": _mentioned(raw, "cluster") or text(raw, "cluster"),
            "deployments": [{"serviceConnectConfiguration": part} for part in connected],
            "public": (is_public and bool(dicts(raw, "loadBalancers"))) or None,
        }


def stem_of(logical_id: str, *kinds: str) -> str:
    """Return what a logical id says beside the kind of its resource; it may be nothing."""
    plain = _HASH.sub("", logical_id)
    for kind in kinds:
        plain = plain.removesuffix(kind)
    return plain


def _named(raw: Row, key: str, otherwise: str) -> str:
    """Return a name without parts that only a deployment knows."""
    return _MENTION.sub("", text(raw, key)).strip("-_./ ") or otherwise


def _mentioned(raw: Row, key: str) -> str:
    """Return the resource that a value mentions last; empty where it mentions none."""
    found = _MENTION.findall(text(raw, key))
    return found[-1].partition(".")[0] if found else ""


def _as_api(value: Any, key: str = "") -> Any:
    """Return properties with the keys that the API has, and the types."""
    if isinstance(value, list):
        return [_as_api(item) for item in value]
    if isinstance(value, dict):
        items = ((str(name), item) for name, item in value.items())
        if key in _VERBATIM:
            return {name: _as_text(item) for name, item in items}
        return {
            _RENAMED.get(name, name[:1].lower() + name[1:]): _as_api(item, name)
            for name, item in items
        }
    if isinstance(value, str) and key in ("", "Value"):  # of a list, or of a variable
        value = _OPEN_DOMAIN.sub(".internal", value)
    if key in ("Value", "Name"):
        return _as_text(value)
    return {"true": True, "false": False}.get(value, value)


def _as_text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
