//! The engine against a small world, told as scripts with exact endings.

mod balance;
mod fairness;
mod renames;
mod stories;
mod world;
