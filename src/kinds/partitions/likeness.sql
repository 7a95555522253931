-- The statements that give the new table named $1 what LIKE does not copy, in order; and what cannot be given.
--
-- $2  whose rights and words it takes: the parent's, or those of the default partition that it replaces
-- $3  the partition that was made last, or NULL: for what a parent does not hand down to its partitions
--
-- step: 1 columns, 2 comment, 3 replica identity, 4 row security, 5 policies, 6 rights
WITH made AS (
    SELECT c.oid, format('%I.%I', n.nspname, c.relname) AS name, c.relowner, c.relacl
    FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
    WHERE c.oid = $1::text::regclass
),
source AS (SELECT c.* FROM pg_catalog.pg_class c WHERE c.oid = $2::oid),
model AS (SELECT c.* FROM pg_catalog.pg_class c WHERE c.oid = $3::oid),

-- A partition's own replica identity goes before its parent's: the parent's is used for nothing but this.
identity AS (
    SELECT c.oid, c.relreplident
    FROM (SELECT 1 AS rank, m.* FROM model m UNION ALL SELECT 2, s.* FROM source s) c
    WHERE c.relreplident <> 'd'
    ORDER BY c.rank LIMIT 1
),
identity_columns AS (
    SELECT key.names
    FROM identity d
    JOIN pg_catalog.pg_index x ON x.indrelid = d.oid AND x.indisreplident AND d.relreplident = 'i'
    CROSS JOIN LATERAL (
        SELECT array_agg(a.attname ORDER BY k.position) AS names
        FROM unnest(x.indkey::int2[]) WITH ORDINALITY AS k(attnum, position)
        JOIN pg_catalog.pg_attribute a ON a.attrelid = x.indrelid AND a.attnum = k.attnum
        WHERE k.position <= x.indnkeyatts
    ) AS key
),
-- The index of the new table that stands for that of the old one: the same columns in the same order.
identity_index AS (
    SELECT c.relname
    FROM pg_catalog.pg_index x
    JOIN pg_catalog.pg_class c ON c.oid = x.indexrelid
    WHERE x.indrelid = (SELECT oid FROM made) AND x.indisunique AND x.indimmediate AND x.indexprs IS NULL AND x.indpred IS NULL
      AND (SELECT array_agg(a.attname ORDER BY k.position)
           FROM unnest(x.indkey::int2[]) WITH ORDINALITY AS k(attnum, position)
           JOIN pg_catalog.pg_attribute a ON a.attrelid = x.indrelid AND a.attnum = k.attnum
           WHERE k.position <= x.indnkeyatts) = (SELECT names FROM identity_columns)
    ORDER BY x.indisprimary DESC, c.relname LIMIT 1
),

-- Policies of the newest partition where it has some, otherwise the parent's.
policy AS (
    SELECT p.* FROM pg_catalog.pg_policy p
    WHERE p.polrelid = coalesce((SELECT max(q.polrelid) FROM pg_catalog.pg_policy q WHERE q.polrelid = $3::oid), $2::oid)
),

-- Rights: exactly the source's. What default privileges have granted beyond them is revoked, since whoever reads or writes
-- a partition directly must not be allowed more than through its parent.
wanted AS (
    SELECT DISTINCT CASE WHEN a.grantee = s.relowner THEN m.relowner ELSE a.grantee END AS grantee,
           a.privilege_type, a.is_grantable
    FROM source s, made m,
         pg_catalog.aclexplode(coalesce(s.relacl, pg_catalog.acldefault('r', s.relowner))) AS a
),
had AS (
    SELECT DISTINCT a.grantee, a.privilege_type, a.is_grantable
    FROM made m, pg_catalog.aclexplode(coalesce(m.relacl, pg_catalog.acldefault('r', m.relowner))) AS a
),
to_revoke AS (SELECT * FROM had EXCEPT SELECT * FROM wanted),
to_grant AS (
    SELECT * FROM wanted
    EXCEPT
    SELECT h.* FROM had h WHERE NOT EXISTS (
        SELECT FROM to_revoke r WHERE r.grantee = h.grantee AND r.privilege_type = h.privilege_type)
),
statement AS (
    SELECT 1 AS step, 1 AS part,
           format('ALTER TABLE %s ALTER COLUMN %I SET STATISTICS %s', m.name, a.attname, a.attstattarget) AS sql
    FROM made m, pg_catalog.pg_attribute a
    WHERE a.attrelid = $2::oid AND a.attnum > 0 AND NOT a.attisdropped AND a.attstattarget >= 0
    UNION ALL
    SELECT 1, 2, format('ALTER TABLE %s ALTER COLUMN %I SET (%s)', m.name, a.attname,
                        (SELECT string_agg(format('%I = %L', o.option_name, o.option_value), ', ')
                         FROM pg_catalog.pg_options_to_table(a.attoptions) o))
    FROM made m, pg_catalog.pg_attribute a
    WHERE a.attrelid = $2::oid AND a.attnum > 0 AND NOT a.attisdropped AND a.attoptions IS NOT NULL
    UNION ALL
    SELECT 2, 1, format('COMMENT ON TABLE %s IS %L', m.name, d.text)
    FROM made m, (SELECT pg_catalog.obj_description($2::oid, 'pg_class') AS text) d
    WHERE d.text IS NOT NULL
    UNION ALL
    SELECT 3, 1, format('ALTER TABLE %s REPLICA IDENTITY %s', m.name, CASE d.relreplident
               WHEN 'f' THEN 'FULL'
               WHEN 'n' THEN 'NOTHING'
               ELSE 'USING INDEX ' || (SELECT quote_ident(relname) FROM identity_index)
           END)
    FROM made m, identity d
    UNION ALL
    SELECT 4, 1, format('ALTER TABLE %s ENABLE ROW LEVEL SECURITY', m.name)
    FROM made m WHERE EXISTS (SELECT FROM source WHERE relrowsecurity UNION ALL SELECT FROM model WHERE relrowsecurity)
    UNION ALL
    SELECT 4, 2, format('ALTER TABLE %s FORCE ROW LEVEL SECURITY', m.name)
    FROM made m
    WHERE EXISTS (SELECT FROM source WHERE relforcerowsecurity UNION ALL SELECT FROM model WHERE relforcerowsecurity)
    UNION ALL
    SELECT 5, 1, format(
               'CREATE POLICY %I ON %s AS %s FOR %s TO %s%s%s', p.polname, m.name,
               CASE WHEN p.polpermissive THEN 'PERMISSIVE' ELSE 'RESTRICTIVE' END,
               CASE p.polcmd WHEN 'r' THEN 'SELECT' WHEN 'a' THEN 'INSERT' WHEN 'w' THEN 'UPDATE' WHEN 'd' THEN 'DELETE' ELSE 'ALL' END,
               (SELECT string_agg(CASE WHEN r.oid = 0 THEN 'PUBLIC' ELSE quote_ident(pg_catalog.pg_get_userbyid(r.oid)) END, ', ')
                FROM unnest(p.polroles) AS r(oid)),
               ' USING (' || pg_catalog.pg_get_expr(p.polqual, p.polrelid) || ')',
               ' WITH CHECK (' || pg_catalog.pg_get_expr(p.polwithcheck, p.polrelid) || ')')
    FROM made m, policy p
    UNION ALL
    SELECT 6, 1, format('REVOKE %s ON TABLE %s FROM %s', r.privilege_type, m.name,
                        CASE WHEN r.grantee = 0 THEN 'PUBLIC' ELSE quote_ident(pg_catalog.pg_get_userbyid(r.grantee)) END)
    FROM made m, to_revoke r
    UNION ALL
    SELECT 6, 2, format('GRANT %s ON TABLE %s TO %s%s', g.privilege_type, m.name,
                        CASE WHEN g.grantee = 0 THEN 'PUBLIC' ELSE quote_ident(pg_catalog.pg_get_userbyid(g.grantee)) END,
                        CASE WHEN g.is_grantable THEN ' WITH GRANT OPTION' END)
    FROM made m, to_grant g
    UNION ALL
    SELECT DISTINCT 6, 3, format('GRANT %s (%I) ON TABLE %s TO %s%s', g.privilege_type, a.attname, m.name,
                        CASE WHEN g.grantee = 0 THEN 'PUBLIC' ELSE quote_ident(pg_catalog.pg_get_userbyid(g.grantee)) END,
                        CASE WHEN g.is_grantable THEN ' WITH GRANT OPTION' END)
    FROM made m, pg_catalog.pg_attribute a, pg_catalog.aclexplode(a.attacl) AS g
    WHERE a.attrelid = $2::oid AND a.attnum > 0 AND NOT a.attisdropped AND a.attacl IS NOT NULL
)
-- sql is NULL where the replica identity's index has no counterpart here.
SELECT step, sql FROM statement ORDER BY step, part, sql
