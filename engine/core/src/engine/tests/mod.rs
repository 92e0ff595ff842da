//! The engine against a small world, told as scripts with exact endings.

mod balance;
mod stories;
mod world;
