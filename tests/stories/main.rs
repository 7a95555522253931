mod expire;
mod scratch;
