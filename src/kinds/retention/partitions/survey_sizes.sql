-- The sizes of the partitions $1, with all that is under each.
WITH RECURSIVE tree AS (
    SELECT w.oid AS root, w.oid FROM unnest($1::oid[]) AS w(oid)
  UNION
    SELECT tree.root, i.inhrelid FROM tree JOIN pg_catalog.pg_inherits i ON i.inhparent = tree.oid
)
SELECT root, sum(pg_catalog.pg_total_relation_size(oid))::bigint FROM tree GROUP BY root
