"""Scripts on a Mac, which has no GNU tools: files that arrive, programs, models, waiting."""

from __future__ import annotations

import hashlib
import subprocess
import tarfile
from io import BytesIO
from pathlib import Path

import pytest

from deploy.facts.model_store import MadeModel, ModelStore, look_at_models, parse_models
from deploy.facts.sections import split_sections
from deploy.scripts import read_script
from tests.fake_mac import FakeMac

NAME = "demo-ollama-0"
OLLAMA = Path(__file__).parent / "ollama" / "ollama"
MANIFEST = "registry.ollama.ai/library/tiny/latest"


def sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


@pytest.fixture
def mac(tmp_path: Path) -> FakeMac:
    return FakeMac(tmp_path / "mac")


def receive(mac: FakeMac, offset: int, text: str, digest: str, size: int) -> int:
    path = f"{mac.directory}/files/model.gguf"
    script = ("receive.sh", "receive", path, str(size), str(offset), digest)
    return mac.script(*script, stdin=text).returncode


def begin(mac: FakeMac, size: int) -> str:
    path = f"{mac.directory}/files/model.gguf"
    return mac.script("receive.sh", "begin", path, str(size)).stdout.strip()


def test_a_file_arrives_in_two_goes(mac: FakeMac) -> None:
    digest = sha256("hello world")
    assert begin(mac, 11) == "0"
    assert receive(mac, 0, "hello ", digest, 11) == 1
    assert begin(mac, 11) == "6"
    assert receive(mac, 6, "world", digest, 11) == 0
    assert (mac.directory / "files" / "model.gguf").read_text() == "hello world"
    assert begin(mac, 11) == "there"


def test_a_file_that_is_another_one_is_thrown_away(mac: FakeMac) -> None:
    begin(mac, 5)
    assert receive(mac, 0, "wrong", sha256("right"), 5) == 3
    assert mac.names("files") == set()


def test_what_does_not_belong_where_it_was_cut_is_not_appended(mac: FakeMac) -> None:
    begin(mac, 11)
    receive(mac, 0, "hello ", sha256("hello world"), 11)
    assert receive(mac, 3, "lo world", sha256("hello world"), 11) == 1
    assert begin(mac, 11) == "6"


def archive(path: Path) -> None:
    with tarfile.open(path, "w:gz") as target:
        for name, mode in (("ollama", 0o755), ("libggml-base.dylib", 0o644)):
            member = tarfile.TarInfo(name)
            content = OLLAMA.read_bytes()
            member.size, member.mode = len(content), mode
            target.addfile(member, BytesIO(content))


def test_a_program_is_unpacked(mac: FakeMac) -> None:
    archive(mac.directory / "ollama.tgz")
    place = f"{mac.directory}/programs/ollama/0123"
    packed = f"{mac.directory}/ollama.tgz"
    done = mac.script("program.sh", "unpack", packed, place, "ollama")
    assert done.returncode == 0, done.stdout + done.stderr
    program = Path(place) / "ollama"
    assert program.resolve() == Path(place) / "files" / "ollama"
    assert (Path(place) / "files" / "libggml-base.dylib").is_file()


class Ollama(FakeMac):
    """The Mac with a daemon of Ollama, whose models are files."""

    @property
    def home(self) -> Path:
        return self.directory / "home"

    def install(self) -> None:
        self.home.mkdir()
        archive(self.directory / "ollama.tgz")
        place = f"{self.directory}/program"
        self.script("program.sh", "unpack", f"{self.directory}/ollama.tgz", place, "ollama")
        service = self.directory / "services" / NAME
        service.mkdir()
        marks = {
            "User": "ollama",
            "Program": f"{place}/ollama",
            "Listens": "10.0.0.21:8000",
            "Directory": str(self.home),
        }
        text = "".join(f"{name}={value}\n" for name, value in marks.items())
        (service / "marks").write_text(text)

    def models(
        self, *arguments: str, stdin: str = "", fails: str = ""
    ) -> subprocess.CompletedProcess[str]:
        return self.script("ollama.sh", *arguments, stdin=stdin, FAKE_OLLAMA_FAILS=fails)

    @property
    def found(self) -> ModelStore:
        done = self.shell(look_at_models(NAME, "", "", str(self.home)), FAKE_OLLAMA_FAILS="")
        return parse_models(split_sections(done.stdout.splitlines()))


@pytest.fixture
def ollama(tmp_path: Path) -> Ollama:
    mac = Ollama(tmp_path / "mac")
    mac.install()
    return mac


def store_of(text: str, source: str) -> ModelStore:
    return ModelStore(
        made={"tiny:latest": MadeModel(source, sha256(text))},
        digests={MANIFEST: sha256(text)},
        loaded=frozenset({"tiny:latest"}),
    )


def test_a_model_is_pulled_as_the_daemons_account(ollama: Ollama) -> None:
    done = ollama.models("pull", NAME, "tiny:latest", MANIFEST, "library")
    assert done.returncode == 0, done.stdout + done.stderr
    assert ollama.found == store_of("from the library\n", "library")
    assert "sudo ollama" in ollama.log


def test_a_model_is_created_from_a_file(ollama: Ollama) -> None:
    text = "FROM /var/lib/atelier/models/0123/tiny.gguf\n"
    done = ollama.models("create", NAME, "tiny:latest", MANIFEST, "one", stdin=text)
    assert done.returncode == 0, done.stdout + done.stderr
    assert ollama.found == store_of(text, "one")
    assert not list(ollama.directory.glob("tmp.*"))


def test_what_was_there_stays_when_the_new_one_fails(ollama: Ollama) -> None:
    ollama.models("create", NAME, "tiny:latest", MANIFEST, "one", stdin="FROM a\n")
    second = ("create", NAME, "tiny:latest", MANIFEST, "two")
    done = ollama.models(*second, stdin="FROM b\n", fails="create")
    assert done.returncode == 1
    assert "what was there before still serves" in done.stdout
    assert ollama.found == store_of("FROM a\n", "one")


def test_a_pull_that_fails_says_why_in_plain_text(ollama: Ollama) -> None:
    done = ollama.models("pull", NAME, "tiny:latest", MANIFEST, "library", fails="pull")
    assert done.returncode == 1
    assert (
        done.stdout
        == "tiny:latest was not pulled:\n    pulling manifest \n    Error: pull failed\n"
    )


def test_a_model_that_is_not_wanted_any_more_goes(ollama: Ollama) -> None:
    ollama.models("pull", NAME, "tiny:latest", MANIFEST, "library")
    assert ollama.models("remove", NAME, "tiny:latest").returncode == 0
    assert (ollama.found.made, ollama.found.digests) == ({}, {})


LOOPBACK = "tcp4 0 0 127.0.0.1.8000 *.* LISTEN\n"
"""What only the link on the Mac reaches."""


@pytest.mark.parametrize(
    ("sockets", "is_quiet"),
    [
        ("tcp4 0 0 10.0.0.21.8000 10.0.0.20.51000 ESTABLISHED\n", False),
        ("tcp4 0 0 10.0.0.21.8000 10.0.0.20.51000 TIME_WAIT\n", True),
        ("tcp4 0 0 10.0.0.21.18000 10.0.0.20.51000 ESTABLISHED\n", True),
        ("tcp4 0 0 10.0.0.21.51000 10.0.0.20.8000 ESTABLISHED\n", True),
        ("tcp4 0 0 127.0.0.1.8000 127.0.0.1.51000 ESTABLISHED\n", True),
        (f"{LOOPBACK}tcp4 0 0 127.0.0.1.8000 127.0.0.1.51000 ESTABLISHED\n", False),
        (f"{LOOPBACK}tcp4 0 0 127.0.0.1.8000 127.0.0.1.51000 TIME_WAIT\n", True),
        (f"{LOOPBACK}tcp4 0 0 127.0.0.1.8001 127.0.0.1.51000 ESTABLISHED\n", True),
    ],
)
def test_answers_that_have_begun_are_waited_for(mac: FakeMac, sockets: str, is_quiet: bool) -> None:
    (mac.directory / "sockets").write_text(sockets)
    functions = read_script("drain.sh")
    functions = functions[functions.index("is_quiet_on_mac() {") : functions.index("\n# no conn")]
    assert mac.shell(f"{functions}\nis_quiet_on_mac 8000").returncode == int(not is_quiet)
    assert mac.script("drain.sh", "quiet", "-", "8000", "1").returncode == 0


def test_the_lock_of_a_deployment_without_flock(mac: FakeMac) -> None:
    place = f"{mac.directory}/deployments/demo"
    done = mac.script("lock.sh", "hold", place, stdin='{"who":"me"}\ndone\n')
    assert '"lock":"taken"' in done.stdout
    assert not Path(place).exists()
