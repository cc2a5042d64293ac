"""Which image is used, where it comes from, and when a built one is built again."""

from __future__ import annotations

import io
import shutil
import tarfile
from pathlib import Path

import pytest

from deploy.catalog import Catalog
from deploy.images import builder, make_build_plan, resolve_images
from deploy.render import TEMPLATES, _environment
from tests.conftest import catalog_with, declare

DIGEST = "sha256:" + "0123456789abcdef" * 4


@pytest.fixture
def templates(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the templates that a test may change."""
    copy = tmp_path / "templates"
    shutil.copytree(TEMPLATES, copy)
    for module in ("deploy.render", "deploy.images.build_plan"):
        monkeypatch.setattr(f"{module}.TEMPLATES", copy)
    _environment.cache_clear()
    return copy


@pytest.fixture(autouse=True)
def _fresh_templates() -> None:
    _environment.cache_clear()


def tag(catalog: Catalog, name: str = "litellm") -> str:
    return make_build_plan(name, catalog).tag


def test_the_tag_names_image_version_and_content(catalog: Catalog) -> None:
    name, _, version = tag(catalog).partition(":")
    assert name == "atelier/litellm"
    build = catalog.images["litellm"].build
    assert build is not None
    assert version.rpartition("-")[0] == build.version
    assert tag(catalog) == tag(catalog)


@pytest.mark.parametrize("file", ["Dockerfile.j2", "requirements.txt", "requirements.in"])
def test_the_tag_changes_with_a_file(catalog: Catalog, templates: Path, file: str) -> None:
    before, other = tag(catalog), tag(catalog, "open-webui")
    path = templates / "images" / "litellm" / file
    path.write_text(path.read_text() + "# changed\n")
    _environment.cache_clear()
    assert tag(catalog) != before
    assert tag(catalog, "open-webui") == other


def test_the_tag_changes_with_the_base(catalog: Catalog) -> None:
    build = catalog.images["litellm"].build
    assert build is not None
    base = catalog.bases[build.base]
    richer = base.model_copy(update={"packages": (*base.packages, "tini")})
    changed = catalog_with(bases=catalog.bases | {build.base: richer})
    assert tag(changed) != tag(catalog)
    assert tag(changed, "llama-cpp") == tag(catalog, "llama-cpp")


def test_the_ca_bundle_is_in_the_context_but_not_in_the_tag(
    catalog: Catalog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = tag(catalog)
    bundle = tmp_path / "ca.crt"
    bundle.write_text("our own CA")
    monkeypatch.setattr(builder, "CA_BUNDLE", bundle)
    plan = make_build_plan("litellm", catalog)
    assert plan.tag == before
    with tarfile.open(fileobj=io.BytesIO(builder.make_context(plan))) as context:
        names = context.getnames()
        member = context.extractfile("extra-ca.crt")
        assert member is not None
        assert member.read() == b"our own CA"
    assert sorted(names) == sorted(["extra-ca.crt", *plan.context])
    assert {"Dockerfile", "requirements.txt", "package-lock.json"} < set(names)


@pytest.mark.parametrize("name", ["litellm", "open-webui"])
def test_the_ca_bundle_reaches_build_stages_only(catalog: Catalog, name: str) -> None:
    dockerfile = make_build_plan(name, catalog).context["Dockerfile"]
    build_stage, final_stage = dockerfile.rsplit("\nFROM ", 1)
    assert "extra-ca.crt" in build_stage
    for word in ("extra-ca", "PIP_", "UV_", "NPM_", "ARG"):
        assert word not in final_stage


def test_requirements_are_pinned_with_hashes() -> None:
    for path in TEMPLATES.glob("images/*/requirements.txt"):
        pins = path.read_text().replace("\\\n", " ").splitlines()
        wanted = [pin for pin in pins if pin.strip() and not pin.lstrip().startswith("#")]
        assert wanted
        assert [pin for pin in wanted if "==" not in pin or "--hash=sha256:" not in pin] == []


def test_pulled_images_are_the_catalogues(catalog: Catalog) -> None:
    for name, use in resolve_images(declare(), catalog).items():
        assert use.build is None
        assert use.image.reference == catalog.images[name].reference
        assert use.image.user == catalog.images[name].user


def test_a_known_digest_pins_the_reference(catalog: Catalog) -> None:
    image = catalog.images["litellm"].model_copy(update={"digest": DIGEST})
    pinned = catalog_with(images=catalog.images | {"litellm": image})
    reference = resolve_images(declare(), pinned)["litellm"].image.reference
    assert reference == f"{image.reference}@{DIGEST}"


@pytest.mark.parametrize("mirror", ["registry.lab:5000", "registry.lab:5000/"])
def test_a_mirror_takes_the_registrys_place(catalog: Catalog, mirror: str) -> None:
    use = resolve_images(declare(registry_mirror=mirror), catalog)["llama-cpp"]
    path = catalog.images["llama-cpp"].reference.split("/", 1)[1]
    assert use.image.reference == f"registry.lab:5000/{path}"


def test_built_images_have_a_plan_and_their_own_user(catalog: Catalog) -> None:
    uses = resolve_images(declare(image_source="build"), catalog)
    built = {name: use for name, use in uses.items() if use.build}
    services = {"litellm", "open-webui", "postgres", "rabbitmq", "valkey", "haproxy", "certbot"}
    assert set(built) == services | {"python", "llama-cpp", "ollama", "vllm-cpu"}
    for use in built.values():
        assert use.build is not None
        assert use.image.reference == use.build.tag
    # upstream's needs root and a writable root, ours does not
    pulled = resolve_images(declare(), catalog)["open-webui"].image
    assert (pulled.user, pulled.read_only) == ("", False)
    assert (uses["open-webui"].image.user, uses["open-webui"].image.read_only) == (
        "65534:65534",
        True,
    )


def test_one_image_can_differ(catalog: Catalog) -> None:
    own = {
        "litellm": {"reference": "registry.lab/litellm:v2"},
        "llama-cpp": {"source": "pull"},
    }
    uses = resolve_images(declare(image_source="build", images=own), catalog)
    assert uses["litellm"].image.reference == "registry.lab/litellm:v2"
    assert uses["litellm"].build is None
    assert uses["llama-cpp"].image.reference == catalog.images["llama-cpp"].reference
    assert uses["open-webui"].build is not None


def test_a_reference_of_the_operators_own_is_not_mirrored(catalog: Catalog) -> None:
    own = {"litellm": {"reference": "registry.lab/litellm:v2"}}
    spec = declare(registry_mirror="mirror.lab", images=own)
    assert resolve_images(spec, catalog)["litellm"].image.reference == "registry.lab/litellm:v2"
