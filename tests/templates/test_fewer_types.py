"""The step of LiteLLM's build that takes unused types out of Prisma's generated client."""

from __future__ import annotations

import runpy
import subprocess
import sys
from pathlib import Path

from deploy.render import TEMPLATES

PLACE = TEMPLATES / "images" / "litellm" / "fewer-types.py"
GENERATED = '''
from typing_extensions import TypedDict


class TeamIncludeFromKey(TypedDict, total=False):
    """Relational arguments for Key"""


class TeamArgsFromKey(TypedDict, total=False):
    """Arguments for Key"""
    include: 'TeamIncludeFromTeam'


class FindManyTeamArgsFromKey(TypedDict, total=False):
    """Arguments for Key"""
    take: int


class FindManyTeamArgsFromTeam(TypedDict, total=False):
    """Arguments for Team"""
    take: int


FindManyTeamArgs = FindManyTeamArgsFromTeam


class TeamCreateInput(TypedDict):
    keys: 'KeyArgsFromTeam'
'''


def run(path: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, PLACE, path], capture_output=True, text=True)


def test_types_of_pairs_go_and_those_of_a_table_with_itself_stay(tmp_path: Path) -> None:
    path = tmp_path / "types.py"
    path.write_text(GENERATED)
    assert run(path).returncode == 0
    classes = {name for name, value in runpy.run_path(str(path)).items() if type(value) is not str}
    left = {name for name in classes if name.startswith(("Team", "FindMany"))}
    assert left == {"FindManyTeamArgsFromTeam", "FindManyTeamArgs", "TeamCreateInput"}


def test_another_generator_ends_the_build(tmp_path: Path) -> None:
    path = tmp_path / "types.py"
    path.write_text("class Team:\n    pass\n")
    done = run(path)
    assert done.returncode == 1
    assert "no types of pairs of tables are found" in done.stderr
    assert path.read_text() == "class Team:\n    pass\n"
