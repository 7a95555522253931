//! What earlier runs, or others, have begun.

use super::rules::check_old;

#[test]
fn what_an_earlier_run_began_is_finished_if_it_would_be_begun_today() {
    let pending = "pending m02 2026-02-01 2026-03-01\n";
    check_old(
        &format!("{pending}! mark m02 drop"),
        "",
        "
        drop m02: its detaching was begun by an earlier run and not finished; its detaching is finished
        drop m01: RULE; detached concurrently
        NEXT",
    );
    check_old(
        pending,
        "",
        "
        detach m02: its detaching was begun by somebody else and not finished; its detaching is finished
        drop m01: RULE; detached concurrently
        NEXT",
    );
    check_old(&format!("{pending}! mark m02 detach"), "", "
        detach m02: its detaching was begun by an earlier run and not finished, and by the policy it would stay now: it is left as a table of its own; its detaching is finished
        drop m01: RULE; detached concurrently
        NEXT");
    check_old("pending m05 2026-05-01 2026-06-01\n ! mark m05 drop", "", "
        detach m05: its detaching was begun by an earlier run and not finished, and by the policy it would stay now: it is left as a table of its own; its detaching is finished
        drop m01: RULE; detached concurrently
        NEXT");
    check_old(
        "! detached gone 2025-01-01 2025-02-01 drop",
        "",
        "
        drop gone: was detached by an earlier run; ends 2025-02-01, before the cutoff 2026-04-15 12:00 (keep 2 months)
        drop m01: RULE; detached concurrently
        NEXT",
    );
    let left = |why: &str, from: &str, to: &str| {
        format!("
        drop m01: RULE; detached concurrently
        warn gone: was detached from events by an earlier run and is left as it is: {why}; to take it back: ALTER TABLE \"public\".\"events\" ATTACH PARTITION \"public\".\"gone\" FOR VALUES FROM ('{from} 00:00:00+00') TO ('{to} 00:00:00+00'); to keep it as it is: COMMENT ON TABLE \"public\".\"gone\" IS NULL
        NEXT")
    };
    check_old(
        "! detached gone 2025-01-01 2025-02-01 old",
        "",
        &left("it was to be archive, and the policy says drop now", "2025-01-01", "2025-02-01"),
    );
    check_old(
        "! detached gone 2026-05-01 2026-06-01 drop",
        "",
        &left("it ends 2026-06-01, after the cutoff", "2026-05-01", "2026-06-01"),
    );
    // What is not certain to be ours is dropped by nobody.
    check_old(
        &format!("{pending}! intent m02 drop"),
        "",
        "
        detach m02: its detaching was begun, whether by an earlier run or by somebody else, and not finished; its detaching is finished
        drop m01: RULE; detached concurrently
        warn m02: a run was about to detach it, and whether that one has begun it or somebody else, who wants to keep it, cannot be told: it is finished, and left as a table of its own; to drop it: DROP TABLE \"public\".\"m02\"
        NEXT",
    );
    check_old(
        "! doubtful gone 2025-01-01 2025-02-01 drop",
        "",
        "
        drop m01: RULE; detached concurrently
        warn gone: is detached from events, and is left as it is: a run was about to detach it, and whether that one has done it or somebody else, who wants to keep it, cannot be told; to keep it: COMMENT ON TABLE \"public\".\"gone\" IS NULL; to drop it: DROP TABLE \"public\".\"gone\"; to take it back: ALTER TABLE \"public\".\"events\" ATTACH PARTITION \"public\".\"gone\" FOR VALUES FROM ('2025-01-01 00:00:00+00') TO ('2025-02-01 00:00:00+00')
        NEXT",
    );
    // Begun and not even detached: a mark on what stays is taken away, and one on what goes is part of the work.
    check_old(
        "! mark m06 drop",
        "",
        "
        drop m01: RULE; detached concurrently
        restore_comment m06: an earlier run was about to detach it, and it does not go now
        NEXT",
    );
    check_old(
        "! mark m01 drop\n ! view m01",
        "",
        "
        refuse m01: RULE: view v depends on m01, which cannot be dropped then; let it read the partitioned table instead, or drop it; or use action = \"detach\" or \"archive\"
        restore_comment m01: an earlier run was about to detach it, and it does not go now
        NEXT",
    );
    check_old("! mark m01 drop", "", "drop m01: RULE; detached concurrently\nNEXT");
}

#[test]
fn what_an_earlier_run_began_is_bounded_as_what_is_begun_now() {
    let gone = "! detached gone 2025-01-01 2025-02-01 drop\n ! detached more 2025-02-01 2025-03-01 drop";
    check_old(
        gone,
        ", max_partitions = 1",
        "
        drop gone: was detached by an earlier run; ends 2025-02-01, before the cutoff 2026-04-15 12:00 (keep 2 months)
        warn events: 1 partition that earlier runs have detached is left, and at most 1 go in one run (max_partitions): the next begins with more
        warn events: 1 partition more before the cutoff, and at most 1 go in one run (max_partitions): the next begins with m01, which ends 2026-02-01, and the last of them ends 2026-02-01
        NEXT",
    );
    check_old(
        "! detached gone 2025-01-01 2025-02-01 drop",
        ", keep_at_least = 3",
        "
        warn gone: was detached from events by an earlier run and is left as it is: it is one of the newest 3 (keep_at_least); to take it back: ALTER TABLE \"public\".\"events\" ATTACH PARTITION \"public\".\"gone\" FOR VALUES FROM ('2025-01-01 00:00:00+00') TO ('2025-02-01 00:00:00+00'); to keep it as it is: COMMENT ON TABLE \"public\".\"gone\" IS NULL
        keep m01: RULE, and is one of the newest 3 (keep_at_least)
        NEXT",
    );
    check_old(
        "pending m02 2026-02-01 2026-03-01\n ! mark m02 drop",
        ", keep_at_least = 2",
        "
        detach m02: its detaching was begun by an earlier run and not finished, and by the policy it would stay now: it is left as a table of its own; its detaching is finished
        keep m01: RULE, and is one of the newest 2 (keep_at_least)
        NEXT",
    );
}
