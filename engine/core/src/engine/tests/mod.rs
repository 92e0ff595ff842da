//! The engine against a small world, told as scripts with exact endings.

mod stories;
mod world;
