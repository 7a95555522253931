-- The named tables, and of those that are partitioned all partitions: pg_dump means by a partitioned table itself alone,
-- which has no rows. Views, sequences and foreign tables can be named like tables; indexes and types cannot.
WITH RECURSIVE tree AS (
    SELECT c.oid
    FROM unnest($1::text[], $2::text[]) AS wanted(schema, name)
    JOIN pg_catalog.pg_namespace n ON n.nspname = wanted.schema
    JOIN pg_catalog.pg_class c ON c.relnamespace = n.oid AND c.relname = wanted.name
    WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f', 'S')
    UNION
    SELECT c.oid
    FROM tree
    JOIN pg_catalog.pg_inherits i ON i.inhparent = tree.oid
    JOIN pg_catalog.pg_class c ON c.oid = i.inhrelid AND c.relispartition
)
SELECT n.nspname::text, c.relname::text
FROM tree
JOIN pg_catalog.pg_class c USING (oid)
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
ORDER BY 1, 2
