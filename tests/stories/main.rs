
mod connections;
