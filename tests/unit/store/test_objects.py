"""Where objects are, as settings say it."""

from __future__ import annotations

import pytest

from crewmesh.common.errors import InvalidInputError
from crewmesh_store.files.objects import Objects, S3Options


def test_what_is_empty_is_left_to_awss_own_variables() -> None:
    assert S3Options().config() == {}
    assert S3Options("http://s3:7070/", "eu-1", "key", "secret").config() == {
        "endpoint": "http://s3:7070",
        "region": "eu-1",
        "access_key_id": "key",
        "secret_access_key": "secret",
    }


@pytest.mark.parametrize("url", ["nowhere", "ftp://host/path"])
def test_a_url_that_cannot_be_used_is_refused_by_name(url: str) -> None:
    with pytest.raises(InvalidInputError, match="CREWMESH_OBJECT_STORE_URL"):
        Objects(url)
