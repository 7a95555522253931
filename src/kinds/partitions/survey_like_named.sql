-- Every partitioned table that somebody might have meant.
SELECT n.nspname::text, c.relname::text
FROM pg_catalog.pg_class c
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind = 'p' AND n.nspname <> 'information_schema' AND n.nspname NOT LIKE 'pg\_%'
