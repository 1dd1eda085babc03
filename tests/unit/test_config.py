"""What is hidden of a URL before it is printed: every password that a driver would take from it."""

from urllib.parse import parse_qsl

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import make_url

from isotherm.config import without_password

PASSWORDS = st.text(st.characters(codec="utf-8"), min_size=1)
CLEAR = "s3cret"


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("postgresql://u:p@host:5432/db", "postgresql://u:***@host:5432/db"),
        ("postgresql://u:pa/ss@host/db", "postgresql://u:***@host/db"),
        ("postgresql://u:p#a?s@s:@host/db?sslmode=require", "postgresql://u:***@host/db?sslmode=require"),
        ("redis://:p@host:1/0?name=a", "redis://:***@host:1/0?name=a"),
        ("postgresql://u@host/db?password=p&sslmode=require", "postgresql://u@host/db?password=***&sslmode=require"),
        ("postgresql://host/db?a=b&SSLpassword=p#q", "postgresql://host/db?a=b&SSLpassword=***"),
        ("postgresql://host/db?passfile=/home/me/pass", "postgresql://host/db?passfile=***"),
        ("postgresql://host/db?pass%77ord=p?q", "postgresql://host/db?pass%77ord=***"),
        ("postgresql://u:p@host/db?password=q@r", "postgresql://u:***"),
        ("postgresql://u@host:5432/db?password=q@r&a=b", "postgresql://u@host:***&a=b"),
        ("postgresql://u:a?x=b@host/db?password=q@r", "postgresql://u:***"),
    ],
)
def test_passwords_are_hidden(url: str, shown: str) -> None:
    assert without_password(url) == shown


@pytest.mark.parametrize(
    "url",
    [
        "memory://",
        "lmdb:///srv/data/log",
        "sqlite:////srv/data/isotherm.db",
        "kafka://a:9092,b:9092?topic=heatmap.events.raw",
        "clickhouse://me@host:9000/maps?ca_cert=/etc/ca.pem",
        "s3://bucket/raw?endpoint=https://s3.example.com:9000&region=here",
        "postgresql://me@host:5432/db?sslmode=verify-full",
    ],
)
def test_a_url_without_a_password_is_shown_as_it_is(url: str) -> None:
    assert without_password(url) == url


@given(before=PASSWORDS, after=PASSWORDS)
def test_no_password_before_the_host_is_shown(before: str, after: str) -> None:
    shown = without_password(f"postgresql://me:{before}{CLEAR}{after}@host/db?sslmode=require")
    assert CLEAR not in shown
    assert make_url(shown).password == "***"
    assert shown.endswith("@host/db?sslmode=require")


@given(
    name=st.sampled_from(["password", "sslpassword", "passfile", "PASSWORD", "pass%77ord"]),
    value=PASSWORDS.filter(lambda text: "&" not in text),
    first=st.booleans(),
)
def test_no_password_in_the_query_is_shown(name: str, value: str, first: bool) -> None:
    pair = f"{name}={value}{CLEAR}"
    query = f"{pair}&application_name=x" if first else f"application_name=x&{pair}"
    shown = without_password(f"postgresql://me:p@host/db?{query}")
    assert CLEAR not in shown
    if "@" not in value:
        assert dict(parse_qsl(shown.partition("?")[2]))["application_name"] == "x"
