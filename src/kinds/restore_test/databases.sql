-- The databases whose name begins like that of a scratch database. One is closed that nobody may connect to, which is how
-- they begin.
SELECT d.datname::text                                          AS name,
       pg_catalog.shobj_description(d.oid, 'pg_database')::text AS comment,
       NOT d.datallowconn AND d.datconnlimit = 0                AS closed
FROM pg_catalog.pg_database d
WHERE pg_catalog.starts_with(d.datname::text, $1)
ORDER BY 1
