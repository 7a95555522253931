-- Every table, materialized view and index that is no system's: how large it is, and what the server has counted of it. A
-- partition tree is one, under the name of its root; so are the indexes of a partitioned index. By oid throughout.
--
-- The size of a relation is had by opening it, which waits for whoever has it locked in ACCESS EXCLUSIVE mode, or waits to: those
-- are left out, and are as large as the last VACUUM or ANALYZE found them. With $1 all are, for a server where somebody is
-- always quicker.
WITH RECURSIVE locked AS MATERIALIZED (
    SELECT DISTINCT l.relation AS oid
    FROM pg_catalog.pg_locks l
    WHERE l.locktype = 'relation' AND l.mode = 'AccessExclusiveLock'
      AND l.database = (SELECT d.oid FROM pg_catalog.pg_database d WHERE d.datname = current_database())
), tree AS (
    SELECT c.oid, c.oid AS root
    FROM pg_catalog.pg_class c
    WHERE c.relkind IN ('p', 'I') AND NOT c.relispartition
  UNION ALL
    SELECT i.inhrelid, tree.root
    FROM tree JOIN pg_catalog.pg_inherits i ON i.inhparent = tree.oid
), piece AS (
    -- What lies in files, with the table it belongs to; a TOAST table's index has a long way there.
    SELECT c.oid,
           c.relkind,
           coalesce(h.oid, x.indrelid, c.oid) AS owner,
           CASE WHEN h.oid IS NOT NULL THEN 'toast' WHEN x.indexrelid IS NOT NULL THEN 'index' ELSE 'heap' END AS part,
           l.oid IS NOT NULL AND c.relkind NOT IN ('p', 'I') AS locked,
           CASE
               WHEN c.relkind IN ('p', 'I') THEN 0
               WHEN $1 OR l.oid IS NOT NULL
                   THEN c.relpages::bigint * pg_catalog.current_setting('block_size')::bigint
               -- Nothing of one that is dropped in this moment.
               ELSE coalesce(pg_catalog.pg_relation_size(c.oid, 'main') + pg_catalog.pg_relation_size(c.oid, 'fsm')
                             -- Each is a question to the file system: only what it may have.
                             + CASE WHEN c.relkind = 'i' THEN 0 ELSE pg_catalog.pg_relation_size(c.oid, 'vm') END
                             + CASE WHEN c.relpersistence = 'u' THEN pg_catalog.pg_relation_size(c.oid, 'init') ELSE 0 END, 0)
           END AS bytes
    FROM pg_catalog.pg_class c
    LEFT JOIN locked l ON l.oid = c.oid
    LEFT JOIN pg_catalog.pg_index x ON x.indexrelid = c.oid
    LEFT JOIN pg_catalog.pg_class h ON h.reltoastrelid = coalesce(x.indrelid, c.oid)
    JOIN pg_catalog.pg_class o ON o.oid = coalesce(h.oid, x.indrelid, c.oid)
    JOIN pg_catalog.pg_namespace n ON n.oid = o.relnamespace
    WHERE c.relkind IN ('r', 'm', 'p', 't', 'i', 'I')
      -- Nobody but their session can read temporary tables.
      AND c.relpersistence <> 't'
      AND n.nspname <> 'information_schema' AND NOT pg_catalog.starts_with(n.nspname::text, 'pg_')
), whole AS (
    SELECT coalesce(t.root, p.owner) AS oid,
           sum(p.bytes) FILTER (WHERE p.part = 'heap') AS heap,
           sum(p.bytes) FILTER (WHERE p.part = 'index') AS indexes,
           sum(p.bytes) FILTER (WHERE p.part = 'toast') AS toast,
           sum(pg_catalog.pg_stat_get_live_tuples(p.oid)) FILTER (WHERE p.part = 'heap') AS live,
           sum(pg_catalog.pg_stat_get_dead_tuples(p.oid)) FILTER (WHERE p.part = 'heap') AS dead,
           count(*) FILTER (WHERE p.locked OR $1) AS locked
    FROM piece p LEFT JOIN tree t ON t.oid = p.owner
    GROUP BY 1
), used AS (
    SELECT coalesce(t.root, p.oid) AS oid,
           sum(p.bytes) AS bytes,
           sum(pg_catalog.pg_stat_get_numscans(p.oid)) AS scans,
           sum(pg_catalog.pg_stat_get_tuples_returned(p.oid)) AS read,
           sum(pg_catalog.pg_stat_get_tuples_fetched(p.oid)) AS fetched,
           -- What refuses rows is at work without being scanned; what a foreign key looks its rows up by is missed only on
           -- the day when a row that it points at goes.
           bool_or(x.indisunique OR x.indisexclusion OR x.indisreplident OR EXISTS (
               SELECT FROM pg_catalog.pg_constraint k
               WHERE k.contype = 'f' AND k.conrelid = x.indrelid AND x.indpred IS NULL
                 AND (x.indkey::int2[])[0:cardinality(k.conkey) - 1] @> k.conkey
           )) AS needed,
           count(*) FILTER (WHERE p.relkind = 'i' AND NOT x.indisvalid AND NOT EXISTS (
               SELECT FROM pg_catalog.pg_stat_progress_create_index b WHERE b.index_relid = p.oid
           )) AS invalid
    FROM piece p
    JOIN pg_catalog.pg_index x ON x.indexrelid = p.oid
    LEFT JOIN tree t ON t.oid = p.oid
    WHERE p.part = 'index'
    GROUP BY 1
)
SELECT 'table' AS kind, n.nspname::text AS schema, c.relname::text AS name,
       coalesce(w.heap, 0)::bigint AS bytes, coalesce(w.indexes, 0)::bigint AS indexes, coalesce(w.toast, 0)::bigint AS toast,
       coalesce(w.live, 0)::bigint AS live, coalesce(w.dead, 0)::bigint AS dead, w.locked,
       0::bigint AS scans, 0::bigint AS read, 0::bigint AS fetched, false AS needed, 0::bigint AS invalid
FROM whole w
JOIN pg_catalog.pg_class c ON c.oid = w.oid
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
UNION ALL
SELECT 'index', n.nspname::text, c.relname::text, coalesce(u.bytes, 0)::bigint, 0, 0, 0, 0, 0,
       coalesce(u.scans, 0)::bigint, coalesce(u.read, 0)::bigint, coalesce(u.fetched, 0)::bigint, u.needed, u.invalid
FROM used u
JOIN pg_catalog.pg_class c ON c.oid = u.oid
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
