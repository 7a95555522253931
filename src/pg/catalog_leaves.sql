-- The tables under $1 that hold rows, itself included, and what is to be known before a row of theirs is touched.
WITH RECURSIVE tree AS (
    SELECT $1::oid AS oid
  UNION -- and not UNION ALL: with multiple inheritance there are two ways to one child
    -- By way of JSON because PostgreSQL 13 has no such column.
    SELECT i.inhrelid
    FROM pg_catalog.pg_inherits i JOIN tree ON i.inhparent = tree.oid
    WHERE NOT coalesce((to_jsonb(i) ->> 'inhdetachpending')::boolean, false)
)
SELECT c.oid,
       n.nspname::text,
       c.relname::text,
       c.relkind,
       pg_catalog.row_security_active(c.oid),
       -- FOR UPDATE asks for UPDATE on any one column.
       array_remove(ARRAY[
           CASE WHEN NOT pg_catalog.has_schema_privilege(n.oid, 'USAGE') THEN 'USAGE' END,
           CASE WHEN NOT pg_catalog.has_table_privilege(c.oid, 'SELECT') THEN 'SELECT' END,
           CASE WHEN NOT pg_catalog.has_any_column_privilege(c.oid, 'UPDATE') THEN 'UPDATE' END,
           CASE WHEN NOT pg_catalog.has_table_privilege(c.oid, 'DELETE') THEN 'DELETE' END
       ], NULL) AS missing,
       ARRAY(
           SELECT a.attname::text FROM pg_catalog.pg_attribute a
           WHERE a.attrelid = c.oid AND a.attnum > 0 AND a.attnotnull AND NOT a.attisdropped
       ) AS not_null,
       -- tgtype: bit 1 BEFORE, bit 3 DELETE.
       ARRAY(
           SELECT t.tgname::text FROM pg_catalog.pg_trigger t
           WHERE t.tgrelid = c.oid AND NOT t.tgisinternal AND t.tgenabled IN ('O', 'A') AND t.tgtype & 10 = 10
           ORDER BY t.tgname
       ) AS delete_triggers,
       EXISTS (SELECT FROM pg_catalog.pg_constraint f WHERE f.contype = 'f' AND f.confrelid = c.oid) AS is_referenced,
       -- 0 is also what PostgreSQL 13 has of a table that nobody has analyzed.
       CASE WHEN c.reltuples > 0 THEN c.reltuples::bigint END AS rows
FROM tree
JOIN pg_catalog.pg_class c ON c.oid = tree.oid
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'f')
ORDER BY 2, 3
