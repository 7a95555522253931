-- The foreign keys that table $1, or a table under it, has of its own: not those that it was given by the table above it.
WITH RECURSIVE tree AS (
    SELECT $1::oid AS oid
  UNION
    SELECT i.inhrelid FROM tree JOIN pg_catalog.pg_inherits i ON i.inhparent = tree.oid
)
SELECT n.nspname::text, c.relname::text, k.conname::text
FROM tree
JOIN pg_catalog.pg_class c ON c.oid = tree.oid
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
JOIN pg_catalog.pg_constraint k ON k.conrelid = tree.oid AND k.contype = 'f' AND k.conparentid = 0
ORDER BY 1, 2, 3
