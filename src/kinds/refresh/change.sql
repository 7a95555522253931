-- What each of the materialized views $1 is made from, as it is now, in lines that are the same as long as it is; and for
-- what no counter tells, a doubt. The counters are those of pg_stat_user_tables; they lag behind, never ahead.
WITH RECURSIVE named AS (
    SELECT DISTINCT r.ev_class AS view, d.refobjid AS relation
    FROM pg_catalog.pg_rewrite r
    JOIN pg_catalog.pg_depend d ON d.classid = 'pg_catalog.pg_rewrite'::regclass AND d.objid = r.oid
        AND d.refclassid = 'pg_catalog.pg_class'::regclass AND d.refobjid <> r.ev_class
    WHERE r.ev_type = '1'
),
reads AS (
    SELECT named.view, named.relation
    FROM named WHERE named.view = ANY ($1::oid[])
  UNION
    SELECT reads.view, named.relation
    FROM reads
    JOIN pg_catalog.pg_class v ON v.oid = reads.relation AND v.relkind = 'v'
    JOIN named ON named.view = v.oid
),
-- With partitions and children, which a query reads along.
stores AS (
    SELECT view, relation FROM reads
  UNION
    SELECT stores.view, i.inhrelid FROM stores JOIN pg_catalog.pg_inherits i ON i.inhparent = stores.relation
),
-- The queries, of the view itself and of the plain ones in between, as the server keeps them.
queries AS (
    SELECT q.view, q.relation, r.ev_action::text AS tree
    FROM (SELECT unnest($1::oid[]) AS view, unnest($1::oid[]) AS relation
          UNION
          SELECT reads.view, reads.relation FROM reads
          JOIN pg_catalog.pg_class v ON v.oid = reads.relation AND v.relkind = 'v') q
    JOIN pg_catalog.pg_rewrite r ON r.ev_class = q.relation AND r.ev_type = '1'
),
called AS (
    SELECT view, m[1]::oid AS function
    FROM queries, regexp_matches(tree, ':(?:funcid|aggfnoid|winfnoid) (\d+)', 'g') AS m
  UNION
    SELECT view, o.oprcode::oid
    FROM queries, regexp_matches(tree, ':opno (\d+)', 'g') AS m
    JOIN pg_catalog.pg_operator o ON o.oid = m[1]::oid
),
-- A text that is made into another type by being read.
read_as AS (
    SELECT DISTINCT view, t.oid AS type, p.provolatile
    FROM queries, regexp_matches(tree, ':resulttype (\d+) :resultcollid', 'g') AS m
    JOIN pg_catalog.pg_type t ON t.oid = m[1]::oid
    JOIN pg_catalog.pg_proc p ON p.oid = t.typinput
),
functions AS (
    SELECT called.view, p.oid, p.xmin::text AS version, p.provolatile, n.nspname = 'pg_catalog' AS own,
           CASE WHEN n.nspname = 'pg_catalog' THEN p.proname::text ELSE format('%I.%I', n.nspname, p.proname) END AS name
    FROM called
    JOIN pg_catalog.pg_proc p ON p.oid = called.function
    JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace
)
SELECT view, false AS doubt,
       -- With the names of the columns, which a row that is taken whole has along.
       format('table %s %s %s %s', c.oid, pg_catalog.pg_relation_filenode(c.oid),
              (SELECT hashtextextended(string_agg(a.attname, ',' ORDER BY a.attnum), 0) FROM pg_catalog.pg_attribute a
               WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped),
              pg_catalog.pg_stat_get_tuples_inserted(c.oid) + pg_catalog.pg_stat_get_tuples_updated(c.oid)
                  + pg_catalog.pg_stat_get_tuples_deleted(c.oid)) AS line
FROM stores JOIN pg_catalog.pg_class c ON c.oid = stores.relation
UNION ALL
SELECT view, false, format('query %s %s', relation, hashtextextended(tree, 0)) FROM queries
UNION ALL
-- Declared to depend on nothing, and taken at its word, as long as it is the same.
SELECT view, false, format('function %s %s', oid, version) FROM functions WHERE NOT own AND provolatile = 'i'
UNION ALL
-- Counters begin anew when they are reset, and after a crash; those of the whole server then too.
SELECT view, false, format('counted since %s %s', d.stats_reset, b.stats_reset)
FROM unnest($1::oid[]) AS view, pg_catalog.pg_stat_database d, pg_catalog.pg_stat_bgwriter b
WHERE d.datname = current_database()
UNION ALL
SELECT view, true,
       CASE c.relkind WHEN 'f' THEN format('it reads %I.%I, whose rows are on another server', n.nspname, c.relname)
                      ELSE format('it reads the sequence %I.%I', n.nspname, c.relname) END
FROM stores JOIN pg_catalog.pg_class c ON c.oid = stores.relation JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN ('f', 'S')
UNION ALL
-- Of what belongs to the server itself it notes no dependency.
SELECT DISTINCT view, true, format('it reads the catalog (%I)', c.relname)
FROM queries, regexp_matches(tree, ':relid (\d+)', 'g') AS m
JOIN pg_catalog.pg_class c ON c.oid = m[1]::oid
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname IN ('pg_catalog', 'information_schema')
UNION ALL
SELECT DISTINCT view, true,
       CASE provolatile WHEN 'v' THEN format('%s() may give something else each time (VOLATILE)', name)
                        ELSE format('%s() depends on more than what it is given (STABLE)', name) END
FROM functions
WHERE provolatile = 'v'
   OR provolatile = 's' AND NOT (
       -- These depend on settings besides, and those are the same in every session of pgtend: the time zone, how dates
       -- are written.
       own AND name ~ '^(date|time|timetz|timestamp|timestamptz|timezone|date_add|date_subtract|date_part|date_trunc|extract|make_timestamptz|in_range|generate_series|timestamptz_(pl|mi)_interval|interval_pl_timestamptz|(date|timestamp|timestamptz)_(lt|le|eq|ne|ge|gt|cmp)_(date|timestamp|timestamptz)|to_char|to_number|to_date|to_timestamp|jsonb?_(agg|object_agg|build_array|build_object)(_strict|_unique|_unique_strict)?|to_jsonb?|row_to_json|array_to_json|array_to_string|concat|concat_ws|format|quote_literal|quote_nullable|textanycat|anytextcat)$')
UNION ALL
SELECT view, true, format('it reads text as %s, and some text means the time of day', format_type(type, NULL))
FROM read_as WHERE provolatile <> 'i'
UNION ALL
SELECT DISTINCT view, true, 'it asks for the time, the day or the user'
FROM queries WHERE tree ~ '\{SQLVALUEFUNCTION '
UNION ALL
SELECT DISTINCT view, true, 'it takes a sample (TABLESAMPLE)'
FROM queries WHERE tree ~ '\{TABLESAMPLECLAUSE '
UNION ALL
SELECT view, true, 'the server counts no changes (track_counts is off)'
FROM unnest($1::oid[]) AS view WHERE current_setting('track_counts') = 'off'
ORDER BY 1, 2, 3
