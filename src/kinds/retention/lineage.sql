-- The table $1 and all that it is a partition or a child of.
WITH RECURSIVE line AS (
    SELECT $1::oid AS oid
  UNION
    SELECT i.inhparent FROM line JOIN pg_catalog.pg_inherits i ON i.inhrelid = line.oid
)
SELECT n.nspname::text, c.relname::text
FROM line
JOIN pg_catalog.pg_class c ON c.oid = line.oid
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
