-- The large objects that a dump would fail at, and one of them with its owner. pg_dump opens each as the role that it connects as:
-- it takes SELECT on the object, or membership in a role that has it, its owner as a rule. pg_read_all_data covers them since
-- PostgreSQL 19; lo_compat_privileges opens all of them to everybody.
WITH unreadable AS (
    SELECT m.oid
    FROM pg_catalog.pg_largeobject_metadata m
    WHERE NOT current_setting('lo_compat_privileges')::boolean
      AND NOT (SELECT r.rolsuper FROM pg_catalog.pg_roles r WHERE r.rolname = CURRENT_USER)
      AND NOT EXISTS (SELECT
                      FROM pg_catalog.pg_roles r
                      WHERE r.rolname = 'pg_read_all_data' AND pg_catalog.pg_has_role(r.oid, 'USAGE')
                        AND current_setting('server_version_num')::int >= 190000)
      AND NOT EXISTS (SELECT
                      FROM pg_catalog.aclexplode(coalesce(m.lomacl, pg_catalog.acldefault('L', m.lomowner))) a
                      WHERE a.privilege_type = 'SELECT'
                        -- 0 is PUBLIC.
                        AND CASE WHEN a.grantee = 0 THEN true ELSE pg_catalog.pg_has_role(a.grantee, 'USAGE') END)
)
SELECT total.number,
       m.oid AS example,
       pg_catalog.quote_ident(pg_catalog.pg_get_userbyid(m.lomowner)) AS owner,
       pg_catalog.quote_ident(CURRENT_USER) AS role
FROM (SELECT count(*) AS number, min(u.oid) AS example FROM unreadable u) total
JOIN pg_catalog.pg_largeobject_metadata m ON m.oid = total.example
