"""The distributed build on real servers, each measurement beside its floor: Kafka, S3, Spark, Flink and Redis."""
