//! The engine against a small world, told as scripts with exact endings.

mod balance;
mod fairness;
mod stories;
mod world;
