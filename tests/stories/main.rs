//! The stories: what pgtend does for whoever runs it, told with the real program on real servers.

mod support;

mod connections;
mod dying;
mod expire;
mod fixtures;
mod history;
mod many_databases;
mod one_run_at_a_time;
mod outages;
mod scratch;
mod sessions;
mod shipped;
mod support_works;
mod time_limits;
mod walls;
