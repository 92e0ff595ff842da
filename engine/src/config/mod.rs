//! The configuration: what was written in a file, and the validated plan that it means.
