-- Foreign keys, seen from both ends: those of the tables $1, and those that point at them. Of a partitioned table once, not
-- once a partition.
SELECT f.conrelid AS from_oid,
       f.confrelid AS to_oid,
       n.nspname::text AS from_schema,
       c.relname::text AS from_name,
       f.confdeltype AS on_delete,
       ARRAY(SELECT a.attname::text
             FROM unnest(f.conkey) WITH ORDINALITY AS key(attnum, nth)
             JOIN pg_catalog.pg_attribute a ON a.attrelid = f.conrelid AND a.attnum = key.attnum
             ORDER BY key.nth) AS columns
FROM pg_catalog.pg_constraint f
JOIN pg_catalog.pg_class c ON c.oid = f.conrelid
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE f.contype = 'f' AND f.conparentid = 0 AND (f.conrelid = ANY ($1::oid[]) OR f.confrelid = ANY ($1::oid[]))
ORDER BY n.nspname, c.relname, f.conname
