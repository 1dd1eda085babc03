"""S3 over a folder, as test servers: versitygw and MinIO."""

import itertools
import os
import secrets
from collections.abc import Mapping
from typing import ClassVar

from services.s3_requests import S3Requests
from services.server import Server
from services.tools import folder

REGION = "us-east-1"


class Buckets:
    """Makes buckets on the S3 that `endpoint` and the keys give."""

    endpoint: str
    access_key: str
    secret_key: str
    region: str = REGION
    _numbers = itertools.count(1)

    def make_bucket(self, name: str | None = None) -> str:
        """Make a bucket and return its name; without a name it gets one that nobody else has."""
        name = name or f"test-{os.getpid()}-{next(self._numbers)}-{secrets.token_hex(3)}"
        status, said = self.requests().ask("PUT", f"/{name}")
        assert status == 200, f"bucket {name} was not made: {status} {said[:300]!r}"
        return name

    def requests(self) -> S3Requests:
        """Signed requests to this server, for what the client under test does not do."""
        return S3Requests(self.endpoint, self.access_key, self.secret_key, self.region)


class _Gateway(Buckets, Server):
    start_seconds: ClassVar[float] = 30

    def __init__(self) -> None:
        super().__init__()
        self.access_key = f"key{secrets.token_hex(4)}"
        self.secret_key = secrets.token_urlsafe(24)

    @property
    def endpoint(self) -> str:  # type: ignore[override]
        return f"http://127.0.0.1:{self.port}"

    def prepare(self) -> None:
        (self.folder / "data").mkdir(exist_ok=True)

    def answers(self) -> bool:
        """A signed request passes: a listener that takes connections may not know its keys yet."""
        return self.requests().ask("GET", "/")[0] == 200


class Versitygw(_Gateway):
    """versitygw over a folder. It never syncs to disk: good for kills, no proof for power cuts."""

    name: ClassVar[str] = "versitygw"

    def environment(self) -> Mapping[str, str]:
        # Under both names that its versions read.
        return {
            "ROOT_ACCESS_KEY": self.access_key, "ROOT_ACCESS_KEY_ID": self.access_key,
            "ROOT_SECRET_KEY": self.secret_key, "ROOT_SECRET_ACCESS_KEY": self.secret_key,
        }  # fmt: skip

    def command(self) -> list[str]:
        program = str(folder("versitygw") / "versitygw")
        return [program, "--port", f"127.0.0.1:{self.port}", "--quiet", "posix", str(self.folder / "data")]


class Minio(_Gateway):
    """MinIO over a folder."""

    name: ClassVar[str] = "minio"

    def environment(self) -> Mapping[str, str]:
        return {
            "MINIO_ROOT_USER": self.access_key, "MINIO_ROOT_PASSWORD": self.secret_key,
            "MINIO_BROWSER": "off", "MINIO_UPDATE": "off", "HOME": str(self.folder),
        }  # fmt: skip

    def command(self) -> list[str]:
        program = str(folder("minio") / "minio")
        return [program, "server", "--quiet", "--address", f"127.0.0.1:{self.port}", str(self.folder / "data")]
