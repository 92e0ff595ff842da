//! From a query to what OpenSearch is asked: documents of its query language, in which everything that was typed is
//! a value.
//!
//! What is asked is bounded here: how many lines, how many values of a field, how many bars. Only what OpenSearch
//! and Elasticsearch have in common is used.

use serde_json::{Value, json};

use super::query::matcher::shapes_of;
use super::query::pattern::Shape;
use super::query::{Bounds, Clause, Field, LEVEL, Query, Test};
use super::range::TimeRange;

/// Lines are counted exactly up to here; more are "more than that", which saves looking at all of them.
pub(super) const TOTAL_MAX: u64 = 10_000;
/// Values of a field that are counted one by one.
pub(super) const FACET_VALUES_MAX: u64 = 12;
/// The fields whose values are counted, and the names that people type for them.
pub(super) const FACETS: [&str; 4] = ["level", "host", "file", "topic"];
/// Levels that are told apart in a histogram.
const LEVELS_MAX: u64 = 20;

/// What identifies a line among all, and orders those of the same millisecond as they were written.
pub(super) const ORDER: [&str; 4] = ["@timestamp", "kafka.topic", "kafka.partition", "kafka.offset"];

/// A query as a document.
#[must_use]
pub(super) fn query(query: &Query) -> Value {
    let all = |members: &[Query]| members.iter().map(self::query).collect::<Vec<_>>();
    match query {
        Query::All => json!({ "match_all": {} }),
        Query::And(members) => json!({ "bool": { "filter": all(members) } }),
        Query::Or(members) => json!({ "bool": { "should": all(members), "minimum_should_match": 1 } }),
        Query::Not(inner) => json!({ "bool": { "must_not": [self::query(inner)] } }),
        Query::Clause(Clause { field: Field::Message, test }) => message(test),
        Query::Clause(Clause { field: Field::Named(name), test }) => named(name, test),
    }
}

fn message(test: &Test) -> Value {
    let shapes = shapes_of(test).unwrap_or_default();
    let words: Option<Vec<&str>> = shapes
        .iter()
        .map(|shape| match shape {
            Shape::Word(word) => Some(word.as_str()),
            Shape::Prefix(_) | Shape::Like(_) => None,
        })
        .collect();
    match (words, &shapes[..]) {
        (Some(words), _) => json!({ "match_phrase": { "message": { "query": words.join(" ") } } }),
        (None, [Shape::Prefix(prefix)]) => json!({ "prefix": { "message": { "value": prefix } } }),
        (None, [Shape::Like(pattern)]) => {
            json!({ "wildcard": { "message": { "value": pattern.escaped() } } })
        }
        (None, shapes) => {
            let rule = |shape: &Shape| match shape {
                Shape::Word(word) => json!({ "match": { "query": word } }),
                Shape::Prefix(prefix) => json!({ "prefix": { "prefix": prefix } }),
                Shape::Like(pattern) => json!({ "wildcard": { "pattern": pattern.escaped() } }),
            };
            let rules: Vec<Value> = shapes.iter().map(rule).collect();
            json!({ "intervals": { "message": {
                "all_of": { "ordered": true, "max_gaps": 0, "intervals": rules },
            } } })
        }
    }
}

fn named(name: &str, test: &Test) -> Value {
    let is_level = name == LEVEL;
    match test {
        Test::Exists => json!({ "exists": { "field": name } }),
        Test::Is(value) if is_level => {
            json!({ "term": { name: { "value": value, "case_insensitive": true } } })
        }
        // As the field's own kind wants it: whole for words, as a number for numbers, found nowhere if it is none.
        Test::Is(value) => {
            json!({ "match": { name: { "query": value, "operator": "and", "lenient": true } } })
        }
        Test::Like(pattern) => {
            json!({ "wildcard": { name: { "value": pattern.escaped(), "case_insensitive": is_level } } })
        }
        Test::Within(bounds) => json!({ "range": { name: range(bounds) } }),
    }
}

fn range(bounds: &Bounds) -> Value {
    let mut document = json!({});
    if let Some(from) = &bounds.from {
        document[if from.is_included { "gte" } else { "gt" }] = from.value.clone().into();
    }
    if let Some(to) = &bounds.to {
        document[if to.is_included { "lte" } else { "lt" }] = to.value.clone().into();
    }
    document
}

/// A query within a range of time.
fn within(query: &Query, range: TimeRange) -> Value {
    json!({ "bool": { "filter": [
        { "range": { "@timestamp": {
            "gte": range.from_ms, "lt": range.to_ms, "format": "epoch_millis",
        } } },
        self::query(query),
    ] } })
}

/// Which way a list goes.
#[derive(Copy, Clone, Debug, Eq, PartialEq)]
pub(super) enum Direction {
    /// The newest line first.
    Down,
    /// The oldest line first.
    Up,
}

impl Direction {
    fn word(self) -> &'static str {
        match self {
            Direction::Down => "desc",
            Direction::Up => "asc",
        }
    }
}

fn sorted(fields: &[&str], direction: Direction) -> Value {
    let kind = |field: &str| match field {
        "@timestamp" => "date",
        "kafka.topic" => "keyword",
        _ => "long",
    };
    let by = |field: &&str| json!({ *field: { "order": direction.word(), "unmapped_type": kind(field) } });
    fields.iter().map(by).collect()
}

/// What lists lines.
#[derive(Copy, Clone, Debug)]
pub(super) struct Listing<'a> {
    /// Which.
    pub query: &'a Query,
    /// Of when.
    pub range: TimeRange,
    /// The newest or the oldest first.
    pub direction: Direction,
    /// Behind which line; its place in the order.
    pub after: Option<&'a Value>,
    /// How many.
    pub size: usize,
    /// Whether to say how many there are in all.
    pub counts: bool,
}

impl Listing<'_> {
    /// As it is asked; an answer that takes longer is to be given in part.
    #[must_use]
    pub(super) fn document(&self, patience_ms: u128) -> Value {
        let mut document = json!({
            "size": self.size,
            "query": within(self.query, self.range),
            "sort": sorted(&ORDER, self.direction),
            "track_total_hits": if self.counts { TOTAL_MAX.into() } else { Value::from(false) },
            "timeout": format!("{patience_ms}ms"),
        });
        if let Some(after) = self.after {
            document["search_after"] = after.clone();
        }
        document
    }
}

/// What counts lines: by time and level, and by the values of some fields.
#[must_use]
pub(super) fn counts(query: &Query, range: TimeRange, patience_ms: u128) -> Value {
    let width = format!("{}ms", range.bar_ms());
    let levels = json!({ "terms": { "field": LEVEL, "size": LEVELS_MAX } });
    let mut aggregations = json!({
        "time": {
            "date_histogram": { "field": "@timestamp", "fixed_interval": width, "min_doc_count": 1 },
            "aggs": { "level": levels },
        },
    });
    for name in FACETS {
        let field = Field::of_name(name);
        aggregations[name] = json!({ "terms": { "field": field.in_index(), "size": FACET_VALUES_MAX } });
        aggregations[format!("no_{name}")] = json!({ "missing": { "field": field.in_index() } });
    }
    json!({
        "size": 0,
        "query": within(query, range),
        "track_total_hits": true,
        "timeout": format!("{patience_ms}ms"),
        "aggs": aggregations,
    })
}

/// What finds one line by its id.
#[must_use]
pub(super) fn by_id(id: &str) -> Value {
    json!({ "size": 1, "query": { "ids": { "values": [id] } }, "track_total_hits": false })
}

/// What lists the lines next to one: those that hold the same in `same`, beyond a place in the order of `by`.
#[must_use]
pub(super) fn neighbours(
    same: &[(&str, Value)],
    by: &[&str],
    after: &[Value],
    direction: Direction,
    size: usize,
    patience_ms: u128,
) -> Value {
    let filter: Vec<Value> = same.iter().map(|(field, value)| json!({ "term": { *field: value } })).collect();
    json!({
        "size": size,
        "query": { "bool": { "filter": filter } },
        "sort": sorted(by, direction),
        "search_after": after,
        "track_total_hits": false,
        "timeout": format!("{patience_ms}ms"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::serve::query::parse;
    use expect_test::{Expect, expect};

    fn check(texts: &[&str], expected: Expect) {
        let line = |text: &&str| format!("{text}\n  {}\n", query(&parse(text).unwrap()));
        expected.assert_eq(&texts.iter().map(line).collect::<String>());
    }

    const RANGE: TimeRange = TimeRange { from_ms: 1000, to_ms: 3_601_000 };

    #[test]
    fn a_clause_is_a_value_in_its_place() {
        check(
            &[
                "",
                "error",
                "10.0.0.1",
                "\"connection refused\"",
                "conn*",
                "ti?eo*t",
                "10.0.12*",
                "level:Error",
                "level:err*",
                "host:web-1",
                "host:web-*",
                "file:/var/*/a\\*b",
                "item:*",
                "offset:>=10",
                "offset:{10 TO 20]",
                "took:[* TO 1.5]",
                "status:500",
            ],
            expect![[r#"

                  {"match_all":{}}
                error
                  {"match_phrase":{"message":{"query":"error"}}}
                10.0.0.1
                  {"match_phrase":{"message":{"query":"10 0 0 1"}}}
                "connection refused"
                  {"match_phrase":{"message":{"query":"connection refused"}}}
                conn*
                  {"prefix":{"message":{"value":"conn"}}}
                ti?eo*t
                  {"wildcard":{"message":{"value":"ti?eo*t"}}}
                10.0.12*
                  {"intervals":{"message":{"all_of":{"intervals":[{"match":{"query":"10"}},{"match":{"query":"0"}},{"prefix":{"prefix":"12"}}],"max_gaps":0,"ordered":true}}}}
                level:Error
                  {"term":{"log.level":{"case_insensitive":true,"value":"Error"}}}
                level:err*
                  {"wildcard":{"log.level":{"case_insensitive":true,"value":"err*"}}}
                host:web-1
                  {"match":{"host.name":{"lenient":true,"operator":"and","query":"web-1"}}}
                host:web-*
                  {"wildcard":{"host.name":{"case_insensitive":false,"value":"web-*"}}}
                file:/var/*/a\*b
                  {"wildcard":{"log.file.path":{"case_insensitive":false,"value":"/var/*/a\\*b"}}}
                item:*
                  {"exists":{"field":"event.dataset"}}
                offset:>=10
                  {"range":{"log.offset":{"gte":10}}}
                offset:{10 TO 20]
                  {"range":{"log.offset":{"gt":10,"lte":20}}}
                took:[* TO 1.5]
                  {"range":{"took":{"lte":1.5}}}
                status:500
                  {"match":{"status":{"lenient":true,"operator":"and","query":"500"}}}
            "#]],
        );
    }

    #[test]
    fn clauses_are_put_together() {
        check(
            &["a b", "a OR -b", "-(level:debug host:(x OR y))"],
            expect![[r#"
            a b
              {"bool":{"filter":[{"match_phrase":{"message":{"query":"a"}}},{"match_phrase":{"message":{"query":"b"}}}]}}
            a OR -b
              {"bool":{"minimum_should_match":1,"should":[{"match_phrase":{"message":{"query":"a"}}},{"bool":{"must_not":[{"match_phrase":{"message":{"query":"b"}}}]}}]}}
            -(level:debug host:(x OR y))
              {"bool":{"must_not":[{"bool":{"filter":[{"term":{"log.level":{"case_insensitive":true,"value":"debug"}}},{"bool":{"minimum_should_match":1,"should":[{"match":{"host.name":{"lenient":true,"operator":"and","query":"x"}}},{"match":{"host.name":{"lenient":true,"operator":"and","query":"y"}}}]}}]}}]}}
        "#]],
        );
    }

    #[test]
    fn x06_what_looks_like_a_query_is_a_word() {
        check(
            &[
                r#""{\"match_all\":{}}""#,
                r#"host:"*\"}}],\"size\":1000000000""#,
                "_index:x script:\"ctx._source\"",
            ],
            expect![[r#"
                "{\"match_all\":{}}"
                  {"match_phrase":{"message":{"query":"match all"}}}
                host:"*\"}}],\"size\":1000000000"
                  {"match":{"host.name":{"lenient":true,"operator":"and","query":"*\"}}],\"size\":1000000000"}}}
                _index:x script:"ctx._source"
                  {"bool":{"filter":[{"match":{"_index":{"lenient":true,"operator":"and","query":"x"}}},{"match":{"script":{"lenient":true,"operator":"and","query":"ctx._source"}}}]}}
            "#]],
        );
    }

    #[test]
    fn x06_what_is_asked_is_bounded() {
        let query = parse("a").unwrap();
        let after = json!([1, "t", 0, 7]);
        let listing = Listing {
            query: &query,
            range: RANGE,
            direction: Direction::Down,
            after: Some(&after),
            size: 100,
            counts: true,
        };
        expect![[r#"
            {
              "query": {
                "bool": {
                  "filter": [
                    {
                      "range": {
                        "@timestamp": {
                          "format": "epoch_millis",
                          "gte": 1000,
                          "lt": 3601000
                        }
                      }
                    },
                    {
                      "match_phrase": {
                        "message": {
                          "query": "a"
                        }
                      }
                    }
                  ]
                }
              },
              "search_after": [
                1,
                "t",
                0,
                7
              ],
              "size": 100,
              "sort": [
                {
                  "@timestamp": {
                    "order": "desc",
                    "unmapped_type": "date"
                  }
                },
                {
                  "kafka.topic": {
                    "order": "desc",
                    "unmapped_type": "keyword"
                  }
                },
                {
                  "kafka.partition": {
                    "order": "desc",
                    "unmapped_type": "long"
                  }
                },
                {
                  "kafka.offset": {
                    "order": "desc",
                    "unmapped_type": "long"
                  }
                }
              ],
              "timeout": "10000ms",
              "track_total_hits": 10000
            }"#]]
        .assert_eq(&format!("{:#}", listing.document(10_000)));
        expect![[r#"
            {
              "aggs": {
                "file": {
                  "terms": {
                    "field": "log.file.path",
                    "size": 12
                  }
                },
                "host": {
                  "terms": {
                    "field": "host.name",
                    "size": 12
                  }
                },
                "level": {
                  "terms": {
                    "field": "log.level",
                    "size": 12
                  }
                },
                "no_file": {
                  "missing": {
                    "field": "log.file.path"
                  }
                },
                "no_host": {
                  "missing": {
                    "field": "host.name"
                  }
                },
                "no_level": {
                  "missing": {
                    "field": "log.level"
                  }
                },
                "no_topic": {
                  "missing": {
                    "field": "kafka.topic"
                  }
                },
                "time": {
                  "aggs": {
                    "level": {
                      "terms": {
                        "field": "log.level",
                        "size": 20
                      }
                    }
                  },
                  "date_histogram": {
                    "field": "@timestamp",
                    "fixed_interval": "60000ms",
                    "min_doc_count": 1
                  }
                },
                "topic": {
                  "terms": {
                    "field": "kafka.topic",
                    "size": 12
                  }
                }
              },
              "query": {
                "bool": {
                  "filter": [
                    {
                      "range": {
                        "@timestamp": {
                          "format": "epoch_millis",
                          "gte": 1000,
                          "lt": 3601000
                        }
                      }
                    },
                    {
                      "match_phrase": {
                        "message": {
                          "query": "a"
                        }
                      }
                    }
                  ]
                }
              },
              "size": 0,
              "timeout": "10000ms",
              "track_total_hits": true
            }"#]]
        .assert_eq(&format!("{:#}", counts(&query, RANGE, 10_000)));
    }
}
