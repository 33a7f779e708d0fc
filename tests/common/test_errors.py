"""No message shows a password."""

import pytest

from pipeline.common.errors import SettingError, UserError, first_line, masked

URLS = [
    "postgresql://user:secret@host/db",
    "postgresql+psycopg2://user:secret@host:5432/db",
    "mysql://user:sec@ret@host/db",
    "http://user:secret@tracker:5000",
    "https://user:secret:secret@tracker/path?x=1",
    "s3://key:secret@bucket/path",
    "sqlite://user:secret@/x",
    "redis://:secret@host",
    "mongodb+srv://user:secret@cluster.example.org",
    "HTTP://USER:secret@HOST",
    "postgresql://host/db?user=me&password=secret",
    "https://host/path?access_token=secret&x=1",
]


@pytest.mark.parametrize("url", URLS)
def test_a_password_in_a_url_is_masked_and_the_rest_is_not(url):
    for text in (url, f"study.storage {url}: cannot be used", f"('{url}', 'x')"):
        assert "secret" not in masked(text)
        assert "ret@" not in masked(text)
        assert masked(text).startswith(text.split(url)[0])
    assert "secret" not in str(UserError(f"tracking store {url}: lost"))
    assert "secret" not in str(SettingError(url))
    assert "secret" not in first_line(ValueError(f"{url}\nmore"))


def test_what_is_no_password_stays():
    for text in ("http://127.0.0.1:5000/x", "mail me@example.org: http://host:80", "models:/roskd@champion", "a: b@c"):
        assert masked(text) == text
