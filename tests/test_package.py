"""Installed package: one import name, a lazy public API, and a complete file list."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

import mimicam

if sys.version_info >= (3, 11):
    import tomllib
else:
    tomllib = pytest.importorskip("tomli")

ROOT = Path(__file__).parents[1]
EXTRAS = ("dev", "virtualcam", "webrtc", "train")
FOLDERS = ("engine", "kernels", "export", "training", "benchmarks")


def _run(code: str, folder: Path) -> str:
    """Return standard output of a fresh interpreter, started in ``folder``."""
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=folder, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def _folder(package: str) -> Path:
    """Return the folder of a package in the checkout."""
    return ROOT.joinpath(*(package.split(".")[1:] or ["mimicam"]))


def test_every_folder_of_code_and_data_is_installed() -> None:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["setuptools"]
    folders = [path.parent for folder in FOLDERS for path in (ROOT / folder).rglob("__init__.py")]
    for package, patterns in settings["package-data"].items():
        folders += [
            path.parent for pattern in patterns for path in _folder(package).glob(pattern) if path.is_file()
        ]
    found = {
        "mimicam." + ".".join(folder.relative_to(ROOT).parts)
        for folder in folders
        if folder != ROOT / "mimicam"
    }
    assert set(settings["packages"]) == {"mimicam", *found}


@pytest.mark.parametrize(
    ("folder", "file"),
    [("engine/models", "family.py"), ("training", "recipe.py")],
    ids=["families", "recipes"],
)
def test_a_contract_names_every_family_and_recipe(folder: str, file: str) -> None:
    package = f"mimicam.{folder.replace('/', '.')}"
    there = {f"{package}.{path.parent.name}" for path in (ROOT / folder).glob(f"*/{file}")}
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["importlinter"]
    apart = [set(each["modules"]) for each in contracts["contracts"] if each["type"] == "independence"]
    assert there in apart, "a folder that no contract names may import its neighbours"


def test_the_tested_versions_fit_the_floors() -> None:
    requirements = pytest.importorskip("packaging.requirements")
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    pins = {}
    for line in (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines():
        if line and not line.startswith("#"):
            pin = requirements.Requirement(line)
            (version,) = pin.specifier
            pins[pin.name] = version.version
    extras = settings["optional-dependencies"]
    needed = settings["dependencies"] + [text for name in EXTRAS for text in extras[name]]
    for need in map(requirements.Requirement, needed):
        if need.name != "torch":  # the Makefile names its version
            assert need.specifier.contains(pins[need.name]), f"{need}, but {pins[need.name]} is tested"


def test_actions_are_pinned_by_hash() -> None:
    for path in (ROOT / ".github" / "workflows").glob("*.yml"):
        for used in re.findall(r"uses: (\S+.*)", path.read_text(encoding="utf-8")):
            assert re.fullmatch(r"[\w./-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+", used), f"{path.name}: {used}"


def test_every_public_name_is_there_and_documented() -> None:
    for name in mimicam.__all__:
        assert (getattr(mimicam, name).__doc__ or "").strip(), name


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'imaginary'"):
        _ = mimicam.imaginary


def test_the_import_loads_nothing_else(tmp_path: Path) -> None:
    code = (
        "import sys, mimicam; print([n for n in ('numpy', 'cv2', 'openvino', 'torch') if n in sys.modules])"
    )
    assert _run(code, tmp_path) == "[]"


def test_help_lists_the_public_names(tmp_path: Path) -> None:
    text = _run("import mimicam; help(mimicam)", tmp_path)
    assert "Load a model, enroll a portrait with it" in text
    for name in ("load_model", "enroll", "render", "class Pipeline"):
        assert name in text


@pytest.mark.parametrize("name", FOLDERS)
def test_a_foreign_package_of_the_same_name_is_left_alone(name: str, tmp_path: Path) -> None:
    """``kernels`` is a widely used package name, so installing it must stay possible."""
    (tmp_path / name).mkdir()
    (tmp_path / name / "__init__.py").write_text("FOREIGN = True\n", encoding="utf-8")
    code = f"import {name}, mimicam.{name} as ours; print({name}.FOREIGN, hasattr(ours, 'FOREIGN'))"
    assert _run(code, tmp_path) == "True False"
