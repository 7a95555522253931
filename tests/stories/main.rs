//! The stories: what pgtend does for whoever runs it, told with the real program on real servers.

mod support;

mod command_line;
mod connections;
mod due_times;
mod expire;
mod fixtures;
mod http;
mod looking;
mod metrics;
mod own_sql;
mod reload;
mod results;
mod scratch;
mod secrets;
mod shipped;
mod shutting_down;
mod signals;
mod support_works;
mod systemd;
mod trigger;
mod walls;
