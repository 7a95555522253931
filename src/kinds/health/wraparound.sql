-- How many transaction ids and multixacts ago the oldest row was written that is not frozen, in all of the database; and which
-- table that is in. TOAST counts as its table.
WITH aged AS (
    SELECT n.nspname::text AS schema, o.relname::text AS name,
           CASE WHEN c.relfrozenxid <> '0'::xid THEN pg_catalog.age(c.relfrozenxid)::bigint END AS xids,
           CASE WHEN c.relminmxid <> '0'::xid THEN pg_catalog.mxid_age(c.relminmxid)::bigint END AS multixacts
    FROM pg_catalog.pg_class c
    LEFT JOIN pg_catalog.pg_class h ON c.relkind = 't' AND h.reltoastrelid = c.oid
    JOIN pg_catalog.pg_class o ON o.oid = coalesce(h.oid, c.oid)
    JOIN pg_catalog.pg_namespace n ON n.oid = o.relnamespace
    WHERE c.relkind IN ('r', 'm', 't')
), oldest AS (
    SELECT (SELECT ARRAY[a.schema, a.name, a.xids::text] FROM aged a
            WHERE a.xids IS NOT NULL ORDER BY a.xids DESC, a.schema, a.name LIMIT 1) AS by_xid,
           (SELECT ARRAY[a.schema, a.name, a.multixacts::text] FROM aged a
            WHERE a.multixacts IS NOT NULL ORDER BY a.multixacts DESC, a.schema, a.name LIMIT 1) AS by_multixact
)
SELECT pg_catalog.age(d.datfrozenxid)::bigint AS xids,
       pg_catalog.current_setting('autovacuum_freeze_max_age')::bigint AS xids_max,
       oldest.by_xid,
       pg_catalog.mxid_age(d.datminmxid)::bigint AS multixacts,
       pg_catalog.current_setting('autovacuum_multixact_freeze_max_age')::bigint AS multixacts_max,
       oldest.by_multixact
FROM pg_catalog.pg_database d CROSS JOIN oldest
WHERE d.datname = current_database()
