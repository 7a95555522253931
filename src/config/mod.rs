//! Files -> [`Config`]: every mistake reported at once, each with its file and line, before anything is touched.

mod definition;
mod window;

pub use definition::{Config, DatabaseConfig, Definition, HttpConfig, Origin, Retry, Source};
pub use window::Window;
