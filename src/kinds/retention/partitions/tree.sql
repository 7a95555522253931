-- The table $1 and all that it is partitioned into.
WITH RECURSIVE tree AS (
    SELECT $1::oid AS oid
  UNION
    SELECT i.inhrelid FROM tree JOIN pg_catalog.pg_inherits i ON i.inhparent = tree.oid
)
SELECT n.nspname::text, c.relname::text, c.relkind
FROM tree
JOIN pg_catalog.pg_class c ON c.oid = tree.oid
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
ORDER BY 1, 2
