//! X12: what the files of one item can take from those of another: turns, descriptors, places in the table.
//!
//! The files of the second item end in `.two`. A line of `fill` has 11 bytes, and a first read 16 KiB.

use expect_test::{Expect, expect};

use super::world::{World, item_policy, limits};
use crate::plan::Limits;

fn check_with(change: impl FnOnce(&mut Limits), script: &str, expected: Expect) {
    let mut limits = limits();
    change(&mut limits);
    World::new(item_policy(), limits).check(script, expected);
}

#[test]
fn x12_turns_go_round_by_item() {
    check_with(
        |_| {},
        r#"quiet on; fill a 6000; fill b 6000; fill c 6000; append d.two "1\n"; fill e.two 6000; quiet off;
           list; wait 100"#,
        expect![[r#"
            found /l/d.two at 0
            found /l/a at 0
            found /l/e.two at 0
            found /l/b at 0
            found /l/c at 0
            send #1 /l/d.two[0,2) 1
            send #2 /l/a[0,16379) 1489 lines
            send #3 /l/e.two[0,16379) 1489 lines
            send #4 /l/b[0,16379) 1489 lines
            send #5 /l/c[0,16379) 1489 lines
            send #6 /l/e.two[16379,66000) 4511 lines
            send #7 /l/a[16379,66000) 4511 lines
            send #8 /l/b[16379,66000) 4511 lines
            send #9 /l/c[16379,66000) 4511 lines
        "#]],
    );
}

#[test]
fn x12_a_file_that_is_written_to_all_the_time_gives_its_descriptor_to_one_that_waits() {
    check_with(
        |limits| limits.open_files = 2,
        r#"quiet on; fill a 6000; fill b 6000; fill c 6000; append d.two "1\n"; quiet off; list; wait 100"#,
        expect![[r#"
            found /l/d.two at 0
            found /l/a at 0
            send #1 /l/d.two[0,2) 1
            send #2 /l/a[0,16379) 1489 lines
            found /l/b at 0
            send #3 /l/b[0,16379) 1489 lines
            found /l/c at 0
            send #4 /l/c[0,16379) 1489 lines
            send #5 /l/a[16379,66000) 4511 lines
            send #6 /l/b[16379,66000) 4511 lines
            send #7 /l/c[16379,66000) 4511 lines
        "#]],
    );
}

#[test]
fn x12_files_without_an_answer_from_kafka_give_up_their_descriptors() {
    check_with(
        |limits| limits.open_files = 2,
        r#"fill a 1000; fill b 1000; list; wait 30; wait 3000; append a "1\n"; append b "1\n"; wait 100;
           positions; append c.two "1\n"; list; wait 30; positions"#,
        expect![[r#"
            found /l/a at 0
            send #1 /l/a[0,11000) 1000 lines
            found /l/b at 0
            send #2 /l/b[0,11000) 1000 lines
            /l/a 0<=0<=11000<=11000<=11000<=11000 waiting for acknowledgements
            /l/b 0<=0<=11000<=11000<=11000<=11000 waiting for acknowledgements
            found /l/c.two at 0
            send #3 /l/c.two[0,2) 1
            /l/a 0<=0<=11000<=11000<=11000<=11002 waiting for acknowledgements
            /l/b 0<=0<=11000<=11000<=11000<=11002 waiting for acknowledgements
            /l/c.two 0<=0<=2<=2<=2<=2 at end
        "#]],
    );
}

#[test]
fn x12_an_item_keeps_its_share_of_the_descriptors_and_with_them_the_watches() {
    check_with(
        |limits| limits.open_files = 4,
        r#"append x.two "1\n"; append y.two "1\n"; list; wait 100; quiet on; fill a 3000; fill b 3000; fill c 3000;
           fill d 3000; quiet off; list; wait 100; append x.two "2\n"; append y.two "2\n""#,
        expect![[r#"
            found /l/x.two at 0
            send #1 /l/x.two[0,2) 1
            found /l/y.two at 0
            send #2 /l/y.two[0,2) 1
            found /l/a at 0
            found /l/b at 0
            send #3 /l/a[0,16379) 1489 lines
            found /l/c at 0
            send #4 /l/b[0,16379) 1489 lines
            found /l/d at 0
            send #5 /l/c[0,16379) 1489 lines
            send #6 /l/d[0,16379) 1489 lines
            send #7 /l/a[16379,33000) 1511 lines
            send #8 /l/b[16379,33000) 1511 lines
            send #9 /l/c[16379,33000) 1511 lines
            send #10 /l/d[16379,33000) 1511 lines
            send #11 /l/x.two[2,4) 2
            send #12 /l/y.two[2,4) 2
        "#]],
    );
}

#[test]
fn x12_files_without_number_leave_the_places_of_other_items() {
    check_with(
        |limits| limits.sources = 10,
        r#"quiet on; append a0 ""; append a1 ""; append a2 ""; append a3 ""; append a4 ""; append a5 "";
           append a6 ""; append a7 ""; append a8 ""; append a9 ""; quiet off; list; wait 30;
           append x.two "1\n"; append y.two "2\n"; append z.two "3\n"; list; wait 30;
           unlink a0; list; wait 10000; append z.two "4\n"; list; wait 30; positions"#,
        expect![[r#"
            too many files: 2, as /l/a8
            found /l/a0 at 0
            found /l/a1 at 0
            found /l/a2 at 0
            found /l/a3 at 0
            found /l/a4 at 0
            found /l/a5 at 0
            found /l/a6 at 0
            found /l/a7 at 0
            too many files: 3, as /l/a8
            found /l/x.two at 0
            found /l/y.two at 0
            send #1 /l/x.two[0,2) 1
            send #2 /l/y.two[0,2) 2
            too many files: 3, as /l/a8
            over /l/a0 Unlinked lost 0
            too many files: 2, as /l/a9
            found /l/a8 at 0
            too many files: 2, as /l/a9
            /l/a8 0<=0<=0<=0<=0<=0 at end
            /l/a1 0<=0<=0<=0<=0<=0 at end
            /l/a2 0<=0<=0<=0<=0<=0 at end
            /l/a3 0<=0<=0<=0<=0<=0 at end
            /l/a4 0<=0<=0<=0<=0<=0 at end
            /l/a5 0<=0<=0<=0<=0<=0 at end
            /l/a6 0<=0<=0<=0<=0<=0 at end
            /l/a7 0<=0<=0<=0<=0<=0 at end
            /l/x.two 0<=0<=2<=2<=2<=2 at end
            /l/y.two 0<=0<=2<=2<=2<=2 at end
        "#]],
    );
}
