//! The stories: what pgtend does for whoever runs it, told with the real program on real servers.

mod support;

mod bad_company;
mod catching_up;
mod chains_and_retries;
mod clocks;
mod connections;
mod daylight_saving;
mod dying;
mod expire;
mod fixtures;
mod history;
mod many_databases;
mod one_run_at_a_time;
mod outages;
mod poolers;
mod scratch;
mod sessions;
mod shipped;
mod standby;
mod support_works;
mod time_limits;
mod walls;
