"""Tests of the names under which result files are saved."""

from __future__ import annotations

from pathlib import Path, PurePosixPath, PureWindowsPath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eachlabs_async.cli.failures import UsageError
from eachlabs_async.cli.save import check_folder, file_name, file_names


@pytest.mark.parametrize(
    ("url", "name"),
    [
        ("https://x.example/a/b/image.png?token=secret#x", "image.png"),
        ("https://x.example/my%20cat.png", "my cat.png"),
        ("https://x.example/../../x", "x"),
        ("https://x.example/..%2F..%2Fx", "_.._x"),
        ("https://x.example/..%5C..%5Cx.png", "_.._x.png"),
        ("https://x.example/", "result"),
        ("https://x.example", "result"),
        ("https://x.example/..", "result"),
        ("https://x.example/%2e%2e", "result"),
        ("https://x.example/.bashrc", "bashrc"),
        ("https://x.example/a%00b%0a%1b%5b2J.png", "a_b__[2J.png"),
        ("https://x.example/%E2%80%AEgnp.exe", "_gnp.exe"),
        ("https://x.example/CON.png", "_CON.png"),
        ("https://x.example/c:evil", "c_evil"),
        ("https://x.example/name.", "name"),
        ("https://x.example/" + "a" * 300 + ".png", "a" * 147 + ".png"),
    ],
)
def test_a_name_comes_of_the_url_and_stays_in_the_folder(url: str, name: str) -> None:
    """Nothing in it is a path, a hidden file, a device, or a character that a terminal acts on."""
    assert file_name(url) == name


@given(st.text(max_size=300))
def test_no_url_leads_out_of_the_folder(path: str) -> None:
    """On any system, the name is one part of a path, and not too long for a file system."""
    name = file_name(f"https://x.example/{path}")
    assert name
    assert name.isprintable()
    assert not name.startswith(".")
    for kind in (PurePosixPath, PureWindowsPath):
        assert len((kind("folder") / name).parts) == 2
    assert len(name.encode()) <= 255


def test_equal_names_are_numbered() -> None:
    """Each URL gets a file of its own, also where capitals make no difference, and none that is there is replaced."""
    urls = [f"https://x.example/{n}/Image.png" for n in range(3)] + [
        "https://x.example/image.PNG",
        "https://x.example/",
    ]
    assert file_names(urls, ["image-2.png", "result"]) == [
        "Image.png",
        "Image-3.png",
        "Image-4.png",
        "image-5.PNG",
        "result-2",
    ]


def test_a_folder_that_cannot_be_is_refused_at_once(tmp_path: Path) -> None:
    """Before anything is paid for."""
    check_folder(tmp_path / "a" / "b")
    assert (tmp_path / "a" / "b").is_dir()
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="--save: .*file"):
        check_folder(tmp_path / "file")
