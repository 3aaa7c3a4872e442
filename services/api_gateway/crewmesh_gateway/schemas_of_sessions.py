"""The shapes of a browser's session."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import BaseModel, Field, model_validator

from crewmesh_gateway.params import CREDENTIAL
from crewmesh_gateway.schemas import Input


class BeginSession(Input):
    """An API key, or an e-mail address and a password."""

    api_key: Annotated[str | None, Field(pattern=CREDENTIAL)] = None
    email: Annotated[str | None, Field(min_length=1, max_length=320)] = None
    password: Annotated[str | None, Field(min_length=1, max_length=1024)] = None

    @model_validator(mode="after")
    def _is_one_of_both(self) -> Self:
        by_password = self.email is not None and self.password is not None
        if (self.api_key is not None) == by_password:
            raise ValueError("give api_key, or email and password")
        return self


class Session(BaseModel):
    """How this browser's session stands."""

    signed_in: bool
    renew_in_seconds: Annotated[
        float | None, Field(description="When to ask for its renewal; null without a session.")
    ]


class Provider(BaseModel):
    """An identity provider; `url` is a page to go to, on this gateway."""

    label: str
    url: str


class Providers(BaseModel):
    """By whom people may sign in."""

    items: list[Provider]
