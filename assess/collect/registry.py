"""Which types of sources there are: those that come with assess, and those of other packages."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points
from importlib.resources import files

from assess.errors import ConfigError

GROUP = "assess.sources"
_BUILT_IN = {
    "docker": "assess.collect.docker.source:DockerSource",
    "compose": "assess.collect.compose.source:ComposeSource",
    "ansible": "assess.collect.plain.ansible:AnsibleSource",
    "osquery": "assess.collect.plain.osquery:OsquerySource",
    "answers": "assess.collect.answers.source:AnswersSource",
    "incidents": "assess.collect.incidents.source:IncidentsSource",
    "experiments": "assess.collect.experiments:ExperimentsSource",
    "registry": "assess.collect.oci.source:RegistrySource",
    "kubernetes": "assess.collect.kubernetes.source:KubernetesSource",
    "swarm": "assess.collect.swarm.source:SwarmSource",
    "nomad": "assess.collect.nomad.source:NomadSource",
    "marathon": "assess.collect.marathon.source:MarathonSource",
    "backstage": "assess.collect.backstage.source:BackstageSource",
    "traces": "assess.collect.traces:TracesSource",
    "ec2": "assess.collect.aws.ec2:Ec2Source",
    "ecs": "assess.collect.aws.ecs:EcsSource",
    "ecr": "assess.collect.aws.ecr:EcrSource",
    "ssm": "assess.collect.aws.ssm:SsmSource",
    "frames": "assess.collect.frames_source:FramesSource",
}


@dataclass(frozen=True)
class SourceType:
    """Description of a type of source, as `Source` has it."""

    type: str
    fills: tuple[str, ...]
    needs: str
    dump: str
    options: tuple[str, ...]
    origin: str  # ``assess``, or the package that brings it


def homes() -> dict[str, EntryPoint]:
    """Give the home of every type, unloaded, ours first; nobody replaces those."""
    ours = {name: EntryPoint(name, home, GROUP) for name, home in _BUILT_IN.items()}
    others = {e.name: e for e in sorted(entry_points(group=GROUP), key=lambda e: e.name)}
    return ours | {name: home for name, home in others.items() if name not in ours}


def permissions(name: str) -> str:
    """Give the least permissions of a system, as it wants them written.

    Raises
    ------
    ConfigError
        Where there is no such system.
    """
    held = {
        f.name.partition(".")[0]: f for f in (files("assess.collect") / "permissions").iterdir()
    }
    name = "aws" if name in ("ec2", "ecs", "ecr", "ssm") else name
    if name not in held:
        raise ConfigError(
            f"there is no policy for {name!r}", hint=f"there is one for {', '.join(sorted(held))}"
        )
    return held[name].read_text(encoding="utf-8")


def source_types() -> dict[str, SourceType]:
    """Describe all types of sources; a package that cannot be loaded says so in ``needs``."""
    described = {}
    for name, home in homes().items():
        origin = "assess" if name in _BUILT_IN else home.dist.name if home.dist else "?"
        try:
            s = home.load()()
            described[name] = SourceType(name, s.fills, s.needs, s.dump, s.options, origin)
        except Exception as error:
            needs = f"cannot be loaded: {type(error).__name__}: {error}"
            described[name] = SourceType(name, (), needs, "", (), origin)
    return described
