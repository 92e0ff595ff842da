//! Files that are not UTF-8: positions, restarts, flushes and ends are those of the file, and the text is right.

use core::time::Duration;

use expect_test::{Expect, expect};

use super::world::{World, item_policy, limits};
use crate::frame::{Charset, Form};
use crate::plan::{ItemPolicy, ReadFrom};

fn check(label: &str, change: impl FnOnce(&mut ItemPolicy), script: &str, expected: Expect) {
    let mut item = item_policy();
    item.frame.form = Form::Encoded(Charset::named(label).unwrap());
    change(&mut item);
    World::new(item, limits()).check(script, expected);
}

#[test]
fn c11_a_restart_knows_the_order_of_bytes_although_it_reads_no_mark() {
    check(
        "utf-16",
        |_| {},
        "bytes a feff 0061 000a 006e; list; wait 30; ack; kill; bytes a 00e4 000a; list; wait 30; ack; positions",
        expect![[r#"
            found /l/a at 0
            send #1 /l/a[0,6) a
            kill
            resume /l/a at 6
            send #2 /l/a[6,12) nä
            /l/a 0<=12<=12<=12<=12<=12 at end
        "#]],
    );
}

#[test]
fn c11_a_file_that_was_empty_when_it_was_opened_says_its_order_later() {
    check(
        "utf-16",
        |_| {},
        "bytes a; list; wait 30; bytes a fe; wait 30; bytes a ff 00; wait 30; bytes a 61 000a; wait 30; bytes a 0062 000a; \
         wait 30; ack; truncate a; wait 30; bytes a fffe 6300 0a00; wait 30; ack; positions",
        expect![[r#"
            found /l/a at 0
            send #1 /l/a[2,6) a
            send #2 /l/a[6,10) b
            replaced /l/a at 10
            send #3 /l/a[0,6) c
            /l/a 0<=6<=6<=6<=6<=6 at end
        "#]],
    );
}

#[test]
fn c11_reading_from_the_end_begins_with_the_next_line_whatever_was_cut() {
    for (script, expected) in [
        (
            "bytes a fffe 6f00 0a00",
            expect![[r#"
            found /l/a at 6
            send #1 /l/a[6,10) n
            /l/a 0<=10<=10<=10<=10<=10 at end
        "#]],
        ),
        (
            "bytes a fffe 6f00 0a00 6800",
            expect![[r#"
            found /l/a at 8
            /l/a 0<=12<=12<=12<=12<=12 at end
        "#]],
        ),
        (
            "bytes a fffe 6f00 0a00 68",
            expect![[r#"
            found /l/a at 6
            send #1 /l/a[6,14) h|n
            /l/a 0<=14<=14<=14<=14<=14 at end
        "#]],
        ),
        (
            "bytes a fffe 6f00 0a",
            expect![[r#"
            found /l/a at 4
            send #1 /l/a[4,12) |n
            /l/a 0<=12<=12<=12<=12<=12 at end
        "#]],
        ),
        (
            "bytes a fffe",
            expect![[r#"
            found /l/a at 2
            send #1 /l/a[2,6) n
            /l/a 0<=6<=6<=6<=6<=6 at end
        "#]],
        ),
        (
            "bytes a",
            expect![[r#"
            found /l/a at 0
            send #1 /l/a[0,6) n
            /l/a 0<=6<=6<=6<=6<=6 at end
        "#]],
        ),
    ] {
        let rest = match script {
            "bytes a fffe 6f00 0a00 68" | "bytes a fffe 6f00 0a" => "00 0a00 6e00 0a00",
            "bytes a" => "fffe 6e00 0a00",
            _ => "6e00 0a00",
        };
        let script = alloc::format!("{script}; list; wait 30; bytes a {rest}; wait 30; ack; positions");
        check("utf-16", |item| item.read_from = ReadFrom::End, &script, expected);
    }
}

#[test]
fn a_part_of_a_character_waits_for_the_rest_of_it_without_haste() {
    check(
        "gbk",
        |item| item.frame.flush_after = Some(Duration::from_secs(1)),
        "bytes a c4e3 ba; list; wait 2000; ack; wait 60000; positions; bytes a c3 0a; wait 30; ack; positions",
        expect![[r#"
            found /l/a at 0
            send #1 /l/a[0,2) 你
            /l/a 0<=2<=2<=2<=3<=3 at end
            send #2 /l/a[2,5) 好
            /l/a 0<=5<=5<=5<=5<=5 at end
        "#]],
    );
}

#[test]
fn a_deleted_file_that_ends_within_a_character_is_sent_and_closed() {
    check(
        "utf-16",
        |_| {},
        "bytes a fffe 6100 0a00 62; list; wait 30; ack; unlink a; list; wait 20000; ack; wait 20000; positions; counts",
        expect![[r#"
            found /l/a at 0
            send #1 /l/a[0,6) a
            send #2 /l/a[6,7) �
            over /l/a Unlinked lost 0
            counts read 2/7, acked 2/7
        "#]],
    );
}

#[test]
fn what_is_counted_are_bytes_of_the_file() {
    check(
        "utf-16",
        |item| {
            item.frame.line_bytes_max = 4;
            item.frame.exclude_lines = regex::bytes::RegexSet::new(["^no"]).ok();
        },
        // An euro sign is two bytes here, and three of text.
        "bytes a fffe 6e00 6f00 0a00 ac20 ac20 ac20 0a00 6100 0a00; list; wait 30; ack; wait 30; counts",
        expect![[r#"
            found /l/a at 0
            send #1 /l/a[0,20) €|a
            counts read 3/20, acked 2/8, filtered 1/6, long 0/6, truncated 1/0
        "#]],
    );
}
