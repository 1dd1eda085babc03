import pytest
from hypothesis import given
from hypothesis import strategies as st

from isotherm.config import Settings
from isotherm.errors import ConfigError
from isotherm.land.lake import S3Place
from isotherm.land.lake_s3 import place_of, trouble

KEYS = Settings(s3_access_key_id="key", s3_secret_access_key="very-secret", s3_session_token="tok")
ROLE = {"AWS_ACCESS_KEY_ID": "theirs", "AWS_SECRET_ACCESS_KEY": "their-secret", "AWS_SESSION_TOKEN": "their-token"}


def test_the_url_says_where() -> None:
    place = place_of("s3://my.bucket/some/lake/?endpoint=http%3A%2F%2Fstore%3A9000%2F&region=eu-1", KEYS, {})
    assert place == S3Place("http://store:9000", "my.bucket", "some/lake", "eu-1", "key", "very-secret", "tok")
    assert place.allow_http
    assert place.url == "http://store:9000/my.bucket/some/lake"
    assert place_of("s3://bucket?endpoint=https://store", KEYS, {}).url == "https://store/bucket"


def test_amazon_is_the_default() -> None:
    place = place_of("s3://bucket/a%20b", KEYS, {"AWS_REGION": "eu-central-1"})
    assert (place.url, place.region) == ("https://s3.eu-central-1.amazonaws.com/bucket/a b", "eu-central-1")
    assert not place.allow_http
    assert place_of("s3://bucket?region=us-west-2", KEYS, {"AWS_REGION": "eu-central-1"}).region == "us-west-2"


def test_keys_come_from_one_source() -> None:
    found = place_of("s3://bucket", KEYS, ROLE)
    assert (found.access_key_id, found.secret_access_key, found.session_token) == ("key", "very-secret", "tok")
    bare = Settings(s3_access_key_id="key", s3_secret_access_key="very-secret")
    assert place_of("s3://bucket", bare, ROLE).session_token == ""
    found = place_of("s3://bucket", Settings(), ROLE)
    assert (found.access_key_id, found.session_token) == ("theirs", "their-token")
    # One of two is no pair: the machine's role decides.
    assert place_of("s3://bucket", Settings(), {"AWS_ACCESS_KEY_ID": "theirs"}).access_key_id == ""


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("s3://", "is not s3://bucket/prefix"),
        ("s3:///prefix", "is not s3://bucket/prefix"),
        ("s3://key:hidden-in-url@bucket/x", "keys belong into"),
        ("s3://bucket/x#y", "is not s3://bucket/prefix"),
        ("s3://bucket/a/../b", "cannot be used"),
        ("s3://bucket/a//b", "cannot be used"),
        ("s3://bucket?endpint=http://x", "not 'endpint'"),
        ("s3://bucket?endpoint=store:9000", "is not an http"),
        ("s3://bucket?endpoint=ftp://store", "is not an http"),
    ],
)
def test_a_wrong_url_says_what_is_wrong(url: str, why: str) -> None:
    with pytest.raises(ConfigError, match=why) as caught:
        place_of(url, KEYS, {})
    assert "hidden-in-url" not in str(caught.value)


def test_half_a_pair_of_keys_is_an_error() -> None:
    with pytest.raises(ConfigError, match="belong together"):
        place_of("s3://bucket", Settings(s3_access_key_id="key"), ROLE)


@given(st.text(), st.text())
def test_a_place_is_printed_without_its_secrets(secret: str, token: str) -> None:
    place = S3Place("https://store", "bucket", "prefix", "region", "key", f"S-{secret}-S", f"T-{token}-T")
    for text in (repr(place), str(place), f"{place}", repr([place])):
        assert text.strip("[]") == "S3Place(https://store/bucket/prefix)"


@pytest.mark.parametrize(
    ("said", "kind"),
    [
        ("status code: 404 Not Found: <Error><Code>NoSuchBucket</Code></Error>", "no bucket"),
        ("status code: 403 Forbidden: <Error><Code>SignatureDoesNotMatch</Code></Error>", "refused"),
        ("status code: 404 Not Found: <Error><Code>XAdminUserNotFound</Code></Error>", "refused"),
        ("Server returned non-2xx status code: 401 Unauthorized: ", "refused"),
        ("Error performing PUT http://169.254.169.254/latest/api/token in 5s - HTTP error", "no keys"),
        ("Error performing PUT http://169.254.169.254/latest/api/token - status code: 403 Forbidden", "no keys"),
        ("status code: 507 Insufficient Storage: <Error><Code>XMinioStorageFull</Code></Error>", "unknown"),
        ("Error performing GET http://store:4013/x in 1s, after 5 retries - HTTP error", "unknown"),
    ],
)
def test_what_a_person_has_to_put_right_is_read_from_the_answer(said: str, kind: str) -> None:
    assert trouble(Exception(f"Generic S3 error: {said}")) == kind
