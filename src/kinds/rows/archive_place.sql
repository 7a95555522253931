-- What there is under the name $2.$3, to which rows of table $1 are to move; and who could make a table there.
WITH RECURSIVE source AS (
    SELECT $1::oid AS oid
  UNION
    SELECT i.inhrelid FROM source JOIN pg_catalog.pg_inherits i ON i.inhparent = source.oid
), there AS (
    SELECT c.oid, c.relkind
    FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
    WHERE n.nspname = $2 AND c.relname = $3
  UNION
    -- What is inserted into a partitioned table goes to its partitions; into any other, to that one alone.
    SELECT c.oid, c.relkind
    FROM there
    JOIN pg_catalog.pg_inherits i ON i.inhparent = there.oid AND there.relkind = 'p'
    JOIN pg_catalog.pg_class c ON c.oid = i.inhrelid
)
SELECT current_user::text AS role,
       pg_catalog.pg_get_userbyid(s.relowner)::text AS source_owner,
       s.relrowsecurity AS source_row_security,
       pg_catalog.pg_has_role(s.relowner, 'MEMBER') AS may_act,
       n.oid IS NOT NULL AS has_schema,
       coalesce(pg_catalog.has_schema_privilege(s.relowner, n.oid, 'USAGE'), false)
           AND coalesce(pg_catalog.has_schema_privilege(s.relowner, n.oid, 'CREATE'), false) AS owner_creates,
       coalesce(pg_catalog.has_schema_privilege(n.oid, 'CREATE'), false) AS role_creates,
       coalesce(pg_catalog.has_schema_privilege(n.oid, 'USAGE'), false) AS role_uses,
       ARRAY(
           SELECT a.attname::text
           FROM pg_catalog.pg_index i
           CROSS JOIN LATERAL unnest(i.indkey::int2[]) WITH ORDINALITY AS k(attnum, place)
           JOIN pg_catalog.pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.attnum
           WHERE i.indrelid = s.oid AND i.indisprimary AND k.place <= i.indnkeyatts
           ORDER BY k.place
       ) AS key,
       t.oid,
       t.relkind,
       coalesce(pg_catalog.has_table_privilege(t.oid, 'INSERT'), false) AS inserts,
       coalesce(pg_catalog.row_security_active(t.oid), false) AS hidden,
       EXISTS (SELECT FROM there JOIN source ON source.oid = there.oid) AS is_part,
       -- Emptied by the server after a crash, where the source is not.
       (SELECT min(format('%I.%I', un.nspname, u.relname))
        FROM there JOIN pg_catalog.pg_class u ON u.oid = there.oid JOIN pg_catalog.pg_namespace un ON un.oid = u.relnamespace
        WHERE u.relpersistence <> 'p' AND u.relkind = 'r'
          AND EXISTS (SELECT FROM source JOIN pg_catalog.pg_class p ON p.oid = source.oid
                      WHERE p.relpersistence = 'p' AND p.relkind = 'r')) AS unlogged,
       (SELECT min(f.conname::text) FROM pg_catalog.pg_constraint f
        WHERE f.contype = 'f' AND f.conrelid IN (SELECT there.oid FROM there)
          AND f.confrelid IN (SELECT source.oid FROM source)) AS refers
FROM pg_catalog.pg_class s
LEFT JOIN pg_catalog.pg_namespace n ON n.nspname = $2
LEFT JOIN pg_catalog.pg_class t ON t.relnamespace = n.oid AND t.relname = $3
WHERE s.oid = $1::oid
