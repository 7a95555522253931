-- The publications whose subscribers would be told half of what happens to rows of the default partition $1 of $2.
WITH RECURSIVE ancestor AS (
    SELECT $1::oid AS oid
    UNION ALL
    SELECT i.inhparent FROM ancestor a JOIN pg_catalog.pg_inherits i ON i.inhrelid = a.oid
),
publication AS (
    SELECT p.*,
           p.puballtables OR EXISTS (
               SELECT FROM pg_catalog.pg_publication_namespace s
               JOIN pg_catalog.pg_class c ON c.relnamespace = s.pnnspid
               JOIN ancestor a ON a.oid = c.oid
               WHERE s.pnpubid = p.oid
           ) AS by_schema,
           EXISTS (
               SELECT FROM pg_catalog.pg_publication_rel r JOIN ancestor a ON a.oid = r.prrelid
               WHERE r.prpubid = p.oid AND r.prrelid <> $1::oid
           ) AS by_table
    FROM pg_catalog.pg_publication p
)
SELECT
    -- Deletes are shown as those of the root, inserts into a table without one as nobody's, or as its own.
    ARRAY(
        SELECT format('publication %I', p.pubname) FROM publication p
        WHERE p.pubviaroot AND p.pubdelete AND (p.by_table OR p.by_schema) ORDER BY 1
    ) AS published,
    -- Where whole schemas are published, so is a table before it is attached; that of $2 is the schema of all of ours.
    ARRAY(
        SELECT format('publication %I', p.pubname) FROM publication p
        WHERE p.pubinsert
          AND (p.puballtables OR EXISTS (
                  SELECT FROM pg_catalog.pg_publication_namespace s
                  JOIN pg_catalog.pg_class c ON c.relnamespace = s.pnnspid
                  WHERE s.pnpubid = p.oid AND c.oid IN ($1::oid, $2::oid)))
        ORDER BY 1
    ) AS published_apart
