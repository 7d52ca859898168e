"""Archives are read whole, to the last image, or not at all."""

import io
import tarfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alexnet_repro.common.errors import UserError
from alexnet_repro.training.data.archives import contents, list_class_archives, packed

from ..files import tar


def images(count=5, start=0):
    return {f"{i}.JPEG": bytes([i]) * (300 + 400 * i) for i in range(start, start + count)}


def write(folder, content):
    path = folder / "some.tar"
    path.write_bytes(content)
    return path


def read(files):
    found = {}
    for each in files:
        with open(each.path, "rb") as file:
            file.seek(each.offset)
            found[each.name] = file.read(each.size)
    return found


@pytest.mark.parametrize("form", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_nothing_is_unpacked_and_all_is_there(tmp_path, form):
    named = {f"n01/{'long' * 40}/{name}": content for name, content in images().items()}
    form = tarfile.GNU_FORMAT if form == tarfile.USTAR_FORMAT else form
    assert read(packed(write(tmp_path, tar(named, form=form)))) == images()
    outer = {f"n{i:02d}.tar": tar(images(3, i), form=form) for i in range(3)}
    classes = list_class_archives(write(tmp_path, tar(outer, form=form)))
    assert {name: read(files) for name, files in classes.items()} == {f"n{i:02d}": images(3, i) for i in range(3)}


def header(content, number):
    """Where the header of a member of ``tar(images())`` begins."""
    with tarfile.open(fileobj=io.BytesIO(content)) as archive:
        return archive.getmembers()[number].offset


@pytest.mark.parametrize("number", range(5))
def test_a_damaged_header_is_no_end(tmp_path, number):
    for damage in (b"\xff", bytes(512)):
        content = bytearray(tar(images()))
        at = header(content, number)
        content[at : at + len(damage)] = damage
        with pytest.raises(UserError, match=r"some\.tar is damaged .*: fetch it again") as caught:
            packed(write(tmp_path, bytes(content)))
        assert caught.value.code == 1


def test_a_cut_is_no_end(tmp_path):
    content = tar(images())
    for end in [*range(512, header(content, 4) + 3 * 512, 512), 100, 0]:
        with pytest.raises(UserError, match="is damaged"):
            packed(write(tmp_path, content[:end]))


def test_two_archives_in_one_file_are_refused(tmp_path):
    with pytest.raises(UserError, match="breaks off"):
        packed(write(tmp_path, tar(images()) + tar(images())))


@pytest.mark.parametrize("size", [-512, -(2**40), 2**40])
def test_a_size_that_leads_back_or_beyond_is_refused(tmp_path, size):
    content = bytearray(tar(images()))
    with tarfile.open(fileobj=io.BytesIO(content)) as archive:
        member = archive.getmembers()[2]
    member.size = size
    content[member.offset : member.offset + 512] = member.tobuf(tarfile.GNU_FORMAT)
    with pytest.raises(UserError, match="is damaged"):
        packed(write(tmp_path, bytes(content)))


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE])
def test_what_is_no_plain_file_in_an_archive_is_refused(tmp_path, kind):
    with pytest.raises(UserError, match=r"holds 0\.JPEG, which is no plain file: unpack it"):
        packed(write(tmp_path, tar({"0.JPEG": b""}, type=kind, linkname="1.JPEG")))


def test_an_image_in_no_class_archive_is_refused(tmp_path):
    with pytest.raises(UserError, match=r"holds n01/0\.JPEG, which is no archive of a class"):
        list_class_archives(write(tmp_path, tar({"n02.tar": tar(images()), "n01/0.JPEG": b"x"})))
    with pytest.raises(UserError, match=r"holds n02\.tar twice"):
        list_class_archives(write(tmp_path, tar({"n02.tar": tar(images()), "more/n02.tar": tar(images())})))


def test_a_class_archive_that_is_cut_within_a_whole_one(tmp_path):
    inner = tar(images())
    with pytest.raises(UserError, match="is damaged"):
        list_class_archives(write(tmp_path, tar({"n01.tar": inner, "n02.tar": inner[: header(inner, 3)]})))


SOUND = [
    tar(images(3)),
    tar({f"n{i}.tar": tar(images(2, i)) for i in range(2)}),
    tar({"x" * 150: b"long"}, form=tarfile.GNU_FORMAT),
]


@given(
    st.sampled_from(SOUND),
    st.lists(st.tuples(st.integers(0, 20_000), st.integers(0, 255)), max_size=4),
    st.one_of(st.none(), st.integers(0, 20_000)),
)
def test_flipped_bytes_and_cuts(tmp_path_factory, content, flips, end):
    spoiled = bytearray(content[:end])
    for at, value in flips:
        if spoiled:
            spoiled[at % len(spoiled)] = value
    path = write(tmp_path_factory.mktemp("tar"), bytes(spoiled))
    whole = [len(list(packed(write(path.parent, content))))]
    path.write_bytes(spoiled)
    for reader in (packed, list_class_archives, lambda path: contents(path, lambda name: True)):
        try:
            found = reader(path)
        except UserError as error:
            said = error
        else:
            said = UserError("", 1)
            assert reader is not packed or len(found) in whole
        assert said.code == 1
    assert Path(path).is_file()
