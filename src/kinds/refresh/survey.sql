-- What decides how each of the views that stand in $1 (schemas) and $2 (names) is refreshed, in that order. $3: what
-- membership has to allow so that SET ROLE may be used. $4: the privilege that lets others than the owner refresh, if this
-- server has one.
SELECT w.schema, w.name,
       c.oid,
       c.relkind,
       c.relispopulated                                                  AS populated,
       pg_catalog.pg_get_userbyid(c.relowner)::text                      AS owner,
       pg_catalog.has_schema_privilege(n.oid, 'USAGE')                   AS schema_usage,
       pg_catalog.has_schema_privilege(c.relowner, n.oid, 'USAGE')       AS owner_schema_usage,
       pg_catalog.pg_has_role(c.relowner, $3)                            AS may_be_owner,
       pg_catalog.pg_has_role(c.relowner, 'USAGE')
           OR coalesce(pg_catalog.has_table_privilege(c.oid, $4), false) AS may_refresh,
       pg_catalog.has_database_privilege(c.relowner, current_database(), 'TEMPORARY') AS owner_temporary,
       pg_catalog.pg_stat_get_dead_tuples(c.oid)                         AS dead,
       pg_catalog.pg_stat_get_live_tuples(c.oid)                         AS living,
       pg_catalog.pg_relation_filenode(c.oid)                            AS file,
       i.name                                                            AS index,
       i.usable, i.indisunique AS is_unique, i.indisvalid AS is_valid, i.partial, i.columns
FROM unnest($1::text[], $2::text[]) WITH ORDINALITY AS w(schema, name, place)
LEFT JOIN pg_catalog.pg_namespace n ON n.nspname = w.schema
LEFT JOIN pg_catalog.pg_class c ON c.relnamespace = n.oid AND c.relname = w.name
-- The index that serves best, by what REFRESH CONCURRENTLY asks for: unique, at once, valid, whole, plain columns.
LEFT JOIN LATERAL (
    SELECT format('%I.%I', n.nspname, x.relname) AS name,
           k.indisunique, k.indisvalid,
           k.indpred IS NOT NULL AS partial,
           k.indisunique AND k.indimmediate AND k.indisvalid AND k.indpred IS NULL AND k.indexprs IS NULL
               AND m.amname = 'btree' AS usable,
           -- None where there are expressions among them.
           CASE WHEN k.indexprs IS NULL THEN
               ARRAY(SELECT a.attname::text
                     FROM unnest(k.indkey::int2[]) WITH ORDINALITY AS key(attnum, nth)
                     JOIN pg_catalog.pg_attribute a ON a.attrelid = k.indrelid AND a.attnum = key.attnum
                     WHERE key.nth <= k.indnkeyatts
                     ORDER BY key.nth)
           ELSE '{}' END AS columns
    FROM pg_catalog.pg_index k
    JOIN pg_catalog.pg_class x ON x.oid = k.indexrelid
    JOIN pg_catalog.pg_am m ON m.oid = x.relam
    WHERE k.indrelid = c.oid
    ORDER BY usable DESC, k.indisunique AND k.indexprs IS NULL DESC, k.indexprs IS NULL DESC, k.indisunique DESC, k.indexrelid
    LIMIT 1
) i ON c.relkind = 'm'
ORDER BY w.place
