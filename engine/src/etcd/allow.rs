//! What items of etcd may want on this host: directories and topics that its own configuration names.
//!
//! It is judged by names. That a name leads nowhere else is kept by `fs`: below the allowed directory no
//! component of a path may be a link, since `setup::PlanRules` trusts that directory and not what an item of
//! etcd spells out, and a link at the end is followed by the rules of owners.

use std::path::PathBuf;

use globset::{Glob, GlobSet, GlobSetBuilder};

use crate::config::{EtcdPlan, ItemPlan, Patterns};

/// The local allow-list.
#[derive(Clone, Debug)]
pub struct Allow {
    paths: Vec<PathBuf>,
    topics: GlobSet,
    topics_written: Vec<String>,
}

impl Allow {
    /// What a plan allows.
    #[must_use]
    pub fn new(plan: &EtcdPlan) -> Allow {
        let mut topics = GlobSetBuilder::new();
        for topic in &plan.allow_topics {
            topics.add(Glob::new(topic).expect("the plan has compiled it"));
        }
        Allow {
            paths: plan.allow_paths.clone(),
            topics: topics.build().expect("the plan has compiled each"),
            topics_written: plan.allow_topics.clone(),
        }
    }

    /// Whether an item keeps to it; `patterns` are its own.
    ///
    /// # Errors
    /// What it may not want, and what to write to allow it.
    pub fn judge(&self, item: &ItemPlan, patterns: &Patterns) -> Result<(), String> {
        let outside = |root: &PathBuf| !self.paths.iter().any(|allowed| root.starts_with(allowed));
        if let Some(root) = patterns.roots().into_iter().find(outside) {
            return Err(format!(
                "it may not read in {}: `allow_paths` of this host's [etcd] is {:?}",
                root.display(),
                self.paths
            ));
        }
        if !self.topics.is_match(&item.topic) {
            return Err(format!(
                "it may not send to the topic {:?}: `allow_topics` of this host's [etcd] is {:?}",
                item.topic, self.topics_written
            ));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{ItemLimits, item_of};
    use crate::etcd::keyspace::tests::plan;

    fn judge(include: &str, topic: &str) -> Result<(), String> {
        let limits = ItemLimits { message_bytes_max: 1_048_588, line_buffer_max: 1 << 21 };
        let item = item_of("x", &format!("include = [{include}]\ntopic = {topic:?}\n"), &limits).unwrap();
        let patterns = Patterns::new([(&item.include[..], &item.exclude[..])]).unwrap();
        Allow::new(&plan(&[], None)).judge(&item, &patterns)
    }

    #[test]
    fn g10_paths_are_judged_by_what_every_alternative_spells_out() {
        for include in [
            "'/var/log/*.log'",
            "'/var/log/**'",
            "'/var/log/nginx/access.log', '/srv/app/log/x'",
            "'/var/{log,log/a}/*.log'",
            "'//var/log/a'",
        ] {
            assert_eq!(judge(include, "t"), Ok(()), "{include}");
        }
        for include in [
            "'/etc/shadow'",
            "'/**'",
            "'/*'",
            "'/var/*/x.log'",
            "'/var/log*'",
            "'/var/log'",
            "'/var/logs/x'",
            "'/srv/app/*'",
            "'/var/log/*.log', '/etc/passwd'",
            "'/{var/log,etc}/*'",
            "'/var/{log/a,../etc}*'",
            "'{/var/log/*,/etc/*}'",
            "'/[v]ar/log/x'",
        ] {
            let limits = ItemLimits { message_bytes_max: 1_048_588, line_buffer_max: 1 << 21 };
            if item_of("x", &format!("include = [{include}]\ntopic = 't'\n"), &limits).is_err() {
                continue;
            }
            let refused = judge(include, "t").unwrap_err();
            assert!(refused.contains("`allow_paths`"), "{include}: {refused}");
        }
    }

    #[test]
    fn g10_topics_are_judged_by_patterns() {
        for (topic, allowed) in
            [("web_log", true), ("t", true), ("tt", false), ("web_log2", false), ("T", false)]
        {
            assert_eq!(judge("'/var/log/x'", topic).is_ok(), allowed, "{topic}");
        }
    }

    #[test]
    fn g10_nothing_is_allowed_that_is_not_written() {
        let nothing = EtcdPlan { allow_paths: vec![], allow_topics: vec![], ..plan(&[], None) };
        let limits = ItemLimits { message_bytes_max: 1_048_588, line_buffer_max: 1 << 21 };
        let item = item_of("x", "include = ['/var/log/x']\ntopic = 't'\n", &limits).unwrap();
        let patterns = Patterns::new([(&item.include[..], &item.exclude[..])]).unwrap();
        assert!(Allow::new(&nothing).judge(&item, &patterns).unwrap_err().contains("is []"));
    }
}
