-- Of the partitioned tables $1, each with the schema $2 that its partitions move to and the column $3 with their newest
-- time: what keeps partitions from going, and the tables above each.
WITH RECURSIVE asked AS (
    SELECT * FROM unnest($1::oid[], $2::text[], $3::text[]) WITH ORDINALITY AS w(oid, to_schema, newest, place)
),
above AS (
    SELECT oid AS bottom, oid, 0 AS height FROM asked
  UNION
    SELECT above.bottom, i.inhparent, above.height + 1
    FROM above
    JOIN pg_catalog.pg_class c ON c.oid = above.oid AND c.relispartition
    JOIN pg_catalog.pg_inherits i ON i.inhrelid = above.oid
)
SELECT c.oid,
       quote_ident(current_user) AS role,
       -- From 16 on a member need not be allowed to SET ROLE.
       coalesce(pg_catalog.pg_has_role(c.relowner, 'MEMBER'), false) AS may_act,
       -- What LOCK TABLE .. IN ACCESS EXCLUSIVE MODE asks for, even of the owner.
       coalesce(pg_catalog.has_table_privilege(c.relowner, c.oid, 'UPDATE, DELETE, TRUNCATE'), false) AS may_lock,
       s.oid IS NOT NULL AS has_schema,
       coalesce(pg_catalog.has_schema_privilege(c.relowner, s.oid, 'USAGE')
                AND pg_catalog.has_schema_privilege(c.relowner, s.oid, 'CREATE'), false) AS may_move,
       -- A domain is what it is made of.
       pg_catalog.format_type(coalesce(nullif(t.typbasetype, 0), a.atttypid), NULL) AS newest_type,
       ARRAY(SELECT n.nspname::text FROM above JOIN pg_catalog.pg_class r ON r.oid = above.oid
             JOIN pg_catalog.pg_namespace n ON n.oid = r.relnamespace WHERE above.bottom = c.oid ORDER BY height) AS schemas,
       ARRAY(SELECT r.relname::text FROM above JOIN pg_catalog.pg_class r ON r.oid = above.oid
             WHERE above.bottom = c.oid ORDER BY height) AS names
FROM asked
JOIN pg_catalog.pg_class c ON c.oid = asked.oid
LEFT JOIN pg_catalog.pg_namespace s ON s.nspname = asked.to_schema
LEFT JOIN pg_catalog.pg_attribute a
    ON a.attrelid = c.oid AND a.attname = asked.newest AND a.attnum > 0 AND NOT a.attisdropped
LEFT JOIN pg_catalog.pg_type t ON t.oid = a.atttypid
ORDER BY asked.place
