# Flink with its Kafka connector, for the live windows (`isotherm stream` with stream = flink://...).
FROM maven:3.9-eclipse-temurin-17 AS jars
COPY tests/services/poms/flink-connectors.xml /jars/pom.xml
WORKDIR /jars
RUN mvn -B -q org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy-dependencies \
      -DoutputDirectory=/jars/libs -DincludeScope=runtime -DincludeArtifactIds=flink-sql-connector-kafka

FROM flink:2.3.0-java17
LABEL org.opencontainers.image.title="Flink for Isotherm"
COPY --from=jars --chown=flink:flink /jars/libs/ /opt/flink/lib/
RUN install -d -o flink -g flink /checkpoints /checkpoints/savepoints
VOLUME /checkpoints
EXPOSE 8081 8083
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s --retries=6 CMD ["bash", "-c", "exec 3<>/dev/tcp/localhost/8081"]
