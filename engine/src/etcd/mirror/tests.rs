use expect_test::{Expect, expect};
use proptest::prelude::*;

use super::*;
use crate::etcd::keyspace::tests::plan;

fn mirror() -> Mirror {
    Mirror::new(Terms {
        plan: plan(&["web", "all"], Some("/array")),
        limits: ItemLimits { message_bytes_max: 1_048_588, line_buffer_max: 1 << 21 },
        taken: BTreeSet::from(["own".to_owned()]),
    })
}

fn at(revision: u64) -> Stamp {
    Stamp { cluster: 1, revision, term: 2 }
}

fn item(path: &str) -> Vec<u8> {
    format!("include = ['/var/log/{path}']\ntopic = 't'\n").into_bytes()
}

fn key(name: &str) -> String {
    format!("/logdrive/items/{name}")
}

fn kv(name: &str, value: impl Into<Vec<u8>>, mod_revision: u64) -> KeyValue {
    KeyValue { key: key(name), value: value.into(), mod_revision }
}

fn put(name: &str, value: impl Into<Vec<u8>>, mod_revision: u64) -> Event {
    Event { key: key(name), value: Some(value.into()), mod_revision }
}

fn delete(name: &str, mod_revision: u64) -> Event {
    Event { key: key(name), value: None, mod_revision }
}

fn shown(mirror: &Mirror) -> String {
    let outcome = mirror.outcome();
    let items =
        outcome.items.iter().map(|good| format!("{}: {}\n", good.plan.name, good.plan.include.join(" ")));
    let refusals = outcome.refusals.iter().map(|refusal| {
        let item = refusal.item.as_deref().unwrap_or("?");
        let earlier = if refusal.earlier_in_force { " (the earlier one is in force)" } else { "" };
        format!("refused {item} of {}: {}{earlier}\n", refusal.key, refusal.reason)
    });
    items.chain(refusals).collect()
}

#[track_caller]
fn check(mirror: &Mirror, expected: &Expect) {
    expected.assert_eq(&shown(mirror));
}

#[test]
fn the_host_goes_before_its_groups_and_the_file_before_all() {
    let mut mirror = mirror();
    let array =
        br#"[{"path":"/var/log/n","topic":"t","name":"nginx"},{"path":"/var/log/q","topic":"q_log"}]"#;
    let array = KeyValue { key: "/array".to_owned(), value: array.to_vec(), mod_revision: 4 };
    mirror.list(
        at(9),
        vec![
            kv("all/nginx", item("all"), 3),
            kv("host:h1/nginx", item("host"), 5),
            kv("host:h1/own", item("x"), 5),
            kv("web/db", item("db"), 2),
            kv("web/nginx", item("web"), 7),
            array,
        ],
    );
    check(
        &mirror,
        &expect![[r#"
            nginx: /var/log/host
            db: /var/log/db
            q_log: /var/log/q
            refused own of /logdrive/items/host:h1/own: an item of the configuration file has the same name and goes before
            refused nginx of /logdrive/items/web/nginx: /logdrive/items/host:h1/nginx has the same name and goes before
            refused nginx of /logdrive/items/all/nginx: /logdrive/items/host:h1/nginx has the same name and goes before
            refused nginx of /array: /logdrive/items/host:h1/nginx has the same name and goes before
        "#]],
    );
    mirror.event(delete("host:h1/nginx", 10));
    assert!(shown(&mirror).starts_with("db: /var/log/db\nnginx: /var/log/web\n"), "{}", shown(&mirror));
}

#[test]
fn g09_a_value_that_is_refused_leaves_the_one_before_in_force_and_others_alone() {
    let mut mirror = mirror();
    mirror.list(at(2), vec![kv("web/a", item("a"), 1), kv("web/b", item("b"), 2)]);
    mirror.event(put("web/a", vec![b'x'; 1_400_000], 3));
    mirror.event(put("web/b", item("b2"), 4));
    mirror.event(put("web/c", b"\xff".to_vec(), 5));
    mirror.event(put("web/d", "include = ['/etc/shadow']\ntopic = 't'\n", 6));
    mirror.event(put("web/e/f", item("e"), 7));
    check(
        &mirror,
        &expect![[r#"
            a: /var/log/a
            b: /var/log/b2
            refused ? of /logdrive/items/web/a: 1400000 bytes; an item has at most 65536 (the earlier one is in force)
            refused ? of /logdrive/items/web/c: not UTF-8 from byte 0 on
            refused d of /logdrive/items/web/d: it may not read in /etc: `allow_paths` of this host's [etcd] is ["/var/log", "/srv/app/log"]
            refused e/f of /logdrive/items/web/e/f: `name` is "e/f"; allowed: 1 to 249 letters, digits, `.`, `_` and `-`
        "#]],
    );
    mirror.event(put("web/a", item("a2"), 8));
    assert!(shown(&mirror).starts_with("a: /var/log/a2\n"));
}

#[test]
fn g09_an_entry_of_an_array_is_refused_alone() {
    let mut mirror = mirror();
    let array = |text: &str, mod_revision| Event {
        key: "/array".to_owned(),
        value: Some(text.as_bytes().to_vec()),
        mod_revision,
    };
    mirror
        .event(array(r#"[{"path":"/var/log/a","topic":"a_log"},{"path":"/var/log/b","topic":"b_log"}]"#, 1));
    mirror.event(array(r#"[{"path":"/etc/a","topic":"a_log"},{"path":"/var/log/c","topic":"c_log"}, 3]"#, 2));
    check(
        &mirror,
        &expect![[r#"
            a_log: /var/log/a
            c_log: /var/log/c
            refused a_log of /array: it may not read in /etc: `allow_paths` of this host's [etcd] is ["/var/log", "/srv/app/log"] (the earlier one is in force)
            refused ? of /array: an entry is no object: 3
        "#]],
    );
    mirror.event(array("[", 3));
    assert!(shown(&mirror).starts_with("a_log: /var/log/a\nc_log: /var/log/c\n"), "all of it stays");
}

#[test]
fn g08_what_is_older_than_what_is_known_changes_nothing() {
    let mut mirror = mirror();
    mirror.list(at(5), vec![kv("web/a", item("five"), 5)]);
    assert!(!mirror.event(put("web/a", item("four"), 4)) && !mirror.event(delete("web/a", 3)));
    assert!(mirror.event(delete("web/a", 7)));
    assert!(!mirror.event(put("web/a", item("six"), 6)), "it was deleted later");
    assert_eq!(shown(&mirror), "");
    assert!(mirror.event(put("web/a", item("eight"), 8)) && !mirror.event(put("web/a", item("eight"), 8)));
    // A list that was taken before the event.
    mirror.list(at(7), vec![]);
    assert_eq!(shown(&mirror), "a: /var/log/eight\n");
    mirror.list(at(8), vec![]);
    assert_eq!(shown(&mirror), "", "an event was missed: the list tells");
}

#[test]
fn g06_an_etcd_that_lost_its_data_takes_nothing_away_until_it_has_items_again() {
    let mut mirror = mirror();
    mirror.list(at(50), vec![kv("web/a", item("a"), 40), kv("web/b", item("b"), 41)]);
    assert!(mirror.list(at(1), vec![]) && mirror.is_holding());
    assert!(!mirror.list(at(1), vec![]), "it is said once");
    assert_eq!(shown(&mirror), "a: /var/log/a\nb: /var/log/b\n");
    mirror.event(put("web/a", item("a2"), 2));
    assert_eq!(shown(&mirror), "a: /var/log/a2\nb: /var/log/b\n", "others may follow");
    mirror.list(at(2), vec![kv("web/a", item("a2"), 2)]);
    assert_eq!(shown(&mirror), "a: /var/log/a2\n", "what etcd has is what is wanted, again");
    assert!(!mirror.is_holding());
    // And when there is to be none.
    assert!(mirror.list(Stamp { cluster: 2, revision: 90, term: 3 }, vec![]));
    mirror.event(put("web/x", item("x"), 91));
    mirror.event(delete("web/x", 92));
    mirror.list(Stamp { cluster: 2, revision: 92, term: 3 }, vec![]);
    assert_eq!(shown(&mirror), "");
}

#[test]
fn g06_what_was_in_force_is_taken_up_and_judged_anew() {
    let mut before = mirror();
    before.list(at(3), vec![kv("web/a", item("a"), 1), kv("web/b", item("b"), 2)]);
    before.event(put("web/b", "broken", 4));
    let kept: Vec<_> = before.in_force().map(|(key, one)| (key.to_owned(), one.clone())).collect();
    let mut after = mirror();
    after.terms.limits.line_buffer_max = 1 << 21;
    after.restore(at(3), kept.clone());
    assert_eq!(shown(&after), "a: /var/log/a\nb: /var/log/b\n");
    // The bad value is still there.
    after.list(at(9), vec![kv("web/a", item("a"), 1), kv("web/b", "broken", 4)]);
    let text = shown(&after);
    assert!(
        text.starts_with("a: /var/log/a\nb: /var/log/b\nrefused b") && text.contains("earlier"),
        "{text}"
    );
    // Meanwhile this host allows nothing any more.
    let mut strict = mirror();
    strict.allow = Allow::new(&EtcdPlan { allow_paths: vec![], ..plan(&[], None) });
    strict.restore(at(3), kept);
    assert!(strict.outcome().items.is_empty());
}

#[test]
fn an_item_that_did_not_change_is_not_compiled_again() {
    let mut mirror = mirror();
    mirror.list(at(1), vec![kv("web/a", item("a"), 1)]);
    let first = mirror.outcome().items[0].clone();
    mirror.list(at(9), vec![kv("web/a", item("a"), 8)]);
    assert!(Arc::ptr_eq(&first, &mirror.outcome().items[0]));
}

/// One change of the history: which of three keys, and whether it is put or deleted.
fn history() -> impl Strategy<Value = Vec<(usize, bool)>> {
    proptest::collection::vec((0..3_usize, proptest::bool::weighted(0.7)), 1..12)
}

proptest! {
    /// Any events of a history, in any order and number, and then a list: exactly the list is in force.
    #[test]
    fn g08_dropped_repeated_and_reordered_events_are_harmless(
        history in history(),
        told in proptest::collection::vec((0..12_usize, any::<bool>()), 0..40),
    ) {
        let names = ["web/a", "host:h1/b", "all/c"];
        let event = |index: usize| {
            let (name, is_put) = history[index];
            let revision = index as u64 + 1;
            if is_put { put(names[name], item(&format!("{revision}")), revision) } else { delete(names[name], revision) }
        };
        let list = |upto: usize| -> Vec<KeyValue> {
            let last = |name: usize| (0..upto).rev().find(|&index| history[index].0 == name);
            (0..3).filter_map(last).filter(|&index| history[index].1).map(|index| {
                let Event { key, value, mod_revision } = event(index);
                KeyValue { key, value: value.unwrap(), mod_revision }
            }).collect()
        };
        let mut mirror = mirror();
        let mut listed = 0;
        for (index, is_list) in told {
            let index = index % history.len();
            if is_list && index >= listed {
                // Lists come in the order in which they were asked for.
                listed = index;
                mirror.list(at(listed as u64), list(listed));
            } else {
                mirror.event(event(index));
            }
        }
        mirror.list(at(history.len() as u64), list(history.len()));
        let mut fresh = self::mirror();
        fresh.list(at(history.len() as u64), list(history.len()));
        prop_assert_eq!(shown(&mirror), shown(&fresh));
    }
}
