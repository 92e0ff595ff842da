//! The engine against a small world, told as scripts with exact endings.

mod balance;
mod encodings;
mod fairness;
mod pacing;
mod renames;
mod roots;
mod stories;
mod world;
