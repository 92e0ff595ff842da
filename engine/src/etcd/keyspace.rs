//! Which keys of etcd concern this host, and what each of them holds.
//!
//! ```text
//! <prefix>/items/<group>/<name>          an item of every host in the group
//! <prefix>/items/host:<host>/<name>      an item of this host alone
//! <array_key>                            an array of items
//! <prefix>/agents/<host>                 what the agent there says of itself
//! ```

use crate::config::EtcdPlan;

/// What the name of a host begins with where the name of a group may stand; no group is called so.
const HOST: &str = "host:";

/// What a key is for.
#[derive(Clone, Eq, PartialEq, Debug)]
pub enum Place {
    /// It holds one item of that name. Of items with the same name, that of the lowest rank holds.
    Item {
        /// 0 for the host's own, then the groups in their order.
        rank: usize,
        /// The last component of the key.
        name: String,
    },
    /// It holds an array of items.
    Array {
        /// After all groups.
        rank: usize,
    },
}

/// The keys of one host.
#[derive(Clone, Debug)]
pub struct Keyspace {
    /// What the keys of items begin with, by rank.
    scopes: Vec<String>,
    array_key: Option<String>,
    agents: String,
    host: String,
}

impl Keyspace {
    /// The keys that a plan speaks of.
    #[must_use]
    pub fn new(plan: &EtcdPlan) -> Keyspace {
        let own = scope(&plan.prefix, &format!("{HOST}{}", plan.host));
        let groups = plan.groups.iter().map(|group| scope(&plan.prefix, group));
        Keyspace {
            scopes: std::iter::once(own).chain(groups).collect(),
            array_key: plan.array_key.clone(),
            agents: agents(&plan.prefix),
            host: plan.host.clone(),
        }
    }

    /// Everything to read and to watch: ranges of keys, each from its first key to before its last; no last
    /// one stands for the first key alone.
    #[must_use]
    pub fn ranges(&self) -> Vec<(String, Option<String>)> {
        let scopes = self.scopes.iter().map(|scope| (scope.clone(), Some(end_of(scope))));
        scopes.chain(self.array_key.iter().map(|key| (key.clone(), None))).collect()
    }

    /// What a key is for; `None` if it is none of this host's.
    #[must_use]
    pub fn place(&self, key: &str) -> Option<Place> {
        if self.array_key.as_deref() == Some(key) {
            return Some(Place::Array { rank: self.scopes.len() });
        }
        let mut scopes = self.scopes.iter().zip(0..);
        scopes.find_map(|(scope, rank)| {
            Some(Place::Item { rank, name: key.strip_prefix(&scope[..])?.to_owned() })
        })
    }

    /// Where this host's agent says how it is.
    #[must_use]
    pub fn agent(&self) -> String {
        format!("{}{}", self.agents, self.host)
    }

    /// Where another agent says so that finds the key of its host's name taken.
    #[must_use]
    pub fn agent_beside(&self, instance: &str) -> String {
        format!("{}{}/{instance}", self.agents, self.host)
    }
}

/// What the keys of a group's items begin with.
#[must_use]
pub fn scope(prefix: &str, group: &str) -> String {
    format!("{prefix}/items/{group}/")
}

/// What the keys of a host's own items begin with.
#[must_use]
pub fn scope_of_host(prefix: &str, host: &str) -> String {
    scope(prefix, &format!("{HOST}{host}"))
}

/// What the keys of all items begin with.
#[must_use]
pub fn items(prefix: &str) -> String {
    format!("{prefix}/items/")
}

/// What the keys of all agents begin with.
#[must_use]
pub fn agents(prefix: &str) -> String {
    format!("{prefix}/agents/")
}

/// The key before which everything lies that begins with `prefix`, which ends in a slash.
#[must_use]
pub fn end_of(prefix: &str) -> String {
    let head = prefix.strip_suffix('/').expect("a prefix of keys ends in a slash");
    // The character after the slash.
    format!("{head}0")
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(in crate::etcd) fn plan(groups: &[&str], array_key: Option<&str>) -> EtcdPlan {
        EtcdPlan {
            endpoints: vec!["127.0.0.1:2379".to_owned()],
            prefix: "/logdrive".to_owned(),
            groups: groups.iter().map(|group| (*group).to_owned()).collect(),
            host: "h1".to_owned(),
            array_key: array_key.map(str::to_owned),
            tls: None,
            login: None,
            relist: std::time::Duration::from_secs(300),
            allow_paths: vec!["/var/log".into(), "/srv/app/log".into()],
            allow_topics: vec!["*_log".to_owned(), "t".to_owned()],
        }
    }

    #[test]
    fn a_key_has_its_place() {
        let keys = Keyspace::new(&plan(&["web", "all"], Some("/logagent/h1/conf")));
        let item = |rank, name: &str| Some(Place::Item { rank, name: name.to_owned() });
        for (key, place) in [
            ("/logdrive/items/host:h1/nginx", item(0, "nginx")),
            ("/logdrive/items/web/nginx", item(1, "nginx")),
            ("/logdrive/items/all/a", item(2, "a")),
            ("/logdrive/items/all/a/b", item(2, "a/b")),
            ("/logagent/h1/conf", Some(Place::Array { rank: 3 })),
            ("/logdrive/items/host:h10/nginx", None),
            ("/logdrive/items/we", None),
            ("/logdrive/items/web", None),
            ("/logdrive/items/web-x/nginx", None),
            ("/logagent/h1/conf/x", None),
        ] {
            assert_eq!(keys.place(key), place, "{key}");
        }
    }

    #[test]
    fn a_range_holds_the_keys_of_its_scope_and_no_others() {
        let keys = Keyspace::new(&plan(&["web"], Some("/k")));
        let ranges = keys.ranges();
        assert_eq!(ranges.len(), 3);
        let holds = |(first, last): &(String, Option<String>), key: &str| match last {
            Some(last) => (&first[..]..&last[..]).contains(&key),
            None => first == key,
        };
        for key in ["/logdrive/items/web/a", "/logdrive/items/host:h1/z", "/k", "/logdrive/items/web", "/l"] {
            assert_eq!(ranges.iter().any(|range| holds(range, key)), keys.place(key).is_some(), "{key}");
        }
    }
}
