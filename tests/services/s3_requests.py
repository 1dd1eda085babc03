"""Signed S3 requests with the standard library: AWS Signature Version 4, for making buckets and for checks."""

import hashlib
import hmac
from dataclasses import dataclass
from datetime import UTC, datetime
from http.client import HTTPConnection
from urllib.parse import quote, urlsplit


@dataclass(frozen=True)
class S3Requests:
    """Requests to one endpoint (http://host:port), signed with one pair of keys."""

    endpoint: str
    access_key: str
    secret_key: str
    region: str

    def ask(self, method: str, path: str, body: bytes = b"") -> tuple[int, bytes]:
        """Status and body of the answer. `path` is /bucket/key, not yet quoted; OSError when nobody answers."""
        host = urlsplit(self.endpoint).netloc
        quoted = quote(path)
        connection = HTTPConnection(host, timeout=30)
        try:
            connection.request(method, quoted, body, self._headers(method, host, quoted, body))
            response = connection.getresponse()
            return response.status, response.read()
        finally:
            connection.close()

    def _headers(self, method: str, host: str, path: str, body: bytes) -> dict[str, str]:
        time = datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")
        scope = f"{time[:8]}/{self.region}/s3/aws4_request"
        digest = hashlib.sha256(body).hexdigest()
        signed = {"host": host, "x-amz-content-sha256": digest, "x-amz-date": time}
        names = ";".join(signed)
        canonical = "\n".join([method, path, "", *(f"{k}:{v}" for k, v in signed.items()), "", names, digest])
        text = f"AWS4-HMAC-SHA256\n{time}\n{scope}\n{hashlib.sha256(canonical.encode()).hexdigest()}"
        key = f"AWS4{self.secret_key}".encode()
        for part in scope.split("/"):
            key = hmac.digest(key, part.encode(), "sha256")
        signature = hmac.digest(key, text.encode(), "sha256").hex()
        credential = f"AWS4-HMAC-SHA256 Credential={self.access_key}/{scope}"
        return {**signed, "authorization": f"{credential}, SignedHeaders={names}, Signature={signature}"}
