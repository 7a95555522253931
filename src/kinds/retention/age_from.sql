-- The row of table $3.$4 that column $2 of table $1 refers to: by which column, and whether it can be found and read.
SELECT p.oid,
       p.relkind,
       (SELECT a.attname::text FROM pg_catalog.pg_attribute a
        WHERE a.attrelid = c.oid AND a.attname = $2 AND a.attnum > 0 AND NOT a.attisdropped) AS key,
       ARRAY(SELECT a.attname::text FROM pg_catalog.pg_attribute a
             WHERE a.attrelid = p.oid AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum) AS columns,
       -- What a foreign key of that column alone points at; else the primary key, where it is one column.
       coalesce(
           (SELECT a.attname::text
            FROM pg_catalog.pg_constraint f
            JOIN pg_catalog.pg_attribute k ON k.attrelid = f.conrelid AND k.attnum = f.conkey[1] AND k.attname = $2
            JOIN pg_catalog.pg_attribute a ON a.attrelid = f.confrelid AND a.attnum = f.confkey[1]
            WHERE f.contype = 'f' AND f.conrelid = c.oid AND f.confrelid = p.oid AND cardinality(f.conkey) = 1
            ORDER BY f.conname LIMIT 1),
           (SELECT a.attname::text
            FROM pg_catalog.pg_index i
            JOIN pg_catalog.pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = i.indkey[0]
            WHERE i.indrelid = p.oid AND i.indisprimary AND i.indnkeyatts = 1)
       ) AS referenced,
       -- By which operator the two are the same: that of the key, whatever the search path.
       coalesce(
           (SELECT format('OPERATOR(%I.%s)', s.nspname, o.oprname)
            FROM pg_catalog.pg_constraint f
            JOIN pg_catalog.pg_attribute k ON k.attrelid = f.conrelid AND k.attnum = f.conkey[1] AND k.attname = $2
            JOIN pg_catalog.pg_operator o ON o.oid = f.conpfeqop[1]
            JOIN pg_catalog.pg_namespace s ON s.oid = o.oprnamespace
            WHERE f.contype = 'f' AND f.conrelid = c.oid AND f.confrelid = p.oid AND cardinality(f.conkey) = 1
            ORDER BY f.conname LIMIT 1),
           'OPERATOR(pg_catalog.=)') AS operator,
       coalesce(pg_catalog.has_schema_privilege(n.oid, 'USAGE'), false) AS uses,
       coalesce(pg_catalog.has_table_privilege(p.oid, 'SELECT'), false) AS selects,
       coalesce(pg_catalog.row_security_active(p.oid), false) AS hidden,
       current_user::text AS role
FROM pg_catalog.pg_class c
LEFT JOIN pg_catalog.pg_namespace n ON n.nspname = $3
LEFT JOIN pg_catalog.pg_class p ON p.relnamespace = n.oid AND p.relname = $4
WHERE c.oid = $1::oid
