-- The statements of this database, of all roles together, as if each had been counted once. Without their texts, which are not even
-- read: they may hold secrets. What was planned and never executed has neither least nor longest time.
WITH counted AS (
    SELECT s.queryid, s.calls, s.total_exec_time, s.min_exec_time, s.max_exec_time, s.mean_exec_time, s.stddev_exec_time,
           sum(s.total_exec_time) OVER (PARTITION BY s.queryid) / nullif(sum(s.calls) OVER (PARTITION BY s.queryid), 0) AS mean
    FROM {schema}.pg_stat_statements(false) s
    WHERE s.dbid = (SELECT d.oid FROM pg_catalog.pg_database d WHERE d.datname = current_database())
      AND s.queryid IS NOT NULL
)
SELECT c.queryid,
       sum(c.calls)::bigint AS calls,
       sum(c.total_exec_time)::float8 / 1000 AS seconds,
       coalesce(min(c.min_exec_time) FILTER (WHERE c.calls > 0), 0)::float8 / 1000 AS min,
       coalesce(max(c.max_exec_time), 0)::float8 / 1000 AS max,
       -- Of the population, as the extension has it: within what is counted apart, and between it.
       coalesce(sqrt(sum(c.calls * (c.stddev_exec_time ^ 2 + (c.mean_exec_time - c.mean) ^ 2)) / nullif(sum(c.calls), 0)), 0)::float8
           / 1000 AS stddev
FROM counted c
GROUP BY c.queryid
