-- What stands where our own tables are to be, and is not ours: whoever may create in the database may have been there first,
-- with a view, or a table with triggers, whose functions would run as our role. Ours is what is a table, and belongs to a
-- superuser, to our role or one that it is a member of, or to another role by which this config connects here.
WITH RECURSIVE ourselves AS (
    -- Not pg_has_role, by which a superuser is a member of everybody's.
    SELECT r.oid FROM pg_catalog.pg_roles r WHERE r.rolname = current_user
  UNION
    SELECT m.roleid FROM pg_catalog.pg_auth_members m JOIN ourselves ON m.member = ourselves.oid
), found AS (
    SELECT 'schema pgtend' AS what, true AS fits, n.nspowner AS owner, 0 AS place
    FROM pg_catalog.pg_namespace n
    WHERE n.nspname = 'pgtend'
  UNION ALL
    SELECT pg_catalog.format('table pgtend.%I', c.relname), c.relkind IN ('r', 'p'), c.relowner, 1
    FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
    WHERE n.nspname = 'pgtend' AND c.relname IN ('run', 'hold', 'anchor', 'request', 'reading', 'notice')
)
SELECT found.what, found.fits, pg_catalog.quote_ident(o.rolname), pg_catalog.quote_ident(current_user)
FROM found JOIN pg_catalog.pg_roles o ON o.oid = found.owner
WHERE NOT found.fits
   OR NOT (o.rolsuper
           OR o.oid IN (SELECT ourselves.oid FROM ourselves)
           OR o.rolname = ANY (pg_catalog.string_to_array(pg_catalog.current_setting('pgtend.roles', true), E'\n')))
ORDER BY found.place, found.what
LIMIT 1
