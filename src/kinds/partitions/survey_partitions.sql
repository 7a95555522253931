-- The direct partitions of the tables $1 with their bounds, the default ones among them.
--
-- From pg_inherits, because pg_partition_tree leaves out those whose detaching is pending. The bound is asked for without
-- its table (0): given the table, pg_get_expr waits for whoever has that partition locked. In no order: tens of
-- thousands are sorted faster by us than by a server with little work_mem.
SELECT i.inhparent,
       c.oid,
       n.nspname::text,
       c.relname::text,
       c.relkind,
       pg_catalog.pg_get_expr(c.relpartbound, 0) AS bound,
       i.inhdetachpending
FROM pg_catalog.pg_inherits i
JOIN pg_catalog.pg_class c ON c.oid = i.inhrelid
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE i.inhparent = ANY ($1::oid[])
