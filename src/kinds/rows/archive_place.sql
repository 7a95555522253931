-- What there is under the name $2.$3, to which rows of table $1 are to move; and who could make a table there.
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
       coalesce(pg_catalog.row_security_active(t.oid), false) AS hidden
FROM pg_catalog.pg_class s
LEFT JOIN pg_catalog.pg_namespace n ON n.nspname = $2
LEFT JOIN pg_catalog.pg_class t ON t.relnamespace = n.oid AND t.relname = $3
WHERE s.oid = $1::oid
