"""Shards: made, indexed, refused."""

from __future__ import annotations

import gzip
import io
import json
import os
import tarfile
from pathlib import Path

import fsspec
import pytest
from sharded import own_folder, samples, tar_of

from workbench.config import DataConfig
from workbench.data import describe, read_index
from workbench.data.__main__ import main
from workbench.data.decode import decode
from workbench.data.shards import locations, members, scan
from workbench.data.shards.scan import samples_of
from workbench.errors import UserError

DATA = DataConfig(name="shards")
REAL = Path(__file__).parents[3] / "shared/data/edge_cases/video2dataset/return_all_test.tar"


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return own_folder(tmp_path_factory.mktemp("own") / "clips")


def settle(path: Path) -> None:
    """As if it was written some time ago: what is fresh is not remembered."""
    os.utime(path, ns=(10**18, 10**18))


class TestMade:
    def test_they_say_what_the_folder_says(self, own: Path, tmp_path: Path) -> None:
        assert main(["shard", str(own), "--into", str(tmp_path / "set"), "--clips", "10"]) == 0
        assert sorted(path.name for path in (tmp_path / "set").glob("*.tar")) == [
            "test-000000.tar",
            "train-000000.tar",
            "train-000001.tar",
            "train-000002.tar",
            "val-000000.tar",
        ]
        before = read_index(DataConfig(name="folder"), str(own))
        after = read_index(DATA, str(tmp_path / "set"))
        for split in ("train", "val", "test"):
            pairs = [[clip for clip in one.clips if clip.split == split] for one in (before, after)]
            assert [clip.captions for clip in pairs[0]] == [clip.captions for clip in pairs[1]]
            for one, other in zip(*pairs, strict=True):
                assert other.member is not None
                assert locations.read(*other.member) == (own / one.path).read_bytes()

    def test_a_second_call_goes_on_where_the_first_was_cut_off(self, own: Path, tmp_path: Path) -> None:
        into = tmp_path / "set"
        command = ["shard", str(own), "--into", str(into), "--clips", "10"]
        assert main(command) == 0
        whole = {path.name: path.read_bytes() for path in into.iterdir()}
        (into / "train-000001.tar").write_bytes(whole["train-000001.tar"][:-5000])  # a copy that was cut
        flipped = bytearray(whole["train-000002.tar"])
        flipped[3000] ^= 1
        (into / "train-000002.tar").write_bytes(flipped)
        (into / "val-000000.tar").unlink()
        settle(into / "train-000000.tar")
        assert main(command) == 0
        assert {path.name: path.read_bytes() for path in into.iterdir()} == whole
        assert (into / "train-000000.tar").stat().st_mtime_ns == 10**18, "it was whole"

    def test_a_folder_of_other_shards_is_left_alone(
        self, own: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        (tmp_path / "a.tar").write_bytes(b"mine")
        assert main(["shard", str(own), "--into", str(tmp_path)]) == 2
        assert "holds other shards, such as a.tar" in capsys.readouterr().err
        assert main(["shard", str(own), "--into", str(tmp_path / "set"), "--clips", "10"]) == 0
        assert main(["shard", str(own), "--into", str(tmp_path / "set"), "--clips", "11"]) == 2
        assert "another number of clips" in capsys.readouterr().err
        assert [path.name for path in tmp_path.iterdir() if path.is_file()] == ["a.tar"]

    def test_a_clip_that_is_not_there_is_named(
        self, own: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        copy = tmp_path / "copy"
        copy.mkdir()
        for path in own.iterdir():
            (copy / path.name).write_bytes(path.read_bytes())
        (copy / "05.mp4").unlink()
        assert main(["shard", str(copy), "--into", str(tmp_path / "set")]) == 1
        assert "05.mp4: No such file" in capsys.readouterr().err
        assert len(read_index(DATA, str(tmp_path / "set")).clips) == 30

    def test_a_shard_that_its_list_does_not_know_is_refused(self, own: Path, tmp_path: Path) -> None:
        assert main(["shard", str(own), "--into", str(tmp_path)]) == 0
        shard = tmp_path / "val-000000.tar"
        flipped = bytearray(shard.read_bytes())
        flipped[600] ^= 1
        shard.write_bytes(flipped)
        with pytest.raises(UserError, match=r"val-000000\.tar is not the shard that"):
            describe(DATA, str(tmp_path))


def odd(name: str, kind: bytes, target: str = "") -> bytes:
    whole = io.BytesIO()
    with tarfile.open(fileobj=whole, mode="w") as tar:
        member = tarfile.TarInfo(name)
        member.type, member.linkname = kind, target
        tar.addfile(member)
    return whole.getvalue()


REFUSED = {
    "climbs": (tar_of([("../out.mp4", b"x"), *samples(2)]), "leads out of it"),
    "climbs inside": (tar_of([("a/../../out.mp4", b"x")]), "leads out of it"),
    "absolute": (tar_of([("/tmp/out.mp4", b"x")]), "leads out of it"),
    "link": (odd("00000.mp4", tarfile.SYMTYPE, "/etc/passwd"), "must be a plain file, not a link"),
    "hard link": (odd("00000.mp4", tarfile.LNKTYPE, "00001.mp4"), "must be a plain file, not a link"),
    "device": (odd("00000.mp4", tarfile.CHRTYPE), "must be a plain file"),
    "twice": (tar_of([*samples(2), *samples(1)]), r"00000\.mp4 twice"),
    "packed": (gzip.compress(tar_of(samples(2))), "cut short or is not a plain tar"),
    "no tar": (b"x" * 5000, "cut short or is not a plain tar"),
    "empty": (b"", "cut short or is not a plain tar"),
    "no captions": (tar_of([("0.mp4", b"x"), ("1.mp4", b"x")]), "no sample of .* can be used"),
}


class TestRefused:
    @pytest.mark.parametrize("kind", REFUSED)
    def test_in_one_sentence_and_nothing_is_written(
        self, kind: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        content, message = REFUSED[kind]
        (tmp_path / "in").mkdir()
        shard = tmp_path / "in" / "a.tar"
        shard.write_bytes(content)
        with pytest.raises(UserError, match=message) as caught:
            describe(DATA, str(shard), root=tmp_path / "root")
        assert "\n" not in str(caught.value)
        assert str(shard) in str(caught.value)
        assert main(["check", f"shards:{shard}"]) == 2
        assert str(caught.value) in capsys.readouterr().err
        assert [path for path in tmp_path.rglob("*") if path.is_file()] == [shard]

    def test_a_shard_that_is_cut_anywhere(self, tmp_path: Path) -> None:
        whole = tar_of(samples(3))
        end = 3 * (512 + 1024 + 512 + 512)  # headers and contents in whole blocks
        assert whole[end:] == bytes(len(whole) - end)
        shard = tmp_path / "a.tar"
        for size in (*range(0, end, 512), 100, 700, end - 1):
            shard.write_bytes(whole[:size])
            with pytest.raises(UserError, match="cut short"):
                scan.scan(str(shard))
        shard.write_bytes(whole[: end + 1024])
        assert len(scan.scan(str(shard))) == 3

    @pytest.mark.parametrize(
        ("pattern", "message"),
        [
            ("nowhere/*.tar", "there is no shard nowhere"),
            ("{0..9999999}.tar", "more than 1,000,000 shards"),
            ("pipe:cat a.tar", "a pipe cannot be read at a place"),
            ("nosuch://bucket/a.tar", "cannot be read: Protocol not known: nosuch"),
            ("memory://nowhere/a.tar", "there is no shard"),
        ],
    )
    def test_places_where_nothing_is(self, pattern: str, message: str) -> None:
        with pytest.raises(UserError, match=message):
            locations.expand(pattern)


class TestRead:
    def test_samples_without_caption_or_video_are_left_out_and_said(self, tmp_path: Path) -> None:
        files = samples(6) + [("90.mp4", b"x"), ("91.txt", b"x"), ("92.mp4", b"x"), ("92.json", b"{")]
        (tmp_path / "a.tar").write_bytes(tar_of(files))
        found = read_index(DATA, str(tmp_path))
        assert len(found.clips) == 6
        assert found.notes[0] == "3 of 9 samples are left out, such as a/90 (it has no caption)"
        assert {clip.split for clip in found.clips} == {"train", "val", "test"}
        assert "1 clips of train each" in found.notes[1]

    def test_captions_come_from_json_or_text(self, tmp_path: Path) -> None:
        said = {"caption": "of the JSON", "split": "of another program", "start": "no time"}
        files = [
            ("a/0.jpg", b"x"), ("a/0.json", json.dumps(said).encode()),
            ("a/1.webp", b"x"), ("a/1.json", json.dumps(said).encode()), ("a/1.txt", b" of  the text\n"),
            ("a/2.mp4", b"x"), ("a/2.jpg", b"x"), ("a/2.json", b'{"captions": ["one", "two"]}'),
            ("a/__meta.json", b"{"), ("a/.DS_Store", b"x"),
        ]  # fmt: skip
        (tmp_path / "a.tar").write_bytes(tar_of(files))
        found = scan.scan(str(tmp_path / "a.tar"))
        assert [(one.key, one.suffix, *one.captions) for one in found] == [
            ("a/0", ".jpg", "of the JSON"),
            ("a/1", ".webp", "of the text"),
            ("a/2", ".mp4", "one", "two"),
        ]
        assert all(one.own == {} for one in found), "what other programs say of splits is not ours"

    def test_halves_of_signs_are_joined_or_replaced(self, tmp_path: Path) -> None:
        files = [("0.mp4", b"x"), ("0.json", rb'{"captions": ["a \ud83d b", "a \ud83d\ude00 b"]}')]
        (tmp_path / "a.tar").write_bytes(tar_of(files))
        (found,) = scan.scan(str(tmp_path / "a.tar"))
        assert found.captions == ("a \ufffd b", "a \U0001f600 b")

    def test_what_was_found_is_kept_until_the_shard_changes(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        shard, kept = tmp_path / "a.tar", tmp_path / "kept"
        shard.write_bytes(tar_of(samples(3)))
        settle(shard)
        first = samples_of(str(shard), kept)
        read = []
        monkeypatch.setattr(scan, "scan", lambda address: read.append(address) or first)
        assert samples_of(str(shard), kept) == first
        assert read == []
        (file,) = kept.iterdir()
        file.write_text(file.read_text().replace("clip 1", "clap 1"))
        assert samples_of(str(shard), kept) == first, "a damaged file is not believed"
        assert len(read) == 1
        assert samples_of(str(shard), kept) == first
        assert len(read) == 1
        os.utime(shard, ns=(10**18, 10**18 + 1))
        samples_of(str(shard), kept)
        assert len(read) == 2

    def test_the_digest_follows_the_content(self, tmp_path: Path) -> None:
        shard = tmp_path / "a.tar"
        digests = set()
        for old, new in ((b"?", b"?"), (b"clip 2", b"clip 7"), (bytes([3]) * 603, bytes([7]) * 603)):
            shard.write_bytes(tar_of(samples(6)).replace(old, new))
            digests.add(describe(DATA, str(shard)).data.digest)
        assert len(digests) == 3

    def test_names_with_braces_stand_for_many(self, tmp_path: Path) -> None:
        for name in ("train-008.tar", "train-009.tar", "train-010.tar", "val.tar"):
            (tmp_path / name).touch()
        found = locations.expand(f"{tmp_path}/{{train-009,val}}.tar")
        assert [Path(one).name for one in found] == ["train-009.tar", "val.tar"]
        assert len(locations.expand(f"{tmp_path}/train-{{008..010}}.tar")) == 3
        assert len(locations.expand(f"{tmp_path}/train-*.tar")) == 3
        assert len(locations.expand(str(tmp_path))) == 4

    def test_addresses_that_fsspec_knows(self, tmp_path: Path) -> None:
        content = tar_of(samples(4))
        (tmp_path / "a.tar").write_bytes(content)
        fsspec.filesystem("memory").pipe_file("/set/a.tar", content)
        local = scan.scan(str(tmp_path / "a.tar"))
        for pattern in ("memory://set/*.tar", "memory://set", f"file://{tmp_path}/a.tar"):
            (address,) = locations.expand(pattern)
            assert samples_of(address, tmp_path / "kept") == local
            assert locations.read(address, local[2].offset, local[2].size) == bytes([2]) * 602
            with pytest.raises(UserError, match="shorter than when it was indexed"):
                locations.read(address, len(content) - 10, 20)

    @pytest.mark.skipif(not REAL.exists(), reason="the shard of video2dataset is not here")
    def test_a_shard_of_video2dataset(self) -> None:
        found = scan.scan(str(REAL))
        assert [one.problem for one in found] == [""] * 6
        assert found[0].captions[0].startswith("Banksy Bashes Design of World Trade Center")
        for one in found:
            member = [str(REAL), one.offset, one.size]
            answer, payload = members.decode_task({"member": member, "count": 2, "size": 32})
            assert "reason" not in answer
            assert len(payload) == 2 * 32 * 32 * 3


def test_a_member_is_decoded_as_the_file_is(own: Path, tmp_path: Path) -> None:
    clip = (own / "07.mp4").read_bytes()
    (tmp_path / "a.tar").write_bytes(tar_of([("0.mp4", clip), ("0.txt", b"x")]))
    (one,) = scan.scan(str(tmp_path / "a.tar"))
    task = {"member": [str(tmp_path / "a.tar"), one.offset, one.size], "count": 4, "size": 16}
    answer, payload = members.decode_task(task)
    assert payload == decode(own / "07.mp4", 4, 16).tobytes()
    assert answer["read"] >= 0 <= answer["decode"]
    facts, _ = members.examine_task(task)
    assert (facts["codec"], facts["width"]) == ("h264", 32)
    gone = members.decode_task(task | {"member": [str(tmp_path / "b.tar"), 0, 1]})[0]
    assert gone["unread"]
