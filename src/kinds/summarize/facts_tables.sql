-- What the tables under a summary ($1) do with what is written to them, where the rows come from $2.
WITH RECURSIVE tree AS (
    SELECT root, root AS oid FROM unnest(ARRAY[$1::oid, $2::oid]) AS root
  UNION
    SELECT tree.root, i.inhrelid
    FROM tree
    JOIN pg_catalog.pg_class c ON c.oid = tree.oid AND (c.relkind = 'p' OR tree.root = $2::oid)
    JOIN pg_catalog.pg_inherits i ON i.inhparent = tree.oid
)
SELECT (SELECT min(format('%I.%I', n.nspname, c.relname))
        FROM tree
        JOIN pg_catalog.pg_class c ON c.oid = tree.oid AND c.relkind = 'r' AND c.relpersistence <> 'p'
        JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
        WHERE tree.root = $1::oid
          AND EXISTS (SELECT FROM tree AS log JOIN pg_catalog.pg_class l ON l.oid = log.oid
                      WHERE log.root = $2::oid AND l.relkind = 'r' AND l.relpersistence = 'p')) AS unlogged,
       -- tgtype: bit 0 ROW, bit 1 BEFORE, bit 2 INSERT, bit 4 UPDATE.
       EXISTS (SELECT FROM tree JOIN pg_catalog.pg_trigger t ON t.tgrelid = tree.oid
               WHERE tree.root = $1::oid AND NOT t.tgisinternal AND t.tgenabled IN ('O', 'A')
                 AND t.tgtype & 3 = 3 AND t.tgtype & 20 <> 0) AS guarded
