-- Enabled BEFORE DELETE triggers of the tables $1, of rows or statements. tgtype: bit 1 BEFORE, bit 3 DELETE.
SELECT t.tgrelid, t.tgname::text
FROM pg_catalog.pg_trigger t
WHERE t.tgrelid = ANY ($1::oid[]) AND t.tgenabled IN ('O', 'A') AND t.tgtype & 10 = 10
ORDER BY t.tgrelid, t.tgname
