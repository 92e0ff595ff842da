//! inotify: hints that something changed. Nothing relies on them.
