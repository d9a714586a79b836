"""Who made a name: told to this process of itself, and to root of everybody."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from lab.kernel.creations import Creations


@pytest.fixture
def listening() -> Iterator[Callable[..., Creations]]:
    made: list[Creations] = []

    def listen(*directories: str | Path) -> Creations:
        try:
            made.append(Creations(map(str, directories)))
        except OSError as refused:
            pytest.skip(f"fanotify is refused: {refused}")
        return made[-1]

    yield listen
    for news in made:
        news.close()


@pytest.mark.skipif(not Path("/dev/shm").is_dir(), reason="there is no /dev/shm")
def test_a_path_comes_with_its_maker(listening: Callable[..., Creations]) -> None:
    news = listening("/dev/shm")
    mine, other = (f"/dev/shm/lab-creations-{os.getpid()}-{each}" for each in ("mine", "other"))
    try:
        os.mkfifo(mine)
        subprocess.run(["touch", other], check=True)
        makers = dict(news.heard())
    finally:
        for path in (mine, other):
            Path(path).unlink(missing_ok=True)

    assert makers[mine] == os.getpid()
    assert makers[other] != os.getpid()


def test_each_path_is_of_the_directory_that_it_is_in(
    listening: Callable[..., Creations], tmp_path: Path
) -> None:
    places = [tmp_path / each for each in ("one", "other", "unheard")]
    for place in places:
        place.mkdir()
    news = listening(*places[:2], "/dev/shm")
    for place in places:
        os.mkfifo(place / "fifo")

    assert dict(news.heard()) == {str(place / "fifo"): os.getpid() for place in places[:2]}
    assert list(news.heard()) == []


def test_a_directory_that_cannot_be_listened_to_is_left_out(
    listening: Callable[..., Creations], tmp_path: Path
) -> None:
    news = listening("/nowhere", tmp_path)
    os.mkfifo(tmp_path / "fifo")

    assert list(news.heard()) == [(str(tmp_path / "fifo"), os.getpid())]
    with pytest.raises(OSError, match="fanotify_mark"):
        Creations(["/nowhere"])


def test_listening_ends(listening: Callable[..., Creations], tmp_path: Path) -> None:
    news = listening(tmp_path)
    link = Path(f"/proc/self/fd/{news.descriptor}")
    assert "fanotify" in os.readlink(link)

    news.close()
    news.close()

    deadline = time.monotonic() + 60
    while link.is_symlink() and "fanotify" in os.readlink(link):
        assert time.monotonic() < deadline
        time.sleep(0.001)  # nothing tells when another thread has closed it
