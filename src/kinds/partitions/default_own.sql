-- Of the default partition $1 of $2: a trigger that stands on deleting from it, and what it has that its parent has not,
-- so that a new one would lack it.
SELECT
    (SELECT min(t.tgname)::text
     FROM pg_catalog.pg_trigger t
     WHERE t.tgrelid IN ($1::oid, $2::oid) AND t.tgconstraint = 0 AND t.tgenabled <> 'D'
       AND t.tgtype & 8 > 0                      -- ON DELETE
    ) AS delete_trigger,
    ARRAY(
        SELECT format('the trigger %s', t.tgname) FROM pg_catalog.pg_trigger t
        WHERE t.tgrelid = $1::oid AND t.tgparentid = 0 AND NOT t.tgisinternal
        UNION ALL
        SELECT format('the foreign key %s', c.conname) FROM pg_catalog.pg_constraint c
        WHERE c.conrelid = $1::oid AND c.contype = 'f' AND c.conparentid = 0
        UNION ALL
        SELECT format('the rule %s', r.rulename) FROM pg_catalog.pg_rewrite r WHERE r.ev_class = $1::oid
        UNION ALL
        SELECT format('a place in the publication %s', p.pubname)
        FROM pg_catalog.pg_publication_rel m JOIN pg_catalog.pg_publication p ON p.oid = m.prpubid
        WHERE m.prrelid = $1::oid
        ORDER BY 1
    ) AS own
