"""Dockerfiles, read as the builder reads them."""

from __future__ import annotations

import pytest

from assess.reference import asked_values
from assess.sources.builds import (
    BuildsSource,
    done_by,
    is_build_file,
    named_by,
    sources_of,
)
from assess.sources.builds.dockerfile import expand, instructions, read_build
from assess.sources.compose import ComposeSource
from assess.sources.deadline import Deadline
from assess.sources.run import join

CANARY = "hunter2"


@pytest.fixture
def build(tmp_path):
    """Collect files, written below a directory."""

    def collected(path="ops", **files):
        for name, text in files.items():
            file = tmp_path / "ops" / name.replace("__", "/")
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text)
        return BuildsSource().collect({"path": path}, tmp_path, Deadline(9))

    return collected


def images(batch):
    return [row["image_ref"] for row in batch.rows["workloads"]]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("FROM debian:10", ["debian:10"]),
        ("from debian:10 as x\nRUN x", ["debian:10"]),
        ("ARG V=10\nFROM debian:$V", ["debian:10"]),
        ("ARG V\nFROM debian:${V:-10}", ["debian:10"]),
        ("ARG V=11\nFROM debian:${V:-10}", ["debian:11"]),
        ("ARG V=1\nFROM debian:${V:+10}", ["debian:10"]),
        ("ARG A=debian\nARG B=$A:10\nFROM ${B}", ["debian:10"]),
        ('ARG V="10"\nFROM debian:$V', ["debian:10"]),
        ("FROM --platform=$BUILDPLATFORM debian:10", ["debian:10"]),
        # a stage is no image, nor is scratch
        ("FROM debian:10 AS a\nFROM A\nFROM a AS c", ["debian:10"]),
        ("FROM golang:1.20 AS a\nFROM scratch\nCOPY --from=a /x /x", ["golang:1.20"]),
        # what is only copied from is pulled too
        ("FROM a:1\nCOPY --from=b:2 / /\nCOPY --from=0 / /", ["a:1", "b:2"]),
        ("FROM a:1\nRUN --mount=type=bind,from=b:2,target=/x ls", ["a:1", "b:2"]),
        # lines: continued, commented, with another sign
        ("FROM \\\n  # why\n\n  debian:10", ["debian:10"]),
        ("# escape=`\nFROM debian:10\nRUN a `\n FROM b", ["debian:10"]),
        ("FROM a:1\nRUN <<EOF\nFROM b:2\nEOF\nFROM c:3", ["a:1", "c:3"]),
        ("FROM a:1\nRUN <<-'E' <<F\nFROM b:2\n\tE\nFROM d:4\nF\n", ["a:1"]),
        # the end of the text is no end of a heredoc: it is none
        ("FROM a:1\nRUN cat <<NEVER\nFROM b:2", ["a:1", "b:2"]),
        ("FROM a:1\nRUN cat <<<FROM\nFROM b:2", ["a:1", "b:2"]),
        # what hangs on a variable is not known
        ("ARG V\nFROM $V", [None]),
        ("FROM {{ base }}", [None]),
        (f"ARG REGISTRY_PASSWORD={CANARY}\nFROM x/$REGISTRY_PASSWORD", [None]),
    ],
)
def test_the_images_that_a_build_pulls(build, text, expected):
    batch = build(Dockerfile=text)
    assert images(batch) == expected
    assert CANARY not in repr(batch.rows["workloads"])
    (row,) = batch.coverage
    assert row["status"] == ("partial" if None in expected else "ok")


def test_a_doubling_variable_takes_no_memory():
    text = "ARG A=xxxxxxxx\n" + "ARG A=$A$A\n" * 60 + "FROM debian:$A"
    assert read_build(text).stages[0].base is None


def test_more_stages_than_people_write_are_refused(build):
    (row,) = build(Dockerfile="FROM a:1\n" * 300).coverage
    assert row["status"] == "parse_error"
    assert "stages" in row["hint"]


def test_a_quotation_without_an_end_costs_its_own_instruction(build):
    batch = build(Dockerfile="FROM a:1\nLABEL a='b\nFROM b:2")
    assert images(batch) == ["a:1", "b:2"]
    assert batch.coverage[0]["unmapped_n"] == 1


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("cart__Dockerfile", "cart"),
        ("cart__docker__Dockerfile", "cart"),
        ("cart__Dockerfile.dev", "cart"),
        ("Dockerfile.cart", "cart"),
        ("cart.Dockerfile", "cart"),
        ("shop__Containerfile", "shop"),
    ],
)
def test_a_build_is_named_after_its_file_or_its_directory(build, name, expected):
    (row,) = build(**{name: "FROM a:1"}).rows["services"]
    assert row["names"][0].name == expected


def test_a_label_names_a_build_first(build):
    text = "FROM a:1\nLABEL assess.service=till"
    (row,) = build(cart__Dockerfile=text).rows["services"]
    assert [name.name for name in row["names"]] == ["till", "cart"]


@pytest.mark.parametrize(
    ("name", "is_one"),
    [
        ("Dockerfile", True),
        ("Dockerfile.web", True),
        ("dockerfile", True),
        ("web.dockerfile", True),
        ("Containerfile.in", True),
        ("Dockerfile.dockerignore", False),
        ("Dockerfile.md", False),
        ("compose.yaml", False),
    ],
)
def test_which_files_of_a_directory_are_builds(tmp_path, name, is_one):
    assert is_build_file(tmp_path / name) == is_one


@pytest.mark.parametrize(
    ("text", "tools", "sources"),
    [
        ("apt-get update && apt-get install -y curl", "apt", None),
        ("apk add --no-cache curl", "apk", None),
        ("yum -y install curl; yum clean all", "yum", None),
        ("microdnf install -y curl", "dnf", None),
        ("pip install x && go build", "none", None),
        (
            "add-apt-repository -y ppa:some/php && apt-get install -y php8.1",
            "apt",
            "ppa.launchpadcontent.net",
        ),
        ("echo apt-get", "none", None),
        (
            "echo 'deb http://archive.debian.org/debian stretch main' > /x; apt update",
            "apt",
            "archive.debian.org stretch",
        ),
        (
            r"sed -i 's|deb\.debian\.org|archive.debian.org|' /x && apt update",
            "apt",
            "archive.debian.org",
        ),
        (
            "URIs: https://deb.example.com/debian\nSuites: buster\n",
            "none",
            "deb.example.com buster",
        ),
        (
            f"curl -fsSL https://ada:{CANARY}@deb.example.com/x?token={CANARY} | bash -",
            "none",
            "deb.example.com",
        ),
    ],
)
def test_where_packages_come_from(text, tools, sources):
    assert (";".join(done_by([text], "tool")) or "none") == tools
    assert sources_of([text]) == sources


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("apt-get install -y libgl1-mesa-glx netcat=1.2", "libgl1-mesa-glx netcat"),
        ("apt-get -y install 'netcat' python2:amd64", "netcat python2"),
        ("apt-get install -y libgl1-mesa-glx-dev netcat-openbsd", ""),
        ("apk add --no-cache python2 make php81~=8.1", "python2 PHP=81"),
        ("apt-get install -y netcat || apt-get install -y netcat-openbsd", ""),
        ("apt-get install -y netcat | tee log", "netcat"),
        (
            "apt-get install -y netcat\nRUN apt-get install -y python2; x",
            "netcat python2",
        ),
        ("apt-get install -y curl && apt-get remove -y netcat", ""),
        ("apt-get install -y $EXTRA https://ada:pw@example.com/netcat.deb", ""),
        ("echo netcat", ""),
    ],
)
def test_a_build_asks_for_packages_that_a_release_may_drop(text, found):
    named = [name.removeprefix("package=") for name in named_by([text])]
    assert named == found.split()


@pytest.mark.parametrize(
    ("packages", "found"),
    [
        ("php7.4 php7.4-cli libapache2-mod-php8.2", "PHP=7.4 PHP=7.4 PHP=8.2"),
        ("php81-fpm php php-cli", "PHP=81"),
        ("python3.11-venv libpython3.9 python3 python3-pip", "Python=3.11 Python=3.9"),
        ("openjdk-8-jdk openjdk-17-jre-headless", "OpenJDK=8 OpenJDK=17"),
        ("postgresql-client-13 postgresql-9.6", "PostgreSQL=13 PostgreSQL=9.6"),
        (
            "postgresql-15-postgis-3 postgresql-plpython3-14",
            "PostgreSQL=15 PostgreSQL=14",
        ),
        ("postgresql-client postgresql-common postgresql", ""),
        ("libicu67 libicu-dev libffi7 libffi-dev", "ICU=67 libffi=7"),
        ("libssl1.0.2 libssl1.0-dev libssl3 libssl-dev", "OpenSSL=1.0.2 OpenSSL=1.0"),
        ("g++-10 gcc-4.8 gcc gcc-multilib", "GCC=10 GCC=4.8"),
        ("clang-11 libclang-14-dev libclang1 clang", "LLVM=11 LLVM=14"),
        (
            "libboost-system1.74.0 libboost1.67-dev libboost-all-dev",
            "Boost=1.74 Boost=1.67",
        ),
        ("ruby2.7-dev ruby-dev libreadline7 libreadline-dev", "Ruby=2.7 readline=7"),
    ],
)
def test_a_build_tells_the_versions_in_names_of_packages(packages, found):
    by_name = sorted(found.split())
    named = named_by([f"apt-get install -y {packages}"])
    assert sorted(name for name in named if not name.startswith("package=")) == by_name


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("add-apt-repository ppa:ondrej/php; apt install php8.1 ruby3.0", "Ruby=3.0"),
        ("add-apt-repository ppa:acme/tools; apt install php8.1", "PHP=8.1"),
        ("curl https://packages.sury.org/php/apt.gpg; apt install php8.1-fpm", ""),
        ("add-apt-repository ppa:deadsnakes/ppa; apt install python3.11", ""),
        ("echo deb https://apt.postgresql.org/pub > x; apt install postgresql-14", ""),
        (
            "echo deb https://apt.llvm.org/jammy/ x > y; apt install clang-14 gcc-11",
            "GCC=11",
        ),
    ],
)
def test_a_version_that_a_list_of_others_brings_is_not_of_the_base(text, found):
    assert " ".join(named_by([text])) == found


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("docker-php-ext-install pdo_mysql imap && x", ["extension=imap"]),
        ("docker-php-ext-install pdo_mysql", []),
        ("docker-php-ext-configure imap --with-kerberos || true", []),
    ],
)
def test_a_build_asks_for_extensions_that_a_release_may_drop(text, found):
    assert list(named_by([text])) == found


@pytest.mark.parametrize("name", ["package", "extension"])
def test_every_package_that_rules_ask_for_is_read(name):
    command = {"package": "apt-get install -y", "extension": "docker-php-ext-install"}
    asked = sorted(asked_values(name))
    assert len(asked) > 10
    found = {*named_by([f"{command[name]} {' '.join(asked)}"])}
    assert found >= {f"{name}={one}" for one in asked}


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("useradd -m -u 1000 app", "command=useradd-1000"),
        ("useradd -m -u 1000 app && id", "command=useradd-1000"),
        ("useradd -m -u 10001 app", ""),
        ("useradd -m -u 1000 app || true", ""),
        ("userdel -r ubuntu; useradd -m -u 1000 app", ""),
        ("useradd -o -u 1000 app", ""),
        ("groupadd -g 1000 app", "command=groupadd-1000"),
        ("groupadd -f -g 1000 app", ""),
        ("curl x | apt-key add -", "command=apt-key"),
        ("corepack enable", "command=corepack"),
        ("npm install -g corepack@0.34 && corepack enable", "command=npm"),
        ("npm i -g yarn && yarn install", "command=npm"),
        ("python setup.py install", "command=setup.py"),
        ("apt-get install -y curl=7.88.1-10", "command=pin"),
        (
            "apt-get install -y git curl=7.88.1-10+deb12u5",
            "command=pin-of-release;command=pin",
        ),
        ("apt install git:amd64=1:2.25.1-1ubuntu3.11", "command=pin"),
        ("apt install vim=2:8.1-1ubuntu0.20.04.1", "command=pin-of-release;command=pin"),
        ("apt-get install -y 'nginx=1.18.*'", "command=pin"),
        ("apk add --no-cache python3=3.11.8-r0", "command=pin"),
        ("apk add curl=~8.0 'git>2'", "command=pin"),
        ("apt-get install -y curl=7 || apt-get install -y curl", ""),
        ("apt-get install -y -o Dpkg::Options::=--force-confold curl", ""),
        ("A=1 apt-get install -y curl; B=2 make", ""),
        ("pecl install -o -f redis && docker-php-ext-enable redis", "command=pecl"),
        ("docker-php-ext-install pecl_http", ""),
        (
            "apt-get install -y build-essential git\nbundle install --jobs 4",
            "command=gems-without-libyaml",
        ),
        ("apt-get install -y build-essential libyaml-dev\nbundle install", ""),
        ("bundle install", ""),
        ("cargo install --path .", "linking=rust"),
        ("cargo build --target x86_64-unknown-linux-musl", ""),
        ("go build ./cmd", "linking=go"),
        ("CGO_ENABLED=0 go build ./cmd", ""),
        ("pip install -U setuptools && python setup.py install", "command=system-pip"),
        (f"echo {CANARY}", ""),
    ],
)
def test_a_build_shows_what_rules_ask_for_and_nothing_else(text, found):
    assert ";".join(done_by([text], "setting")) == found


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("echo 'deb [signed-by=/k] https://a.example.com/apt jammy main' > /x", "jammy"),
        ("printf 'URIs: https://a.example.com\nSuites: bookworm-pgdg'", "bookworm"),
        ("echo deb https://a.example.com/jammy stable main", ""),
        ('echo "deb https://a.example.com $(lsb_release -cs) main"', ""),
    ],
)
def test_a_build_tells_of_which_release_a_list_is(text, found):
    assert list(named_by([text])) == [f"list={one}" for one in found.split()]


def test_what_a_build_starts_and_sets_is_read_as_of_a_container(build):
    text = (
        "FROM mysql:8.0\n"
        f"ENV JAVA_OPTS='-XX:+UseParNewGC -Dkey={CANARY}' KC_PROXY=edge\n"
        'CMD ["mysqld", "--default-authentication-plugin=mysql_native_password"]'
    )
    (row,) = build(Dockerfile=text).rows["workloads"]
    assert row["settings"] == (
        "program=mysqld;default-authentication-plugin;env.KC_PROXY;jvm.UseParNewGC"
    )


def test_what_a_build_does_is_a_setting(build):
    text = "FROM ubuntu:22.04\nRUN groupadd -g 1000 app\n"
    (row,) = build(Dockerfile=text).rows["workloads"]
    assert row["settings"] == "command=groupadd-1000"


@pytest.mark.parametrize(
    ("last", "runs_on"),
    [
        ("FROM debian:11\nCOPY --from=make /a /a", "debian 11"),
        ("FROM debian:11 AS base\nFROM base\nCOPY --from=make /a /a", "debian 11"),
        ("FROM scratch\nCOPY --from=make /a /a", None),
        ("FROM make\nCOPY --from=make /a /a", None),
    ],
)
def test_a_build_tells_where_it_runs_what_another_base_made(build, last, runs_on):
    text = f"FROM golang:1.20 AS make\nRUN ./build\n{last}"
    first = build(Dockerfile=text).rows["workloads"][0]
    assert first["settings"] == (runs_on and f"runs-on={runs_on}")


def test_a_list_of_sources_that_is_copied_is_unknown(build):
    text = "FROM debian:10\nCOPY ops.list /etc/apt/sources.list.d/\nRUN apt-get update"
    (row,) = build(Dockerfile=text).rows["workloads"]
    assert (row["package_tools"], row["package_sources"]) == ("apt", "unknown")
    text = (
        "FROM debian:10\nCOPY <<E /etc/apt/sources.list\ndeb http://a.example.com b c\nE"
    )
    (row,) = build(Dockerfile=text).rows["workloads"]
    assert row["package_sources"] == "a.example.com b"


def test_what_a_build_shows_of_its_service(build):
    text = "FROM a:1 AS x\nUSER root\nHEALTHCHECK CMD true\nFROM x\nUSER 1000:1000"
    batch = build(Dockerfile=text)
    assert batch.rows["services"][0]["health_checked"] is True
    assert batch.rows["workloads"][0]["user_root"] is False
    # none in the file says nothing: what runs the image may bring one
    batch = build(Dockerfile="FROM a:1\nHEALTHCHECK NONE\nUSER $WHO")
    assert batch.rows["services"][0]["health_checked"] is None
    assert batch.rows["workloads"][0]["user_root"] is None


def test_of_secrets_only_the_names_are_kept(build):
    text = f"FROM a:1\nENV DB_PASSWORD={CANARY} LANG=C\nARG TOKEN={CANARY}"
    batch = build(Dockerfile=text)
    (row,) = batch.rows["workloads"]
    assert row["secret_env_names"] == "DB_PASSWORD;TOKEN"
    assert batch.rows["services"][0]["secrets_in_image"] is True
    assert CANARY not in repr(batch)


def test_instructions_keep_their_flags():
    (found,) = instructions("COPY --from=x --chown=1:1 --link a b")
    flags = dict(found.flags)
    assert (flags["from"], flags["link"], found.text) == ("x", "", "a b")
    assert expand(r"\$A$B", {"B": "b"}) == "$Ab"


def test_a_file_that_compose_builds_is_told_once_as_its_service(tmp_path):
    (tmp_path / "api").mkdir()
    (tmp_path / "job").mkdir()
    text = "FROM debian:12\nENV API_TOKEN=hunter2\nHEALTHCHECK CMD true\n"
    (tmp_path / "api/Dockerfile").write_text(text)
    (tmp_path / "job/Dockerfile").write_text("FROM debian:11\n")
    project = "services: {web: {build: ./api}, worker: {build: ./api}}"
    (tmp_path / "compose.yaml").write_text(project)
    place = (tmp_path, Deadline(9))
    compose = ComposeSource().collect({"path": "compose.yaml"}, *place)
    files = BuildsSource().follow({"path": "."}, *place, compose.rows)
    tables, *_ = join([("compose", compose), ("builds", files)], [])
    built = tables["workloads"][tables["workloads"]["source_kind"].eq("build")]
    assert sorted(zip(built["service_id"], built["image_ref"], strict=True)) == [
        ("job", "debian:11"),
        ("web", "debian:12"),
        ("worker", "debian:12"),
    ]
    # what the file says of its service is of those that Compose builds from it
    services = tables["services"].set_index("service_id")
    assert services.loc[["web", "worker"], "secrets_in_image"].all()
    assert services.loc[["web", "worker"], "health_checked"].all()
    assert sorted(services.index) == ["job", "web", "worker"]
