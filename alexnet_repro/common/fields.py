"""The base class of this package's pydantic models, and field types that models in several folders share."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

LONGEST = 2.0**53
"""2^53: whole numbers up to here are exact in double precision."""
Count = Annotated[int, Field(ge=0, le=int(LONGEST))]
Size = Annotated[int, Field(ge=1, lt=2**31)]
Amount = Annotated[float, Field(ge=0, le=LONGEST)]
PLAIN = r"[A-Za-z0-9][A-Za-z0-9_ .,:+@()/\-]{0,159}"
"""Characters allowed in a text of a record that no other rule limits: none that a page, a shell or a spreadsheet would
interpret."""
Plain = Annotated[str, Field(pattern=f"^{PLAIN}$")]


class Strict(BaseModel):
    """A model of exactly its fields, in their own types, that nothing changes once it is made."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)
