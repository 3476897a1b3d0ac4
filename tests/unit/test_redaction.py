"""What may be shown of a URL: no part of a password, and everything else."""

from __future__ import annotations

import pytest

from tallystick.redaction import redacted_url, without_passwords

SECRET = "s3cret"


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://me:s3cret@host/db",
        "postgresql://me:s3cret/with@and:s3cret@host/db?sslmode=require",
        "postgresql://:s3cret@host/db",
        "postgresql://me:s3cret%40s3cret@host/db",
        "postgresql://me:s3cret",
        "postgresql://host/db?user=me&password=s3cret&sslmode=require",
        "host=h user=me password=s3cret dbname=d",
        "host=h Password = 's3cret \\' s3cret' dbname=d",
        "host=h password='s3cret",
        "host=h password=s3cret\\ s3cret dbname=d",
    ],
)
def test_no_password_stays_in_a_url_or_in_a_text_that_holds_it(url: str) -> None:
    for shown in (redacted_url(url), without_passwords(f"cannot reach {url}, for want of a host")):
        assert SECRET not in shown
        assert "***" in shown


@pytest.mark.parametrize("password", ["s3cret with blanks s3cret", "s3cret\ns3cret", "s3cret://a:s3cret@s3cret"])
def test_a_url_by_itself_may_have_any_sign_in_its_password(password: str) -> None:
    assert redacted_url(f"postgresql://me:{password}@host/db") == "postgresql://me:***@host/db"


def test_what_is_no_password_stays_readable() -> None:
    for text in (
        "postgresql://host:5432/db?sslmode=require",
        "postgresql://me@host,other:5433/db",
        "postgresql://[::1]:5432/db",
        "host=h user=me dbname=d",
        "a line without any URL: see https://example.org/a:b",
    ):
        assert without_passwords(text) == text
    assert redacted_url("postgresql://me:s3cret@host:5432/db") == "postgresql://me:***@host:5432/db"
    assert without_passwords("from postgresql://a:b@c/d to postgresql://e:f@g/h") == (
        "from postgresql://a:***@c/d to postgresql://e:***@g/h"
    )
