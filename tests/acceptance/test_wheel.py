"""What `pip install blankforms-*.whl` gives: the whole system, in an empty folder, without the source tree."""

from __future__ import annotations

import subprocess
import sys
import zipfile

import pytest

from tests.conftest import ROOT, environment


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """Built by the backend that the lock pins, with no network."""
    folder = tmp_path_factory.mktemp("wheel")
    subprocess.run(
        [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation",
         "--no-index", "--wheel-dir", str(folder), str(ROOT)],
        check=True, capture_output=True,
    )  # fmt: skip
    (made,) = folder.glob("blankforms-*.whl")
    return made


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory):
    """A virtual environment with what the lock pins and the wheel, as the page says."""
    folder = tmp_path_factory.mktemp("venv")
    subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
    pip = [str(folder / "bin" / "pip"), "install", "--quiet", "--disable-pip-version-check"]
    lock = str(ROOT / "requirements.lock")
    subprocess.run([*pip, "--require-hashes", "-r", lock], check=True)
    subprocess.run([*pip, "--no-deps", str(wheel)], check=True)
    return folder / "bin" / "blankforms"


def test_it_holds_what_the_system_needs_and_nothing_of_the_tests(wheel):
    names = zipfile.ZipFile(wheel).namelist()
    for wanted in ("Procfile", ".env.example", "samples/faults.json", "samples/月末核销.xlsx"):
        assert f"cli/files/{wanted}" in names
    assert any(name.startswith("models/migrations/versions/0001") for name in names)
    assert not [name for name in names if name.startswith(("tests/", "bench/"))]


@pytest.mark.timeout(900)
def test_the_demonstration_runs_in_an_empty_folder(installed, tmp_path):
    home = {k: v for k, v in environment(tmp_path).items() if k != "BLANKFORMS_HOME"}

    def run(*arguments):
        return subprocess.run([str(installed), *arguments], cwd=tmp_path, env=home, capture_output=True,
                              text=True, check=False, stdin=subprocess.DEVNULL)  # fmt: skip

    assert run("--version").stdout.startswith("blankforms ")
    done = run("demo")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "演示完成" in done.stdout
    assert "全部成立" in done.stderr + done.stdout
    assert [p for p in (tmp_path / "var").rglob("*") if p.stat().st_mode & 0o077] == []
