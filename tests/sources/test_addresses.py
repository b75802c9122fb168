"""Addresses in texts: hosts and ports by the value, and what kind of thing is there."""

from __future__ import annotations

import pytest

from assess.sources.edges import kind_of, kind_of_image
from assess.sources.edges.address import Address, of_text, of_variable, position_of


def hosts(found):
    return [(address.host, address.port) for address in found]


def sure(found):
    return [address.host for address in found if address.is_sure]


STORE = "store.shop.svc.cluster.local"


@pytest.mark.parametrize(
    ("name", "value", "host", "port", "kind"),
    [
        ("DATABASE_URL", "postgres://u:p@db:5432/x", "db", 5432, "data"),
        ("DATABASE_URL", "postgres://u:pa/ss@db/x", "db", None, "data"),
        ("DB_URL", "jdbc:mysql://db:3306/x?user=a", "db", 3306, "data"),
        ("X", "jdbc:sqlserver://db:1433;databaseName=a;user=sa", "db", 1433, "data"),
        ("X", "jdbc:oracle:thin:@db:1521:orcl", "db", 1521, "data"),
        ("X", "jdbc:oracle:thin:@//db:1521/svc", "db", 1521, "data"),
        ("DB_DSN", "user:secret@tcp(db:3306)/x", "db", 3306, "data"),
        ("DB_DSN", "host=db port=5432 user=a password=b", "db", None, "data"),
        (
            "Shop_CONNECTION_STRING",
            "Server=db,1433;Database=a;User=b",
            "db",
            1433,
            "data",
        ),
        ("ConnectionStrings__Default", "Server=tcp:db;Database=a", "db", None, "data"),
        ("MONGO_URI", "mongodb+srv://u:p@m.example.net/x", "m.example.net", None, "data"),
        ("RESULT_BACKEND", "db+postgresql://u:p@db/x", "db", None, "data"),
        ("REDIS_HOST", "store", "store", None, "cache"),
        ("APP_ENDPOINT", "http://search:9200", "search", 9200, "data"),
        ("BUS_ADDR", "bus:5672", "bus", 5672, "queue"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://otel:4317", "otel", 4317, "telemetry"),
        ("CONSUL_HTTP_ADDR", "c:8500", "c", 8500, "discovery"),
        ("VROOM", "http://vroom:8085", "vroom", 8085, "call"),
        ("API", "http://orders:${ORDERS_PORT}/v1", "orders", None, "call"),
        ("API", "http://orders:$(ORDERS_PORT)", "orders", None, "call"),
        ("ORDERS", "http://orders:3100", "orders", 3100, "call"),
        (
            "USERS_DB_API_URL",
            "https://users.example.net/",
            "users.example.net",
            None,
            "call",
        ),
        ("FLUENTD_HOST", "logs", "logs", None, "log"),
        ("DB_HOST", "x.abc.eu-west-1.rds.amazonaws.com", None, None, "data"),
    ],
)
def test_addresses(name, value, host, port, kind):
    (address,) = of_variable(name, value)
    assert (address.host, address.port) == (host or value, port)
    assert kind_of(address, "", name).kind == kind


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("DATABASE_URL", "sqlite:///data/x.db"),
        ("DATABASE_URL", "postgres://u:$(cat /x)@db/y"),  # no end of the password is sure
        ("API_URL", "/relative"),
        ("API_HOST", "0.0.0.0"),
        ("API_HOST", "localhost"),
        ("API_HOST", ""),
        ("API_HOST", "true"),
        ("API_HOST", "8080"),
        ("ALLOWED_HOSTS", "example.com"),
        ("VIRTUAL_HOST", "www.example.com"),
        ("CORS_ORIGINS", "http://web:3000"),
        ("PUBLIC_URL", "http://web:3000"),
        ("SITE_URL", "http://web:3000"),
        ("KEYCLOAK_EXTERNAL_HOST", "auth"),
        ("KAFKA_ADVERTISED_LISTENERS", "PLAINTEXT://kafka:9092"),
        ("NO_PROXY", "db,api"),
        ("HEALTHCHECK_URL", "http://api/health"),
        ("REDIS_DOWNLOAD", "http://download.example.net/redis.tar.gz"),
        ("API_URL", "http://[::1"),
        ("ROLE", "web"),
        ("TOPIC", "orders"),
        ("DB_NAME", "users"),
        ("CLUSTER_URL", "svc.cluster.local"),
        ("POSTGRES_USER", "postgres"),
        ("OTEL_SERVICE_NAME", "orders"),
        ("LOG_LEVEL", "info"),
        ("REDIS_IMAGE", "redis:7"),
        ("DB_PASSWORD", "db"),
        ("BROKER_ENDPOINT_ALGORITHM", "PLAIN"),
        ("BROKER_ENDPOINT", "HTTPS"),
    ],
)
def test_what_is_no_address(name, value):
    assert of_variable(name, value) == ()


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("KAFKA_BROKERS", "k1:9092,k2:9092", ["k1", "k2"]),
        ("LEDGER_SITE", "http://ledger:7001", ["ledger"]),
        ("DATABASE_SERVICE_NAME", "ledger-db", ["ledger-db"]),  # of OpenShift's templates
        ("SEEDS", '["http://a:9200", "http://b:9200"]', ["a", "b"]),
        ("X", "mongodb://u:p@a:27017,b:27017/x", ["a", "b"]),
        ("discovery.seed_hosts", "es2,es3", ["es2", "es3"]),
        ("mongo", "user-db:27017", ["user-db"]),
        ("ETCD_INITIAL_CLUSTER", "e0=http://e0:2380,e1=http://e1:2380", ["e0", "e1"]),
        ("ZOO_SERVERS", "server.1=z1:2888:3888;2181 server.2=z2:2888:3888", ["z1", "z2"]),
        ("VOTERS", "1@k1:9093,2@k2:9093", ["k1", "k2"]),
        ("Redis", "redis,abortConnect=false", ["redis"]),
        ("EventBusConnection", "rabbitmq", ["rabbitmq"]),
        ("PGHOST", "db", ["db"]),
        ("PAYMENT", "payment-svc", ["payment-svc"]),
        ("NEXT_PUBLIC_API_URL", "http://api:80", ["api"]),
        ("RELAY", "turn:relay:3478?transport=udp", ["relay"]),
        ("RING_JOIN", "dns+ring:7946", ["ring"]),
        ("STORES", "dnssrv+_grpc._tcp.store.shop.svc.cluster.local", [STORE]),
        ("APP_CONFIG", "threads: 1\ndb:\n  host: db\n  port: 5432\ndomain:\n", ["db"]),
        ("SINK", '{"type": "kafka", "target": {"host": "db", "port": 5432}}', ["db"]),
    ],
)
def test_lists_and_bare_names(name, value, expected):
    assert [address.host for address in of_variable(name, value)] == expected


def test_only_where_a_host_must_stand_is_a_bare_name_one_by_itself():
    assert sure(of_variable("DB_HOST", "db")) == ["db"]
    assert sure(of_variable("UPSTREAM", "api")) == []
    assert sure(of_variable("APP_URL", "https://shop.example.net")) == []


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("until nc -z -w 2 db 5432; do sleep 1; done", {"db"}),
        ("until pg_isready -h db; do sleep 1; done", {"db"}),
        ("until nslookup cache; do sleep 2; done", {"cache"}),
        ("/wait-for-it.sh db:5432 -t 60 -- ./run --api http://api/v1", {"db", "api"}),
        ("echo > /dev/tcp/queue/5672", {"queue"}),
        ("server --redis-host=store --log-level info --name web", {"store"}),
        (
            "server --broker=redis://cache --db-host pg --api-addr api",
            {"cache", "pg", "api"},
        ),
        (
            "query --grpc-address=0.0.0.0:10901 --store=dnssrvnoa+_grpc._tcp." + STORE,
            {STORE},
        ),
        ("location / {\n  proxy_pass http://api:8080;\n  # http://old:80\n}", {"api"}),
        ("upstream x {\n  server app:3000;\n  server other;\n}", {"app", "other"}),
        ('{"database": {"host": "db", "user": "shop"}}', {"db"}),
        (
            "spring:\n  redis:\n    host: cache\n  application:\n    name: web\n",
            {"cache"},
        ),
        ("replicaof primary 6379\n", {"primary"}),
        ("proxy_pass http://cells.shop.svc$request_uri;", {"cells.shop.svc"}),
        ("set $files files;\n  proxy_pass http://$files:9001;\n", {"files"}),
        ("mkdir x\n  echo 'See: http://docs.example.com/x'\nrun http://api\n", {"api"}),
        ("echo 'server http://api;' > /etc/nginx/x.conf", {"api"}),
        (
            "discovery.seed_hosts:\n  - find-1\n  - find-2\nnode.name: x\n",
            {"find-1", "find-2"},
        ),
        (
            'seed_hosts: ["find-1", "find-2"]\nroles: [data, ingest]\n',
            {"find-1", "find-2"},
        ),
        ("fetch https://files.example.com/x_${OS}_$(arch).tar.gz && ./x", set()),
    ],
)
def test_commands_and_configurations(text, expected):
    assert {address.host for address in of_text(text)} == expected


@pytest.mark.parametrize(
    ("image", "kind"),
    [
        ("openzipkin/zipkin-mysql", "data"),
        ("openzipkin/zipkin", "telemetry"),
        ("prometheuscommunity/postgres-exporter", None),
        ("provectuslabs/kafka-ui", None),
        ("mcr.microsoft.com/mssql/server", "data"),
        ("confluentinc/cp-kafka", "queue"),
        ("shop/user-db", "data"),
        ("shop/queue-master", None),
        ("shop/orders", None),
        ("bitnamilegacy/redis", "cache"),
        ("jaegertracing/all-in-one", "telemetry"),
        ("hashicorp/consul", "discovery"),
    ],
)
def test_what_an_image_is(image, kind):
    found = kind_of_image(image)
    assert (found.kind if found else None) == kind


def test_protocol_comes_before_image_and_image_before_port():
    assert kind_of(Address("x", 80, "redis"), "shop/x").kind == "cache"
    assert kind_of(Address("store"), "library/redis").kind == "cache"
    assert kind_of(Address("x", 5432), "shop/rabbitmq").kind == "queue"
    assert kind_of(Address("x", 5432), "shop/x").kind == "data"
    assert (
        kind_of(Address("x", 80, "http"), "redis-commander", "REDIS_URL").kind == "call"
    )


@pytest.mark.parametrize("port", [514, 3100, 4242, 4317, 8013, 8125, 9411, 12201, 24224])
def test_a_port_alone_makes_no_http_call_a_soft_one(port):
    assert kind_of(Address("orders", port, "http"), "shop/orders").kind == "call"


def test_an_option_that_must_be_a_host_leads_outside_with_its_port():
    (address,) = of_text("run --server db.example.net:5432 --verbose")
    assert address == Address("db.example.net", 5432)


def test_positions():
    assert position_of("DB_HOSTNAME") == "host"
    assert position_of("GF_SERVER_ROOT_URL") == "own"
    assert position_of("METRICS_ENDPOINTS_EXPOSE") == "own"
    assert position_of("default_redirection_url") == "own"
    assert position_of("DB_HOST_NAME") == "host"
    assert position_of("SERVER_NAME") == "none"
    assert position_of("RABBITMQ_VHOST") == "none"
    assert position_of("KAFKA_BROKERS_INTERNAL") == "host"


def test_lists_of_the_own_addresses_of_a_service_and_block_comments_name_no_other():
    text = """/* see https://docs.example.com/x
redirectURIs:
  - "https://shop.example.com/callback"
allowed_origins: ["https://web.example.com"]
hosts: ["http://store.example.com"]
"""
    assert hosts(of_text(text)) == [("store.example.com", None)]
