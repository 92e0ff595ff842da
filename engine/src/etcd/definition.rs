//! From the value of a key to the text of items: TOML, JSON, and the arrays of small agents.
//!
//! Every item becomes the TOML that would stand under `[[item]]` in a file, so that one piece of code judges
//! all of them. Not here: whether an item is right, or allowed.

use serde_json::Value;

/// What one key may hold. Larger values are no items, and etcd itself takes 1.5 MB.
pub const VALUE_BYTES_MAX: usize = 64 << 10;

/// What a key with an array may hold.
pub const ARRAY_BYTES_MAX: usize = 512 << 10;

/// One item as it is wanted.
#[derive(Clone, Eq, PartialEq, Debug)]
pub struct Definition {
    /// Its name.
    pub name: String,
    /// The keys of `[[item]]` as TOML.
    pub text: String,
}

/// An entry of an array that is no item, by its name if it has one.
#[derive(Clone, Eq, PartialEq, Debug)]
pub struct Unclear {
    /// What it calls itself.
    pub name: Option<String>,
    /// What is wrong.
    pub reason: String,
}

/// Names under which small agents write the keys of an item, without `_`, `-` and capitals.
const SPELLINGS: [(&str, &[&str]); 4] = [
    (
        "include",
        &[
            "include",
            "path",
            "paths",
            "file",
            "files",
            "filename",
            "filepath",
            "logpath",
            "logfile",
            "logfilepath",
        ],
    ),
    ("topic", &["topic", "kafkatopic", "topicname"]),
    ("name", &["name", "service"]),
    ("rate_limit", &["ratelimit", "sendrate"]),
];

/// The item of a key of its own. A value that begins with `{` is JSON, any other is TOML.
///
/// # Errors
/// It is no text, too large, or no JSON object. TOML is not looked at.
pub fn item(name: &str, value: &[u8]) -> Result<Definition, String> {
    let text = text(value, VALUE_BYTES_MAX)?;
    let text = match text.trim_start().starts_with('{') {
        true => {
            let object = serde_json::from_str(text).map_err(|error| format!("broken JSON: {error}"))?;
            toml_of(object)?
        }
        false => text.to_owned(),
    };
    Ok(Definition { name: name.to_owned(), text })
}

/// The items of an array. Entries with the same name that differ in their paths only are one item: these
/// arrays have an entry for each file.
///
/// # Errors
/// It is no text, too large, or no JSON array.
pub fn array(value: &[u8]) -> Result<Vec<Result<Definition, Unclear>>, String> {
    let text = text(value, ARRAY_BYTES_MAX)?;
    let entries: Vec<Value> =
        serde_json::from_str(text).map_err(|error| format!("no JSON array: {error}"))?;
    let mut items: Vec<Result<Entry, Unclear>> = Vec::new();
    for entry in entries {
        let entry = match Entry::of(entry) {
            Ok(entry) => entry,
            Err(unclear) => {
                items.push(Err(unclear));
                continue;
            }
        };
        match items.iter_mut().flatten().find(|other| other.name == entry.name) {
            None => items.push(Ok(entry)),
            Some(other) if other.rest == entry.rest => other.include.extend(entry.include),
            Some(_) => items.push(Err(Unclear {
                reason:
                    "two entries have this name and differ in more than their paths; give each its own `name`"
                        .to_owned(),
                name: Some(entry.name),
            })),
        }
    }
    Ok(items.into_iter().map(|entry| entry.and_then(Entry::definition)).collect())
}

/// An entry of an array, its keys under their right names.
struct Entry {
    name: String,
    include: Vec<Value>,
    rest: serde_json::Map<String, Value>,
}

impl Entry {
    fn of(value: Value) -> Result<Entry, Unclear> {
        let unclear = |name: Option<&Value>, reason: String| Unclear {
            name: name.and_then(Value::as_str).map(str::to_owned),
            reason,
        };
        let Value::Object(written) = value else {
            return Err(unclear(None, format!("an entry is no object: {value:.40}")));
        };
        let mut rest = serde_json::Map::new();
        for (key, value) in written {
            let plain: String =
                key.chars().filter(|c| !matches!(c, '_' | '-')).collect::<String>().to_lowercase();
            let known = SPELLINGS.iter().find(|(_, spellings)| spellings.contains(&&plain[..]));
            let name = known.map_or(&key[..], |(name, _)| name);
            if rest.insert(name.to_owned(), value).is_some() {
                return Err(unclear(rest.get("name"), format!("`{name}` is written twice, once as `{key}`")));
            }
        }
        let include = match rest.remove("include") {
            Some(Value::Array(paths)) => paths,
            Some(path) => vec![path],
            None => return Err(unclear(rest.get("name").or(rest.get("topic")), "no `path`".to_owned())),
        };
        let name = rest.remove("name").or_else(|| rest.get("topic").cloned());
        match name {
            Some(Value::String(name)) => Ok(Entry { name, include, rest }),
            _ => Err(unclear(None, "no `topic`".to_owned())),
        }
    }

    fn definition(mut self) -> Result<Definition, Unclear> {
        self.rest.insert("include".to_owned(), Value::Array(self.include));
        match toml_of(Value::Object(self.rest)) {
            Ok(text) => Ok(Definition { name: self.name, text }),
            Err(reason) => Err(Unclear { name: Some(self.name), reason }),
        }
    }
}

fn text(value: &[u8], bytes_max: usize) -> Result<&str, String> {
    if value.len() > bytes_max {
        return Err(format!("{} bytes; an item has at most {bytes_max}", value.len()));
    }
    std::str::from_utf8(value).map_err(|error| format!("not UTF-8 from byte {} on", error.valid_up_to()))
}

fn toml_of(object: Value) -> Result<String, String> {
    let table: toml::Table =
        serde_json::from_value(object).map_err(|error| format!("no TOML table: {error}"))?;
    toml::to_string(&table).map_err(|error| format!("no TOML table: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::expect;

    fn shown(value: &str) -> String {
        match array(value.as_bytes()) {
            Err(reason) => format!("{reason}\n"),
            Ok(items) => {
                let line = |item: &Result<Definition, Unclear>| match item {
                    Ok(item) => format!("{}: {}\n", item.name, item.text.trim_end().replace('\n', " | ")),
                    Err(unclear) => {
                        format!("{}: refused, {}\n", unclear.name.as_deref().unwrap_or("?"), unclear.reason)
                    }
                };
                items.iter().map(line).collect()
            }
        }
    }

    #[test]
    fn the_arrays_of_small_agents_are_understood() {
        expect![[r#"
            web_log: include = ["/l/a.log", "/l/b.log"] | topic = "web_log"
            db: include = ["/l/db.log"] | topic = "db_log"
            nginx: include = ["/l/n.log"] | rate_limit = 1000 | topic = "nginx_log"
            many: include = ["/l/1", "/l/2"] | topic = "t"
        "#]]
        .assert_eq(&shown(
            r#"[{"path":"/l/a.log","topic":"web_log"}, {"filepath":"/l/b.log","topic":"web_log"},
                {"name":"db","fileName":"/l/db.log","kafka_topic":"db_log"},
                {"service":"nginx","log_path":"/l/n.log","topic":"nginx_log","send_rate":1000},
                {"name":"many","paths":["/l/1","/l/2"],"Topic":"t"}]"#,
        ));
    }

    #[test]
    fn g09_an_entry_that_is_no_item_is_refused_alone() {
        expect![[r#"
            ?: refused, an entry is no object: 7
            t: refused, no `path`
            ?: refused, no `topic`
            a: include = ["/l/a"] | topic = "a"
            a: refused, two entries have this name and differ in more than their paths; give each its own `name`
            ?: refused, `include` is written twice, once as `path`
            n: refused, no TOML table: invalid type: null, expected any valid TOML value
        "#]]
        .assert_eq(&shown(
            r#"[7, {"topic":"t"}, {"path":"/l/x"}, {"path":"/l/a","topic":"a"},
                {"path":"/l/b","topic":"a","headers":true}, {"file":"/l/c","path":"/l/d","topic":"d"},
                {"path":"/l/n","topic":"n","fields":null}]"#,
        ));
        expect![[r#"
            no JSON array: invalid type: map, expected a sequence at line 1 column 0
        "#]]
        .assert_eq(&shown("{}"));
    }

    #[test]
    fn an_item_is_toml_or_json() {
        let toml = "include = ['/l/*']\n[multiline]\nstart = '^x'\n";
        assert_eq!(item("a", toml.as_bytes()).unwrap().text, toml);
        let json = item("a", br#" {"include":["/l/*"],"multiline":{"start":"^x"},"topic":"t"}"#).unwrap();
        expect![[r#"
            include = ["/l/*"]
            topic = "t"

            [multiline]
            start = "^x"
        "#]]
        .assert_eq(&json.text);
    }

    #[test]
    fn g09_what_is_no_text_or_too_large_or_too_deep_is_refused() {
        assert_eq!(item("a", b"include\xff").unwrap_err(), "not UTF-8 from byte 7 on");
        let large = vec![b' '; 1_400_000];
        assert_eq!(item("a", &large).unwrap_err(), "1400000 bytes; an item has at most 65536");
        assert_eq!(array(&large).unwrap_err(), "1400000 bytes; an item has at most 524288");
        let deep = format!("{{\"a\":{}{}}}", "[".repeat(20_000), "]".repeat(20_000));
        assert!(item("a", deep.as_bytes()).unwrap_err().contains("recursion limit"));
    }
}
