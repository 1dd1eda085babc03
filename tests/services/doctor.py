"""What tests of the doctor ask it, and how they read its findings."""

from pathlib import Path
from typing import Any

from isotherm.cli.doctor import services
from isotherm.cli.doctor.findings import Finding
from isotherm.config import Settings
from services.kafka import Kafka
from services.named import NamedKafka, NamedS3
from services.s3 import Minio, Versitygw


def examine(tmp_path: Path, **settings: Any) -> list[Finding]:
    return list(services.examine_services(Settings(data=tmp_path / "data", **settings)))


def worst(found: list[Finding], check: str) -> str:
    grades = {finding.grade for finding in found if finding.check == check}
    return next((grade for grade in ("error", "warning", "ok") if grade in grades), "nothing")


def said(found: list[Finding]) -> str:
    return "\n".join(f"{finding.finding} -> {finding.advice}" for finding in found)


def healthy(found: list[Finding], check: str) -> None:
    assert worst(found, check) == "ok", said(found)
    assert all(not finding.advice for finding in found)


def unwell(found: list[Finding], check: str, words: str, grade: str = "error") -> None:
    assert worst(found, check) == grade, said(found)
    assert words in said(found)
    assert all(finding.advice for finding in found if finding.grade != "ok")


def lake_of(server: Versitygw | Minio | NamedS3, bucket: str, **more: Any) -> dict[str, Any]:
    return {
        "lake": f"s3://{bucket}/raw?endpoint={server.endpoint}&region={server.region}",
        "s3_access_key_id": server.access_key,
        "s3_secret_access_key": server.secret_key,
        **more,
    }


def log_of(server: Kafka | NamedKafka, topic: str, **more: Any) -> dict[str, Any]:
    return {"log": f"kafka://{server.bootstrap}?topic={topic}", "kafka_replication": 1, **more}
