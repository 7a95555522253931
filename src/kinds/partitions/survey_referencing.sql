-- The foreign keys that point at rows of the default partitions $2 of the tables $1: by way of the table, or straight.
WITH pointed_at AS (
    SELECT w.parent, t.oid
    FROM unnest($1::oid[], $2::oid[]) AS w(parent, default_partition)
    CROSS JOIN LATERAL (VALUES (w.parent), (w.default_partition)) AS t(oid)
)
SELECT DISTINCT pointed_at.parent, n.nspname::text, c.relname::text, f.conname::text
FROM pointed_at
JOIN pg_catalog.pg_constraint f ON f.contype = 'f' AND f.confrelid = pointed_at.oid
JOIN pg_catalog.pg_class c ON c.oid = f.conrelid
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
-- Of a key that was passed down to partitions, only the topmost entry: the others say the same again.
LEFT JOIN pg_catalog.pg_constraint above ON above.oid = f.conparentid
LEFT JOIN pointed_at same ON same.oid = above.confrelid AND same.parent = pointed_at.parent
WHERE same.oid IS NULL
ORDER BY 1, 2, 3, 4
