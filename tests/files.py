"""Files that tests lay down, loose or in an archive."""

import io
import tarfile
from collections.abc import Mapping
from pathlib import Path


def write(folder: Path, files: Mapping[str, bytes | str]) -> Path:
    """Lay files, by their paths in it, into a folder."""
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
    return folder


def tar(files: Mapping[str, bytes | str], mode: str = "w", form: int = tarfile.PAX_FORMAT, **header: object) -> bytes:
    """The bytes of an archive of these files; ``header`` changes that of each."""
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode=mode, format=form) as archive:
        for name, content in files.items():
            content = content.encode() if isinstance(content, str) else content
            member = tarfile.TarInfo(name)
            member.size = len(content)
            for key, value in header.items():
                setattr(member, key, value)
            archive.addfile(member, io.BytesIO(content))
    return file.getvalue()
