//! stub
#![allow(missing_docs)]
use logdrive_core::position::Nanos;
use crate::{bell::Bell, config::Plan, driver::Driver};
#[derive(Debug)]
pub struct AgentMetrics;
impl AgentMetrics {
    pub fn delivered(&mut self, _: &logdrive_core::batch::Delivery, _: logdrive_core::position::Nanos) {}
    pub fn file_error(&mut self, _: &str) {}
    pub fn name_item(&mut self, _: logdrive_core::source::ItemId, _: &str) {}
}
#[derive(Debug)]
pub struct Monitor;
impl Monitor {
    pub fn start(_: &Plan, _: &Bell) -> anyhow::Result<Monitor> { Ok(Monitor) }
    pub fn metrics(&self) -> AgentMetrics { AgentMetrics }
    pub fn tick<R,S,F,W>(&mut self, _: &Driver<R,S,F,W>, _: Nanos) {}
    pub fn answer<R,S,F,W>(&mut self, _: &Driver<R,S,F,W>, _: Nanos) {}
    pub fn reloaded(&self, _: bool) {}
}
