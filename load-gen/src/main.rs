//! Writer of stamped log lines.
fn main() {}
