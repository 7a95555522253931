-- The columns of a summary ($1), each with the column of that name in the table that is counted ($2).
SELECT a.attname::text AS name,
       pg_catalog.format_type(a.atttypid, a.atttypmod) AS type,
       CASE WHEN t.typnamespace = 'pg_catalog'::regnamespace THEN t.typname::text ELSE '' END AS base,
       a.atttypmod AS modifier,
       a.attnotnull OR t.typnotnull AS not_null,
       a.atthasdef OR a.attidentity <> '' OR t.typdefault IS NOT NULL AS has_default,
       a.attgenerated <> '' OR a.attidentity = 'a' AS generated,
       pg_catalog.has_column_privilege(a.attrelid, a.attnum, 'INSERT') AS may_insert,
       pg_catalog.has_column_privilege(a.attrelid, a.attnum, 'UPDATE') AS may_update,
       pg_catalog.format_type(o.atttypid, o.atttypmod) AS other_type,
       -- A value must not change on its way: not be cut, not be rounded.
       o.atttypid = a.atttypid
           AND (a.atttypmod IN (o.atttypmod, -1)
                OR t.typname = 'varchar' AND o.atttypmod <> -1 AND a.atttypmod > o.atttypmod) AS same_type,
       o.attcollation = a.attcollation AS same_collation,
       -- Sequences behind the column's default that the role may not use.
       ARRAY(
           SELECT format('%I.%I', n.nspname, s.relname)
           FROM pg_catalog.pg_attrdef d
           JOIN pg_catalog.pg_depend p ON p.classid = 'pg_catalog.pg_attrdef'::regclass AND p.objid = d.oid
               AND p.refclassid = 'pg_catalog.pg_class'::regclass
           JOIN pg_catalog.pg_class s ON s.oid = p.refobjid
           JOIN pg_catalog.pg_namespace n ON n.oid = s.relnamespace
           WHERE d.adrelid = a.attrelid AND d.adnum = a.attnum
             -- In this order: of anything else it is an error to ask.
             AND CASE WHEN s.relkind = 'S' THEN NOT pg_catalog.has_sequence_privilege(s.oid, 'USAGE, UPDATE') END
       ) AS unusable_sequences
FROM pg_catalog.pg_attribute a
JOIN pg_catalog.pg_type t ON t.oid = a.atttypid
LEFT JOIN pg_catalog.pg_attribute o
    ON o.attrelid = $2::oid AND o.attname = a.attname AND o.attnum > 0 AND NOT o.attisdropped
WHERE a.attrelid = $1::oid AND a.attnum > 0 AND NOT a.attisdropped
ORDER BY a.attnum
