-- Whether session $1, which detaches partition $2 of table $3 concurrently, is past the first of its two transactions. In
-- that one it asks for no more than SHARE UPDATE EXCLUSIVE on the partition; then it waits for whoever has the table open
-- (virtualxid, or transactionid where the transaction is prepared), and at last for the users of the partition.
SELECT EXISTS (SELECT FROM pg_catalog.pg_inherits i
               WHERE i.inhrelid = $2 AND i.inhparent = $3 AND (to_jsonb(i) ->> 'inhdetachpending')::boolean)
   AND EXISTS (SELECT FROM pg_catalog.pg_locks l
               WHERE l.pid = $1 AND NOT l.granted
                 AND (l.locktype IN ('virtualxid', 'transactionid')
                      OR l.locktype = 'relation' AND l.relation = $2 AND l.mode = 'AccessExclusiveLock'))
