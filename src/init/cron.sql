-- The jobs of pg_cron in this database. By way of JSON because older versions give them no names.
SELECT j.jobid::bigint AS id, to_jsonb(j) ->> 'jobname' AS name, j.schedule::text AS schedule, j.command::text AS command
FROM cron.job j
WHERE j.database = current_database() AND coalesce((to_jsonb(j) ->> 'active')::boolean, true)
ORDER BY j.jobid
