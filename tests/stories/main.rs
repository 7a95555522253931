//! The stories: what pgtend does for whoever runs it, told with the real program on real servers.

mod support;

mod bad_company;
mod catching_up;
mod chains_and_retries;
mod clocks;
mod connections;
mod daylight_saving;
mod expire;
mod fixtures;
mod poolers;
mod scratch;
mod shipped;
mod standby;
mod support_works;
mod walls;
