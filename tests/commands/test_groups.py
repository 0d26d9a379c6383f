"""Groups of commands, their overviews, and the names that commands had before they were grouped."""

import subprocess
import sys
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

from mimicam.engine.commands import main, old_names, registry
from mimicam.engine.commands.old_names import with_new_names
from mimicam.engine.commands.registry import ENTRY_POINTS, Registry

ROOT = Path(__file__).parents[2]
GROUPED = {
    ("models", "list"), ("models", "verify"), ("models", "import"), ("models", "bundle"),
    ("preset", "record"), ("preset", "list"), ("preset", "show"),
    ("train", "compact"), ("train", "dpe"), ("train", "daegan"), ("train", "name-branches"),
    ("train", "daegan-ablation"), ("figure", "disentangle"),
    ("data", "prepare"), ("data", "pack"), ("data", "render"), ("data", "pack-rendered"), ("data", "reexpress"),
}  # fmt: skip


@pytest.fixture
def hello(monkeypatch: pytest.MonkeyPatch) -> None:
    """A group of another package with one command."""
    point = EntryPoint("greet.hello", "tests.commands.hello:Hello", ENTRY_POINTS)
    monkeypatch.setattr(registry, "entry_points", lambda group: [point] if group == ENTRY_POINTS else [])


def test_the_grouped_commands_are_the_contract() -> None:
    assert {words for words in Registry().names if len(words) > 1} == GROUPED


@pytest.mark.parametrize("group", ["models", "preset", "train", "data", "figure"])
def test_a_group_lists_its_commands(group: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([group, "--help"]) == 0
    text = capsys.readouterr().out
    assert " ".join(registry.GROUPS[group].split()[:4]) in text
    assert all(f"• {name}" in text for where, name in GROUPED if where == group)


def test_a_group_without_a_command_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["models"]) == 1
    assert "models" in capsys.readouterr().err


@pytest.mark.parametrize("words", [["dance"], ["train", "dance"]])
def test_an_unknown_command_is_refused_with_the_known_ones(
    words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(words) == 1
    text = capsys.readouterr().err
    assert "dance" in text
    assert "train" in text


@pytest.mark.usefixtures("hello")
def test_a_group_of_another_package_runs(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["greet", "hello", "--times", "3"]) == 3
    assert main(["greet", "--help"]) == 0
    assert "Ends with the code it is given." in capsys.readouterr().out


def test_overviews_import_no_command() -> None:
    code = (
        "import sys; from mimicam.engine.commands import main\n"
        "assert [main([*words, '--help']) for words in ([], ['train'], ['data'])] == [0, 0, 0]\n"
        "print([n for n in ('torch', 'av', 'openvino', 'moderngl') if n in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


def test_every_command_has_a_summary() -> None:
    for group in ((), ("models",), ("train",), ("data",)):
        for name, command in Registry().overview(group).items():
            assert len(command.__doc__.split()) > 3, name


@pytest.mark.parametrize(("old", "new"), old_names.COMMANDS.items())
def test_an_old_command_runs_under_its_new_name(
    old: str, new: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert tuple(new.split()) in Registry().names
    assert with_new_names([old, "--out", "x"]) == [*new.split(), "--out", "x"]
    assert (
        capsys.readouterr().err
        == f"note: 'mimicam {old}' is now 'mimicam {new}'; the next release drops the old name\n"
    )


def test_train_with_options_trains_the_compact_preset(capsys: pytest.CaptureFixture[str]) -> None:
    assert with_new_names(["train", "--pack", "x"]) == ["train", "compact", "--pack", "x"]
    assert "mimicam train compact" in capsys.readouterr().err


@pytest.mark.parametrize(
    "words", [[], ["train"], ["train", "--help"], ["train", "dpe", "--out", "x"], ["run"]]
)
def test_new_names_pass_without_a_note(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert with_new_names(words) == words
    assert capsys.readouterr().err == ""


def test_old_options_are_replaced_and_noted(capsys: pytest.CaptureFixture[str]) -> None:
    given = ["train", "--strangers", "2", "--fitted=packs/a", "--out", "x"]
    wanted = ["train", "compact", "--cross-identity", "2", "--reexpressed=packs/a", "--out", "x"]
    assert with_new_names(given) == wanted
    assert len(capsys.readouterr().err.splitlines()) == 3
    assert with_new_names(["render", "--fitted"]) == ["render", "--fitted"], "an option of another command"
