-- What a database says of itself. reset_val: the zone that a session has which asks for none.
SELECT current_setting('server_version') AS version,
       current_database()::text AS database,
       current_user::text AS role,
       pg_catalog.pg_is_in_recovery() AS standby,
       (SELECT s.reset_val FROM pg_catalog.pg_settings s WHERE s.name = 'TimeZone') AS time_zone,
       pg_catalog.pg_stat_get_db_stat_reset_time(d.oid) AS counted_since,
       ARRAY(SELECT e.extname::text FROM pg_catalog.pg_extension e ORDER BY 1) AS extensions,
       EXISTS (SELECT FROM pg_catalog.pg_namespace n WHERE n.nspname = 'archive') AS has_archive,
       cron.hides AS cron_hides
FROM pg_catalog.pg_database d
-- Only where it is a table: a view might run anything.
LEFT JOIN LATERAL (
    SELECT pg_catalog.row_security_active(c.oid) AS hides
    FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
    WHERE n.nspname = 'cron' AND c.relname = 'job' AND c.relkind = 'r'
) cron ON true
WHERE d.datname = current_database()
