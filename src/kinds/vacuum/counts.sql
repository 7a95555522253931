-- The tables $1 as they stand: what they are called now, and what the server has counted of them so far.
SELECT c.oid,
       n.nspname::text AS schema,
       c.relname::text AS name,
       pg_catalog.pg_stat_get_vacuum_count(c.oid) AS vacuums,
       pg_catalog.pg_stat_get_analyze_count(c.oid) AS analyzes,
       coalesce(pg_catalog.pg_stat_get_dead_tuples(c.oid), 0) AS dead
FROM pg_catalog.pg_class c
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE c.oid = ANY ($1::oid[])
