"""Pydantic settings and field types that the models of several folders share."""

from typing import Annotated

from pydantic import ConfigDict, Field

LONGEST = 2.0**53
"""Counts up to here are exact as floating-point numbers."""
Count = Annotated[int, Field(ge=0, le=int(LONGEST))]
Amount = Annotated[float, Field(ge=0, le=LONGEST)]
PLAIN = r"[A-Za-z0-9][A-Za-z0-9_ .,:+@()/\-]{0,159}"
"""What a page shows of a record and no field of it limits: nothing that a page, a shell or a spreadsheet could take for
its own."""
Plain = Annotated[str, Field(pattern=f"^{PLAIN}$")]
STRICT = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)
