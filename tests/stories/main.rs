//! The stories: what pgtend does for whoever runs it, told with the real program on real servers.

#![allow(unsafe_code, reason = "signals, and the processes of a test run, are libc's")]

mod support;

mod backup;
mod backup_commands;
mod backup_directory;
#[cfg(feature = "encrypt")]
mod backup_encrypted;
mod bad_company;
mod catching_up;
mod chains_and_retries;
mod clocks;
mod command;
mod command_line;
mod connections;
mod daylight_saving;
mod deploy;
mod due_times;
mod dying;
mod expire;
mod expire_objects;
mod fixtures;
mod health;
mod history;
mod http;
mod looking;
mod many_databases;
mod metrics;
mod one_run_at_a_time;
mod outages;
mod own_sql;
mod partitions;
mod partitions_check;
mod partitions_hazards;
mod partitions_survey;
mod poolers;
mod refresh;
mod reload;
mod restore_test;
mod results;
mod retention_export;
mod retention_partitions;
mod retention_policies;
mod retention_rows;
mod retention_wire;
mod scratch;
mod secrets;
mod sessions;
mod shipped;
mod shipped_backup;
mod shipped_partitions;
mod shipped_retention;
mod shipped_vacuum;
mod shutting_down;
mod signals;
mod standby;
mod stores;
mod summarize;
mod support_works;
mod systemd;
mod time_limits;
mod trigger;
mod vacuum;
mod verify_chain;
mod walls;
