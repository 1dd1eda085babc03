-- Live windows as one Flink job. The numbers come from isotherm.rollup.windows.rule, the rest from the settings.

SET 'execution.runtime-mode' = 'streaming';
SET 'pipeline.name' = '${job}';
SET 'table.local-time-zone' = 'UTC';
-- A cluster's own interval does not reach a job of the gateway; without one nothing could be recovered.
SET 'execution.checkpointing.interval' = '5 s';
SET 'execution.checkpointing.externalized-checkpoint-retention' = 'RETAIN_ON_CANCELLATION';
-- Counts and ids outlive the last event that may still come, and a day in which Flink does not run.
SET 'table.exec.state.ttl' = '${state_ttl_ms} ms';
-- One row per window and half a second, however many events.
SET 'table.exec.mini-batch.enabled' = 'true';
SET 'table.exec.mini-batch.allow-latency' = '500 ms';
SET 'table.exec.mini-batch.size' = '20000';
-- The key of the sink is the key of the group: rows of one window keep their order.
SET 'table.exec.sink.upsert-materialize' = 'NONE';
SET 'execution.state-recovery.path' = '${recover_from}';

CREATE TEMPORARY TABLE `records` (
  `v` INT,
  `client_id` STRING,
  `screen_id` STRING,
  `batch_id` STRING,
  `received_at` BIGINT,
  `skew_ms` BIGINT,
  `flags` ARRAY<STRING>,
  `positions` ARRAY<INT>,
  `batch` ROW<`events` ARRAY<ROW<`event_time` STRING, `event_type` STRING>>>,
  `arrived` AS PROCTIME()
) WITH (
  'connector' = 'kafka',
  'topic' = '${topic}',
  'scan.startup.mode' = 'timestamp',
  'scan.startup.timestamp-millis' = '${since}',
  'scan.topic-partition-discovery.interval' = '30 s',
  'format' = 'json',
  'json.ignore-parse-errors' = 'true',
  'properties.group.id' = '${group}',
  ${kafka}
);

CREATE TEMPORARY TABLE `windows` (
  `client_id` STRING,
  `screen_id` STRING,
  `event_type` STRING,
  `size_ms` BIGINT,
  `start` BIGINT,
  `events` BIGINT,
  `newest` BIGINT,
  PRIMARY KEY (`client_id`, `screen_id`, `event_type`, `size_ms`, `start`) NOT ENFORCED
) WITH (
  'connector' = 'upsert-kafka',
  'topic' = '${windows_topic}',
  'key.format' = 'json',
  'value.format' = 'json',
  ${kafka}
);

CREATE TEMPORARY VIEW `live` AS
SELECT `client_id`, `screen_id`, `batch_id`, `received_at`, `skew_ms`, `positions`, `records`.`batch`.`events` AS `events`,
  `arrived`
FROM `records`
WHERE `v` = ${version} AND NOT COALESCE(ARRAY_CONTAINS(`flags`, '${import}'), FALSE);

CREATE TEMPORARY VIEW `fresh` AS
${fresh};

-- Times are integers of milliseconds or RFC 3339; a fraction is cut off after the millisecond.
CREATE TEMPORARY VIEW `timed` AS
SELECT `client_id`, `screen_id`, `event_type`, `received_at`,
  COALESCE(`skew_ms`, 0) + CASE
    WHEN REGEXP(`event_time`, '^[0-9]+$$') THEN CAST(`event_time` AS BIGINT)
    ELSE
      1000 * UNIX_TIMESTAMP(SUBSTRING(`event_time` FROM 1 FOR 10) || ' ' || SUBSTRING(`event_time` FROM 12 FOR 8))
      + CAST(RPAD(COALESCE(REGEXP_EXTRACT(`event_time`, '[.]([0-9]{1,3})', 1), '0'), 3, '0') AS BIGINT)
      - COALESCE(
          60000 * CAST(REGEXP_EXTRACT(`event_time`, '([+-])([0-9]{2}):?([0-9]{2})$$', 1) || '1' AS BIGINT)
          * (60 * CAST(REGEXP_EXTRACT(`event_time`, '([+-])([0-9]{2}):?([0-9]{2})$$', 2) AS BIGINT)
            + CAST(REGEXP_EXTRACT(`event_time`, '([+-])([0-9]{2}):?([0-9]{2})$$', 3) AS BIGINT)),
          0)
  END AS `at`
FROM `fresh`;

-- An array of a column's values is unnested row by row. A constant one would be a source of its own, joined: with all
-- events as state, and joined once more after a recovery.
CREATE TEMPORARY VIEW `placed` AS
SELECT `client_id`, `screen_id`, `event_type`, `received_at`, ARRAY[${windows}] AS `windows_of`
FROM `timed`
WHERE `received_at` - `at` <= ${late_ms} AND `received_at` - `at` >= -${early_ms};

-- By the window's start, not by window functions, which drop what is late.
INSERT INTO `windows`
SELECT `client_id`, `screen_id`, `event_type`, `size_ms`, `start`, COUNT(*), MAX(`received_at`)
FROM `placed` CROSS JOIN UNNEST(`windows_of`) AS `w` (`size_ms`, `start`)
WHERE `start` >= ${exact_from}
GROUP BY `client_id`, `screen_id`, `event_type`, `size_ms`, `start`;
