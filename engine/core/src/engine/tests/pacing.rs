//! Paces of bytes and holds: what waits, for how long, and what does not.
//!
//! A line of `fill` has 11 bytes, and a first read 16 KiB. The files of the second item end in `.two`.

use alloc::format;
use core::num::{NonZeroU32, NonZeroU64};

use expect_test::{Expect, expect};

use super::world::{World, item_policy, limits};
use crate::plan::ItemPolicy;

fn check(change: impl FnOnce(&mut ItemPolicy), script: &str, expected: Expect) {
    let mut item = item_policy();
    change(&mut item);
    World::new(item, limits()).check(script, expected);
}

fn bytes_per_second(rate: u64) -> impl FnOnce(&mut ItemPolicy) {
    move |item| item.rate_limit_bytes = NonZeroU64::new(rate)
}

#[test]
fn files_of_an_item_share_its_bytes_and_make_good_for_a_read_that_was_larger() {
    // 16 KiB come at once, since less is not worth a read, and cost 164 ms each.
    check(
        bytes_per_second(100_000),
        "quiet on; fill a 3000; fill b 3000; quiet off; list; wait 30; waited; wait 300; waited; wait 2000; waited",
        expect![[r#"
            found /l/a at 0
            found /l/b at 0
            send #1 /l/a[0,16379) 1489 lines
            waited held 0ns, all 0ns, item 83.79ms
            send #2 /l/a[16379,33000) 1511 lines
            send #3 /l/b[0,16379) 1489 lines
            waited held 0ns, all 0ns, item 413.79ms
            send #4 /l/b[16379,33000) 1511 lines
            waited held 0ns, all 0ns, item 580ms
        "#]],
    );
}

#[test]
fn a_read_under_way_holds_up_those_that_could_use_up_what_is_there_and_no_longer() {
    check(
        bytes_per_second(100_000),
        r#"slow; quiet on; append a "1\n"; append b "2\n"; append c "3\n"; append d.two "4\n"; quiet off; list; wait 30; finish;
           wait 1; counts; finish; wait 1; counts; finish; wait 1; counts; finish; wait 1; waited"#,
        expect![[r#"
            found /l/d.two at 0
            found /l/a at 0
            found /l/b at 0
            found /l/c at 0
            send #1 /l/d.two[0,2) 4
            send #2 /l/a[0,2) 1
            counts read 1/2, in flight 1/2
            send #3 /l/b[0,2) 2
            counts read 2/4, in flight 2/4
            send #4 /l/c[0,2) 3
            counts read 3/6, in flight 3/6
            waited held 0ns, all 0ns, item 0ns
        "#]],
    );
}

#[test]
fn a_read_that_comes_back_to_nobody_is_no_longer_waited_for() {
    check(
        bytes_per_second(100_000),
        r#"slow; append a "1\n"; list; wait 30; retire; wait 1; restore; wait 100; finish; wait 100; finish; wait 500; finish; wait 100"#,
        expect![[r#"
            found /l/a at 0
            resume /l/a at 0
            send #1 /l/a[0,2) 1
        "#]],
    );
}

#[test]
fn a_line_that_is_longer_than_a_portion_is_read_all_the_same() {
    let long = "x".repeat(40_000);
    check(
        |item| {
            item.rate_limit_bytes = NonZeroU64::new(1_000);
            item.frame.line_bytes_max = 50_000;
            item.frame.exclude_lines = Some(regex::bytes::RegexSet::new(["^x"]).unwrap());
        },
        &format!(r#"quiet on; append a "{long}\n1\n"; quiet off; list; wait 1000; counts"#),
        expect![[r#"
            found /l/a at 0
            send #1 /l/a[0,40003) 1
            counts read 2/40003, in flight 2/40003
        "#]],
    );
}

#[test]
fn the_pace_of_all_items_is_shared_by_them() {
    check(
        |_| {},
        "pace 100000; quiet on; fill a 3000; fill b.two 3000; quiet off; list; wait 500; waited; pace off; wait 1; waited",
        expect![[r#"
            found /l/b.two at 0
            found /l/a at 0
            send #1 /l/b.two[0,16379) 1489 lines
            send #2 /l/a[0,16379) 1489 lines
            send #3 /l/b.two[16379,33000) 1511 lines
            send #4 /l/a[16379,33000) 1511 lines
            waited held 0ns, all 580ms, item 0ns
            waited held 0ns, all 580ms, item 0ns
        "#]],
    );
}

#[test]
fn while_reads_are_held_up_acknowledgements_and_checkpoints_are_not() {
    check(
        |_| {},
        r#"append a "1\n"; list; wait 30; hold 1000; append a "2\n"; wait 100; ack 1; positions; saved; wait 500; waited;
           wait 600; waited; positions"#,
        expect![[r#"
            found /l/a at 0
            send #1 /l/a[0,2) 1
            /l/a 0<=2<=2<=2<=2<=2 waiting for its turn
            saved 2
            waited held 1s, all 0ns, item 0ns
            send #2 /l/a[2,4) 2
            waited held 1s, all 0ns, item 0ns
            /l/a 0<=2<=4<=4<=4<=4 at end
        "#]],
    );
}

#[test]
fn without_anything_to_read_nothing_waits() {
    check(
        |item| item.rate_limit = NonZeroU32::new(1),
        r#"append a "1\n"; list; wait 3000; waited; pace 1000; hold 5000; wait 5000; waited"#,
        expect![[r#"
            found /l/a at 0
            send #1 /l/a[0,2) 1
            waited held 0ns, all 0ns, item 1s
            waited held 0ns, all 0ns, item 1s
        "#]],
    );
}
