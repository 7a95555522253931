-- All that loses or changes rows when table $1 loses some: itself, its partitions, what it is a partition of; and, if $2, what
-- its foreign keys delete or set, link by link. With the constraint that is to blame, the nearest first.
WITH RECURSIVE touched (oid, by, down, deletes, links) AS (
    SELECT $1::oid, NULL::text COLLATE pg_catalog."C", true, $2::boolean, 0
  UNION
    -- Not down from there: its other partitions lose nothing. A key that refers to it is one to each partition as well.
    SELECT above.oid, NULL, false, false, 0
    FROM (
        WITH RECURSIVE up (oid) AS (
            SELECT i.inhparent FROM pg_catalog.pg_inherits i WHERE i.inhrelid = $1::oid
          UNION
            SELECT i.inhparent FROM up JOIN pg_catalog.pg_inherits i ON i.inhrelid = up.oid
        )
        SELECT up.oid FROM up
    ) AS above
  UNION
    SELECT next.oid, next.by, true, next.deletes, next.links
    FROM touched t
    CROSS JOIN LATERAL (
        SELECT i.inhrelid AS oid, t.by, t.deletes, t.links
        FROM pg_catalog.pg_inherits i
        WHERE t.down AND i.inhparent = t.oid
      UNION ALL
        SELECT f.conrelid, f.conname::text COLLATE pg_catalog."C", f.confdeltype = 'c', t.links + 1
        FROM pg_catalog.pg_constraint f
        -- Keys may go round in a ring.
        WHERE t.deletes AND f.contype = 'f' AND f.confrelid = t.oid AND f.confdeltype IN ('c', 'n', 'd') AND t.links < 20
    ) AS next
)
SELECT n.nspname::text, c.relname::text, CASE WHEN NOT bool_or(t.by IS NULL) THEN min(t.by) END
FROM touched t
JOIN pg_catalog.pg_class c ON c.oid = t.oid
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
GROUP BY 1, 2
ORDER BY min(t.links), 1, 2
