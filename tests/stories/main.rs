//! The stories: what pgtend does for whoever runs it, told with the real program on real servers.

mod support;

mod connections;
mod expire;
mod fixtures;
mod partitions;
mod partitions_check;
mod partitions_hazards;
mod partitions_survey;
mod scratch;
mod shipped;
mod support_works;
mod walls;
