//! Where every line ends, in lines/bytes. That the sums hold is asserted after each step of any story.

use expect_test::{Expect, expect};

use super::world::{World, item_policy, limits};
use crate::plan::ItemPolicy;

fn check(change: impl FnOnce(&mut ItemPolicy), script: &str, expected: Expect) {
    let mut item = item_policy();
    change(&mut item);
    World::new(item, limits()).check(script, expected);
}

#[test]
fn dropped_bytes_inside_a_batch_are_not_acknowledged_bytes() {
    let exclude = |item: &mut ItemPolicy| {
        item.frame.line_bytes_max = 5;
        item.frame.exclude_lines = Some(regex::bytes::RegexSet::new(["^no"]).unwrap());
    };
    check(
        exclude,
        r#"append a "one\nno\ntoolong\ntwo\n"; list; wait 30; counts; ack; counts; append a "no\n"; wait 30; counts"#,
        expect![[r#"
            found /l/a at 0
            send #1 /l/a[0,19) one|toolo|two
            counts read 4/19, in flight 4/19
            counts read 4/19, acked 3/13, filtered 1/3, long 0/3, truncated 1/0
            counts read 5/22, acked 3/13, filtered 2/6, long 0/3, truncated 1/0
        "#]],
    );
}

#[test]
fn what_is_lost_is_in_flight_until_it_is_read_again() {
    check(
        |_| {},
        r#"append a "1\n"; list; wait 30; append a "22\n"; wait 30; lose 1; counts; ack 2; wait 200; counts; ack; counts"#,
        expect![[r#"
            found /l/a at 0
            send #1 /l/a[0,2) 1
            send #2 /l/a[2,5) 22
            counts read 2/5, in flight 2/5
            replay /l/a from 0
            send #3 /l/a[0,5) 1|22
            counts read 4/10, acked 1/3, replayed 1/2, in flight 2/5
            counts read 4/10, acked 3/8, replayed 1/2
        "#]],
    );
}

#[test]
fn what_is_lost_vanishes_with_a_truncation() {
    check(
        |_| {},
        r#"append a "1\n2\nunfinished"; list; wait 30; truncate a; append a "x\n"; wait 30; lose 1; wait 200; ack; counts"#,
        expect![[r#"
            found /l/a at 0
            send #1 /l/a[0,4) 1|2
            replaced /l/a at 4
            send #2 /l/a[0,2) x
            counts read 3/6, acked 1/2, vanished 2/4, gone 0/10
        "#]],
    );
}

#[test]
fn what_is_lost_is_read_again_from_the_copy() {
    check(
        |_| {},
        r#"append a "1\n2\n"; list; wait 30; copy a a.1; list; wait 30; truncate a; append a "x\n"; wait 30; lose 1; counts; wait 200; ack; wait 200; ack; counts"#,
        expect![[r#"
            found /l/a at 0
            send #1 /l/a[0,4) 1|2
            found /l/a.1 at 0
            replaced /l/a at 4
            adopted /l/a.1 at 0
            send #2 /l/a.1[0,4) 1|2
            send #3 /l/a[0,2) x
            counts read 5/10, replayed 2/4, in flight 3/6
            counts read 5/10, acked 3/6, replayed 2/4
        "#]],
    );
}

#[test]
fn a_batch_that_cannot_be_sent_is_read_again() {
    check(
        |_| {},
        r#"away on; append a "1\n"; list; wait 30; counts; away off; wait 200; ack; counts"#,
        expect![[r#"
            found /l/a at 0
            counts read 1/2, replayed 1/2
            send #1 /l/a[0,2) 1
            counts read 2/4, acked 1/2, replayed 1/2
        "#]],
    );
}
