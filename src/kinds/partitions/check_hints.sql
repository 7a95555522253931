-- Of the tables $1: what new partitions change for readers and subscribers.
WITH published AS (
    SELECT c.oid, p.pubname, p.pubviaroot, p.pubupdate OR p.pubdelete AS changes
    FROM pg_catalog.pg_class c
    CROSS JOIN pg_catalog.pg_publication p
    WHERE c.oid = ANY ($1::oid[])
      AND (
          p.puballtables
          OR EXISTS (SELECT FROM pg_catalog.pg_publication_rel r WHERE r.prpubid = p.oid AND r.prrelid = c.oid)
          OR EXISTS (
              SELECT FROM pg_catalog.pg_publication_namespace s
              WHERE s.pnpubid = p.oid AND s.pnnspid = c.relnamespace
          )
      )
),
open AS (
    SELECT i.inhparent AS oid, count(*) AS partitions
    FROM pg_catalog.pg_class c
    JOIN pg_catalog.pg_inherits i ON i.inhparent = c.oid
    JOIN pg_catalog.pg_class leaf ON leaf.oid = i.inhrelid AND NOT leaf.relrowsecurity
    WHERE c.oid = ANY ($1::oid[]) AND c.relrowsecurity
    GROUP BY 1
)
SELECT c.oid,
       n.nspname::text,
       c.relname::text,
       coalesce(open.partitions, 0) AS open_partitions,
       ARRAY(
           SELECT quote_ident(p.pubname) FROM published p WHERE p.oid = c.oid AND NOT p.pubviaroot ORDER BY p.pubname
       ) AS published_by_leaf,
       EXISTS (SELECT FROM published p WHERE p.oid = c.oid AND p.changes)
       AND CASE c.relreplident
               WHEN 'd' THEN NOT EXISTS (
                   SELECT FROM pg_catalog.pg_index k WHERE k.indrelid = c.oid AND k.indisprimary)
               ELSE c.relreplident = 'n'
           END AS nothing_identifies_rows
FROM pg_catalog.pg_class c
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
LEFT JOIN open ON open.oid = c.oid
WHERE c.oid = ANY ($1::oid[])
