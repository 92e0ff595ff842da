//! The index template: what the fields of a line are to OpenSearch.
//!
//! Names are those of the Elastic Common Schema where it has one, so that what others built for it fits.

use serde_json::{Value, json};

/// What the indexes of lines look like.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Template {
    /// What the names of the indexes begin with.
    pub prefix: String,
    /// Primary shards of an index; `None`: what the cluster says.
    pub shards: Option<u32>,
    /// Copies of each; `None`: what the cluster says.
    pub replicas: Option<u32>,
}

/// The name of the template of these indexes.
#[must_use]
pub fn name_of(prefix: &str) -> String {
    format!("{prefix}-lines")
}

impl Template {
    /// As it is put.
    #[must_use]
    pub fn document(&self) -> String {
        let mut settings = json!({
            // Lines are to be found within seconds, also by whoever has not searched for a while.
            "refresh_interval": "1s",
            "analysis": analysis(),
        });
        if let Some(shards) = self.shards {
            settings["number_of_shards"] = shards.into();
        }
        if let Some(replicas) = self.replicas {
            settings["number_of_replicas"] = replicas.into();
        }
        json!({
            "index_patterns": [format!("{}-*", self.prefix)],
            "priority": 200,
            "template": { "settings": { "index": settings }, "mappings": mappings() },
            "_meta": { "description": "log lines, written by logdrive-search index" },
        })
        .to_string()
    }
}

/// What joins words in logs. Whoever looks for words in a line without the index cuts it there too.
pub const JOINTS: [char; 7] = ['.', '_', ':', '\'', ',', '\u{b7}', '\u{2019}'];

/// The words of a line. The standard tokenizer knows every script, but takes `a.b.C`, `user_id` and `it's` for one
/// word each; so what joins words in logs is a space to it. What is searched for goes the same way: `10.0.0.1` is
/// found as four numbers next to each other.
fn analysis() -> Value {
    json!({
        "char_filter": {
            "joints": {
                "type": "mapping",
                "mappings": JOINTS.map(|joint| format!("{joint} => \\u0020")),
            },
        },
        "analyzer": {
            "line": {
                "type": "custom",
                "char_filter": ["joints"],
                "tokenizer": "standard",
                "filter": ["lowercase"],
            },
        },
    })
}

fn mappings() -> Value {
    // Longer ones are kept and shown, but cannot be searched for: Lucene's words end at 32,766 bytes.
    let keyword = json!({ "type": "keyword", "ignore_above": 8191 });
    let name = json!({ "type": "keyword", "ignore_above": 1024 });
    json!({
        // Fields that nobody announced: text is a word, and no second copy for full text.
        "dynamic_templates": [
            { "texts": { "match_mapping_type": "string", "mapping": name } },
        ],
        // What looks like a date is text until somebody says otherwise: the first line must not decide.
        "date_detection": false,
        "properties": {
            "@timestamp": { "type": "date" },
            // Length and frequency say nothing about the worth of a line.
            "message": { "type": "text", "analyzer": "line", "norms": false },
            "host": { "properties": { "name": keyword } },
            "log": {
                "properties": {
                    "file": { "properties": { "path": keyword } },
                    "offset": { "type": "long" },
                    "level": name,
                },
            },
            "event": { "properties": { "dataset": name } },
            "logdrive": { "properties": { "generation": { "type": "keyword" } } },
            "kafka": {
                "properties": {
                    "topic": name,
                    "partition": { "type": "integer" },
                    // In a partition the lines of one file stand in their order.
                    "offset": { "type": "long" },
                },
            },
        },
    })
}
