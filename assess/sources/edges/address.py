"""Addresses: hosts in texts, stored without secrets, and the service of a platform behind each."""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from functools import lru_cache
from urllib.parse import urlsplit

from assess.linear import Linear
from assess.sources.base import Name
from assess.sources.csv_records import rows
from assess.sources.redact import is_secret_name, strip_credentials
from assess.sources.values import only

# characters of one text that are read; no address stands behind them
MAX_TEXT = 256 << 10
_CACHED = 20_000  # values of variables; the replicas of a fleet repeat them

# Words by what they are.
LISTS = {
    row["position"]: frozenset(row["words"].split()) for row in rows("address_words")
}
_POSITIONS = ("host", "near", "none", "own")
_WORDS = {word: position for position in _POSITIONS for word in LISTS[position]}
# Prefixes that a web framework asks for; they say nothing of the address.
_FRAMEWORK = re.compile(r"^(?:next_public|nuxt_public|expo_public|react_app|vite)_")
_NO_HOST_WORDS = ("ghost", "vhost", "localhost")

_SCHEME = Linear(r"(?:jdbc:)?([a-zA-Z][a-zA-Z0-9+.-]*):(?:[a-z]+:)?@?//")
# Schemes whose first part is a bucket, a file, a key, or a name for people.
_NO_SCHEME = LISTS["scheme"]
# Lookups of Go programs: dns+store:10901, dnssrv+_grpc._tcp.store.shop.svc
_LOOKUP = Linear(r"\bdns[a-z]*\+(?:_[\w-]+\._(?:tcp|udp)\.)?")
_ORACLE = Linear(r"jdbc:oracle:thin:@([\w.-]+):(\d{2,5})")
_GO_DSN = Linear(r"@(tcp|udp)6?\(([^()\s]*)\)")
_KEYED = Linear(
    r"([A-Za-z][\w.-]*(?: [Ss]ource| [Aa]ddress)?)[\"']?\s*(?:=|:|>)\s*[\"']?(?:tcp:|@)?"
    r"([A-Za-z0-9][\w.-]*)(?:(?:[:,]|\\[\w$]+,)(\d{2,5}))?[\"']?\s*(?:[;,<}\])\s\"']|$)"
)
_ASSIGNED_URL = Linear(r"([A-Za-z][\w.-]*)[\"']?\s*[=:]\s*[\"']?\w+://[^\s\"',]+")
_OPTION = Linear(
    r"(?:^|\s)--?([A-Za-z][\w.-]*)[\s=]+[\"']?([A-Za-z0-9][\w.-]*)(?::(\d{2,5}))?(?:[^\w.:-]|$)"
)
_BEFORE_PORT = Linear(
    r"(?:^|[\s\"'=,;\[({@/|<>]|(?:stun|turn|sip)s?:)([A-Za-z0-9][\w.-]*):(\d{2,5})(?:[^\w.-]|$)"
)
_IN_BRACKETS = Linear(r"(?:^|[\s\"'=,])([A-Za-z][\w.-]*)\((\d{4,5})\)")  # of IBM MQ
# A pattern without lookaround takes the separator, which the next address needs too.
_APART = {ord(mark): mark * 2 for mark in " ,;|\t\n"}
_BESIDE_PORT = Linear(r"(?:^|[\s\"'])([A-Za-z][\w.-]*)[ \t]+(\d{2,5})(?:[^\w.-]|$)")
_DEV_TCP = Linear(r"/dev/tcp/([\w.-]+)/(\d{2,5})")
_ASKED = Linear(
    r"(?:nslookup|ping|dig|getent\s+hosts|host|curl|wget)\s+(?:-\S+\s+(?:\d+\s+)?)*([\w.-]+)"
)
# Lists of a configuration: in brackets, or with a dash before each item.
_IN_LIST = Linear(r"([A-Za-z][\w.-]*)[\"']?[ \t]*[:=][ \t]*\[([^\[\]{}]*)\]")
_WITH_DASHES = Linear(
    r"(?m)^[ \t-]*[\"']?([A-Za-z][\w.-]*)[\"']?:[ \t]*\n((?:[ \t]*-[ \t]+\S+[ \t]*(?:\n|$))+)"
)
_SERVER_LINE = Linear(  # also a variable of nginx, which looks its host up later
    r"(?m)^\s*(?:server|replicaof|slaveof|set\s+\$\w+)\s+([A-Za-z][\w.-]*)[;\s]"
)
_GROUP = Linear(r"(?m)^\s*(?:upstream|backend)\s+([\w.-]+)")  # of servers, in a proxy
_COMMENT = Linear(  # and what a script tells people
    r"(?m)^\s*(?:#|//|/\*|;|<!--).*$|\s#\s.*$|^[ \t]*(?:echo|printf)[ \t][^\n|>]*$"
)
_CODE = re.compile(r"[\n(]")  # of a program that a variable carries
# ${PORT}, $(PORT) and $PORT, which only a start fills.
_OPEN_PORT = Linear(r"//([\w.-]+):\$(?:\{[\w.:-]+\}|\(\w+\)|\w+)([/?#,\s\"']|$)")
_LIST = re.compile(r"[\s,;|\[\]\"']+")

_HOST = re.compile(r"[a-z0-9_](?:[a-z0-9._-]*[a-z0-9])?")
_HERE = re.compile(r"localhost|localhost\.localdomain|127\.[\d.]+|0\.0\.0\.0|\d{1,3}")
OWN_HOST = "localhost"  # that of the machine, where a container has no network of its own
_OWN = re.compile(r"localhost|localhost\.localdomain|127\.[\d.]+")
# The machine of the containers, where others publish their ports.
ENGINE_HOST = "host.docker.internal"
ENGINE_HOSTS = (ENGINE_HOST, "gateway.docker.internal", "host.containers.internal")
_IP = re.compile(r"\d{1,3}(?:\.\d{1,3}){3}")
_DOMAIN = re.compile(r"(?:[a-z0-9_-]+\.)+[a-z][a-z0-9-]*[a-z0-9]")
# Ends of file names and of package names, which look like domains.
_NO_DOMAIN = LISTS["file"]
_NO_HOST = LISTS["nohost"]
# A URL that ends so is fetched when an image is built, or names a vocabulary.
_FETCHED = re.compile(
    r"\.(?:tar|gz|tgz|xz|bz2|zip|deb|rpm|apk|asc|sig|sha\d*|jar|whl|py|sh|exe|msi|git|dtd|xsd)$"
)
_VOCABULARY = re.compile(
    r"(?:.*\.)?(?:w3\.org|xmlsoap\.org|json-schema\.org|schemas?\..+)"
)
Pair = tuple[str, str]
# Domains that a platform puts behind the name of a service.
_INNER_DOMAIN = re.compile(
    r"\.svc(?:\.[a-z0-9.-]+)?|\.(?:service|connect|virtual|query|ingress)(?:\.[a-z0-9-]+)?\.consul"
)


@dataclass(frozen=True)
class Address:
    """A host that a text names, in lower case."""

    host: str
    port: int | None = None
    scheme: str = ""
    is_sure: bool = True  # else it counts only where a service has the name

    @property
    def is_outside(self) -> bool:
        """Whether it is a domain or IP address, not a name inside one platform."""
        last = self.host.rpartition(".")[2]
        is_domain = bool(_DOMAIN.fullmatch(self.host)) and last not in _NO_DOMAIN
        return is_domain or _IP.fullmatch(self.host) is not None


Addresses = Iterator[Address | None]  # None for what is none


@lru_cache(_CACHED)
def words_of(name: str) -> tuple[str, ...]:
    """Return the words of a name such as ``DB_HOST``, ``redis.url`` or ``EventBusHost``."""
    spaced = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name)
    plain = _FRAMEWORK.sub("", spaced.lower())
    return tuple(filter(None, re.split(r"[\W_\d]+", plain)))


@lru_cache(_CACHED)
def may_be_address(name: str) -> bool:
    """Return whether a variable without a value may lead to another service."""
    return position_of(name) in ("host", "near") or not is_secret_name(name)


def position_of(name: str) -> str:
    """Return the role of a value by its last known word; ``own`` counts at any place; else empty."""
    words = words_of(name)
    joined = "".join(words)
    # AUTHORS_SITE, where SITE_URL is one's own
    if len(words) > 1 and words[-1] == "site":
        return "weak"
    if any(_WORDS.get(word) == "own" for word in words) or joined.endswith("rooturl"):
        return "own"
    for whole in ("own", "weak", "near"):
        if joined in LISTS[whole]:
            return whole
    if words[-2:] == ("host", "name"):
        return "host"
    for word in reversed(words):
        if word.endswith("host") and word not in _NO_HOST_WORDS:
            return "host"
        if position := _WORDS.get(word):
            return position
    return ""


@lru_cache(_CACHED)
def of_variable(name: str, value: str) -> tuple[Address, ...]:
    """Return the addresses in the value of a variable."""
    position = position_of(name)
    if position == "own":
        return ()
    text = _LOOKUP.sub("srv://", strip_credentials(value[:MAX_TEXT].strip()))
    found = [*_urls(text), *_dsn(text)]
    is_code = not position and _CODE.search(text)
    if position == "weak" or is_code:
        found = [_unsure(address) for address in found]
    is_secret = is_secret_name(name)
    may_be_sure = position not in ("none", "weak") and not is_secret
    with_port = _BEFORE_PORT.findall(text.translate(_APART)) if ":" in text else []
    for host, port in [*with_port, *_IN_BRACKETS.findall(text)]:
        address = _address(host, port)
        is_sure = may_be_sure and address and (position == "host" or address.is_outside)
        found.append(address if is_sure else _unsure(address))
    if not is_secret:
        found += _bare_hosts(name, text, position)
    return _distinct(found)


@lru_cache(_CACHED)
def of_text(text: str) -> tuple[Address, ...]:
    """Return the addresses in a command line or in a configuration."""
    text = _LOOKUP.sub("srv://", strip_credentials(_COMMENT.sub(" ", text[:MAX_TEXT])))
    for pattern in (_ASSIGNED_URL, _IN_LIST, _WITH_DASHES):
        # an address is dropped whose key says that it is the service's own
        text = pattern.sub(lambda m: " " if position_of(m[1]) == "own" else m[0], text)
    groups = {name.lower() for name in _GROUP.findall(text)}
    found: list[Address | None] = [
        url for url in _urls(text) if url and (url.port or url.host not in groups)
    ]
    apart = text.translate(_APART)
    with_port = _BEFORE_PORT.findall(apart) + _DEV_TCP.findall(text)
    for host, port in with_port + _BESIDE_PORT.findall(text):
        found.append(_address(host, port, is_sure=False))
    for host in [*_ASKED.findall(text), *_SERVER_LINE.findall(text)]:
        found.append(_address(host, is_sure=False))
    for key, host, port in [*_KEYED.findall(text), *_OPTION.findall(apart)]:
        found += _keyed(key, host, port)
    for key, items in [*_IN_LIST.findall(text), *_WITH_DASHES.findall(text)]:
        found += _listed(key, items)
    return _distinct(found)


def _listed(key: str, items: str) -> Addresses:
    """Yield the hosts in a list, if its key may hold hosts."""
    if position_of(key) in ("host", "near") and not is_secret_name(key):
        for item in re.split(r"[\s,\"']+", items):
            if re.fullmatch(r"[A-Za-z0-9][\w.-]*", item):
                yield _address(item, is_sure=False)


def _distinct(found: list[Address | None]) -> tuple[Address, ...]:
    """Keep each host and port once; an address with a scheme, then a sure one, wins."""
    best: dict[tuple[str, int | None], Address] = {}
    known = [address for address in found if address]
    for address in sorted(known, key=lambda one: (not one.scheme, not one.is_sure)):
        best.setdefault((address.host, address.port), address)
    with_port = {host for host, port in best if port}
    return tuple(
        address
        for (host, port), address in best.items()
        if port or address.scheme or host not in with_port
    )


def _unsure(address: Address | None) -> Address | None:
    return replace(address, is_sure=False) if address else None


def _urls(text: str) -> Addresses:
    """Yield the hosts of all URLs in a text; one URL may list several, with commas."""
    if "//" not in text:
        return
    plain = _OPEN_PORT.sub(lambda found: f"//{found[1]}{found[2]}", text)
    parts = _SCHEME.split(plain)
    for scheme, rest in zip(parts[1::2], parts[2::2], strict=True):
        protocol = scheme.lower()
        if protocol.rpartition("+")[2] in _NO_SCHEME or protocol in _NO_SCHEME:
            continue
        whole = re.split(r"[\s\"'<>`|)\]}]", rest, maxsplit=1)[0]
        if protocol == "dns":  # dns:///orders:50051 and dns://resolver/orders:50051
            whole = whole.partition("/")[2]
        # nginx has paths in variables: http://orders:8080$request_uri
        authority = re.split(r"[/?#;\\]|\$(?:\d|\w*uri\b)", whole, maxsplit=1)[0]
        # The variables of a shell in a path have braces.
        word = re.split(r"[\s\"'<>`|]", rest, maxsplit=1)[0]
        path = word.removeprefix(authority).partition("?")[0]
        is_cut = ":" in authority and "@" in whole and "@" not in authority
        if is_cut or _FETCHED.search(path.rstrip("/.,;)]}").lower()):
            continue  # a password with a slash in it, or what an image was built from
        for part in authority.rpartition("@")[2].split(","):
            yield _of_part(part, protocol)


def _of_part(text: str, scheme: str) -> Address | None:
    """Read ``host:port`` as it stands in a URL."""
    try:
        parts = urlsplit(f"//{text.strip()}")
        host = parts.hostname or ""
        port = parts.port
    except ValueError:
        return None
    return _address(host, str(port or ""), scheme)


def _dsn(text: str) -> Addresses:
    """List the hosts of ``user@tcp(db:3306)/x``, ``Server=db,1433;…`` and ``host=db port=1``."""
    for scheme, inner in _GO_DSN.findall(text):
        yield _of_part(inner, scheme)
    for host, port in _ORACLE.findall(text):
        yield _address(host, port, "oracle")
    if any(mark in text for mark in "={\n"):  # pairs, JSON, a whole file
        for key, host, port in _KEYED.findall(text):
            yield from _keyed(key, host, port)


def _keyed(key: str, host: str, port: str) -> Addresses:
    """Yield the host of a configuration entry, if its key may hold a host."""
    position = "host" if key.lower() in _DSN_KEYS else position_of(key)
    if position in ("host", "near") and not is_secret_name(key):
        address = _address(host, port)
        is_named = position == "host" and key.lower() not in _OWN_KEYS
        is_sure = is_named and address and address.is_outside
        yield address if is_sure else _unsure(address)


_OWN_KEYS = ("hostname", "servername", "server_name")  # mostly of the service itself
_DSN_KEYS = LISTS["dsn"] | {"data source", "network address"}


def _bare_hosts(name: str, text: str, position: str) -> Addresses:
    """Yield host names from a value that is one host name, or a list of them."""
    parts = [*filter(None, _LIST.split(text))]
    head = text.partition(",")[0].strip()
    if "=" in text and re.fullmatch(r"[\w.-]+", head):
        parts = [head]  # redis,abortConnect=false
    if position in ("none", "weak") or not parts or len(text) > 2000:
        return
    # a domain is surely a host in SMTP_SERVER, and may be a name of its own in BACKEND
    is_outer = position == "host" or not LISTS["outer"].isdisjoint(words_of(name)[-1:])
    for part in parts:
        host = part.rpartition("@")[2]
        if re.fullmatch(r"[A-Za-z0-9][\w.-]*", host) and ":" not in host:
            is_like = bool(position) or _is_like(name, host)
            is_host = position == "host" or ("." in host and is_outer)
            address = _address(host, is_sure=is_host and host == text)
            yield address if is_like else None


def _is_like(name: str, host: str) -> bool:
    """Return whether a variable is named like the host in its value: ``PAYMENT_SVC=payment``."""
    of_name = {*words_of(name)} - _GENERIC
    of_host = {*words_of(host)} - _GENERIC
    return bool(of_name and of_host) and (of_name <= of_host or of_host <= of_name)


_GENERIC = LISTS["generic"]


def _address(
    host: str, port: str = "", scheme: str = "", *, is_sure: bool = True
) -> Address | None:
    """Make an address; None for the own host, a wildcard, and impossible hosts."""
    name = host.lower().strip(".")
    if port and _OWN.fullmatch(name):
        return Address(OWN_HOST, int(port), scheme, is_sure=False)
    if not _HOST.fullmatch(name) or _HERE.fullmatch(name) or name in _NO_HOST:
        return None
    if _VOCABULARY.fullmatch(name) or (
        re.fullmatch(r"[\d.]+", name) and not _IP.fullmatch(name)
    ):
        return None
    if name in ENGINE_HOSTS:
        # Only another one that publishes the port can be behind it.
        return Address(ENGINE_HOST, int(port), scheme, is_sure=False) if port else None
    return Address(name, int(port) if port else None, scheme, is_sure)


def _split(host: str) -> Pair:
    """Split the domain of a platform from a host; empty where it has none."""
    tail = _TAIL.search(host)
    if tail and _INNER_DOMAIN.fullmatch(host[tail.start() :]):
        return host[: tail.start()], host[tail.start() :]
    return host, ""


def inner_name(host: str) -> Pair | None:
    """Return name and namespace of a host in a platform's domain; None for other hosts."""
    plain, tail = _split(host)
    if not tail:
        return None
    *_, name, space = ["", *plain.split(".")]
    return (name, space) if name and tail.startswith(".svc") else (space, "")


@dataclass(frozen=True)
class Callee:
    """What an address leads to."""

    name: Name | str
    image: str = ""  # repository
    on_host: bool = False  # whether it has the network of its machine

    @property
    def called(self) -> str:
        """Its name alone."""
        return self.name if isinstance(self.name, str) else self.name.name


_TAIL = re.compile(r"\.(?:svc|service|connect|virtual|query|ingress)(?:\.|$)")


@dataclass
class Siblings:
    """Services by space (project, namespace, cluster) and host name."""

    links: dict[str, Callee] = field(default_factory=dict)  # hosts that one caller has
    # Whether db.shop.internal is db, in a domain of the platform.
    has_private_domains: bool = False
    _names: dict[Pair, dict[Callee, None]] = field(default_factory=dict)
    _aliases: dict[Pair, dict[Callee, None]] = field(default_factory=dict)

    def add(
        self, callee: Callee, *hosts: str, space: str = "", is_alias: bool = False
    ) -> None:
        """Add the hosts of a service; an alias counts only where no service is named so."""
        index = self._aliases if is_alias else self._names
        for host in hosts:
            if host:
                index.setdefault((space, host.lower()), {})[callee] = None

    def publish(self, callee: Callee, ports: Iterable[str]) -> None:
        """Add the ports that a service publishes, or opens itself, on the machine of all containers."""
        for port in ports:
            outer, mark, _ = port.partition("->")
            if mark or callee.on_host:
                number = outer.rpartition(":")[2].partition("/")[0]
                self.add(callee, f"{ENGINE_HOST}:{number}")

    def behind(self, address: Address, space: str = "") -> Callee | None:
        """Return the service behind an address."""
        if address.host in (ENGINE_HOST, OWN_HOST):
            return self.find(f"{ENGINE_HOST}:{address.port}")
        return self.find(address.host, space)

    def find(self, host: str, space: str = "") -> Callee | None:
        """Return the only service behind a host, in its own space or in the one that the host names."""
        if own := self.links.get(host.lower()):
            return own
        for where, name in self._readings(host.lower(), space):
            for index in (self._names, self._aliases):
                if found := index.get((where, name)):
                    return only(found)
        return None

    def _readings(self, host: str, space: str) -> list[Pair]:
        """List the spaces and names that a host may mean, the most exact first."""
        plain, tail = _split(host)
        labels = plain.split(".")
        readings = [(space, host), (space, plain), ("", host), ("", plain)]
        if len(labels) > 1 and (tail or len(labels) == 2):
            # service.namespace, pod.service.namespace
            readings.append((labels[-1], labels[-2]))
        is_pod = labels[0].rpartition("-")[2].isdigit()  # kafka-0.kafka-headless
        if is_pod and len(labels) > 1:
            readings.append((space, labels[1]))
        if self.has_private_domains and labels[-1] in ("local", "internal"):
            readings.append((space, labels[0]))
        return [*readings, (space, plain.removeprefix("tasks."))]  # of Swarm
