-- Every table that is the application's: neither the system's, nor an extension's, nor of pgtend's own history, nor a
-- partition. Rows, pages and counters are those of all that is under it. Nothing here opens a table, so that nobody can wait
-- for us.
WITH RECURSIVE own AS (
    SELECT c.oid
    FROM pg_catalog.pg_class c
    JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
    WHERE c.relkind IN ('r', 'p') AND NOT c.relispartition AND c.relpersistence <> 't'
      AND n.nspname NOT IN ('information_schema', 'pgtend')
      AND n.nspname NOT LIKE 'pg\_%' AND n.nspname NOT LIKE '\_timescaledb\_%'
      AND NOT EXISTS (
          SELECT FROM pg_catalog.pg_depend d
          WHERE d.classid = 'pg_catalog.pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e')
),
tree AS (
    SELECT oid AS root, oid AS member FROM own
  UNION
    SELECT tree.root, i.inhrelid FROM tree JOIN pg_catalog.pg_inherits i ON i.inhparent = tree.member
),
sums AS (
    SELECT tree.root,
           sum(c.reltuples) FILTER (WHERE c.reltuples >= 0)::float8 AS rows,
           sum(c.relpages)::bigint * current_setting('block_size')::bigint AS bytes,
           sum(pg_catalog.pg_stat_get_tuples_inserted(c.oid))::bigint AS inserted,
           sum(pg_catalog.pg_stat_get_tuples_updated(c.oid))::bigint AS updated,
           sum(pg_catalog.pg_stat_get_tuples_deleted(c.oid))::bigint AS deleted,
           count(*) > 1 AS has_children
    FROM tree
    JOIN pg_catalog.pg_class c ON c.oid = tree.member
    GROUP BY tree.root
),
-- Whatever a DELETE sets off: before or after it, for rows or statements. tgtype: bit 3 DELETE.
fired AS (
    SELECT tree.root, array_agg(DISTINCT t.tgname::text ORDER BY t.tgname::text) AS names
    FROM tree
    JOIN pg_catalog.pg_trigger t ON t.tgrelid = tree.member
    WHERE NOT t.tgisinternal AND t.tgenabled IN ('O', 'A') AND t.tgtype & 8 = 8
    GROUP BY tree.root
)
SELECT c.oid,
       n.nspname::text AS schema,
       c.relname::text AS name,
       c.relkind = 'p' AS partitioned,
       pg_catalog.pg_get_userbyid(c.relowner)::text AS owner,
       c.relrowsecurity AS row_security,
       sums.rows, sums.bytes, sums.inserted, sums.updated, sums.deleted,
       coalesce(fired.names, '{}') AS triggers,
       sums.has_children,
       -- FOR UPDATE asks for UPDATE on any one column.
       array_remove(ARRAY[
           CASE WHEN NOT pg_catalog.has_table_privilege(c.oid, 'SELECT') THEN 'SELECT' END,
           CASE WHEN NOT pg_catalog.has_any_column_privilege(c.oid, 'UPDATE') THEN 'UPDATE' END,
           CASE WHEN NOT pg_catalog.has_table_privilege(c.oid, 'DELETE') THEN 'DELETE' END
       ], NULL) AS lacking,
       pg_catalog.has_schema_privilege(n.oid, 'USAGE') AS schema_usage,
       pg_catalog.pg_has_role(c.relowner, 'USAGE') AS may_be_owner
FROM own
JOIN pg_catalog.pg_class c USING (oid)
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
JOIN sums ON sums.root = c.oid
LEFT JOIN fired ON fired.root = c.oid
ORDER BY 2, 3
