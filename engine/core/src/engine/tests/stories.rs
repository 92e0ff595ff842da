//! What happens to files, and what must come of it. Each name begins with an id of the fault
//! catalogue where it has one.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::time::Duration;

use expect_test::{Expect, expect};

use super::world::{World, item_policy, limits};
use crate::frame::{Form, Wrapping};
use crate::plan::{ItemPolicy, ReadFrom};

fn check(script: &str, expected: Expect) {
    World::new(item_policy(), limits()).check(script, expected);
}

fn check_with(change: impl FnOnce(&mut ItemPolicy), script: &str, expected: Expect) {
    let mut item = item_policy();
    change(&mut item);
    World::new(item, limits()).check(script, expected);
}

#[test]
fn lines_are_sent_and_acknowledged_positions_are_saved() {
    check(
        r#"append a "one\ntwo\nthr"; list; wait 30; append a "ee\n"; ack; wait 30; ack; positions; saved"#,
        expect![[r#"
            found /l/a at 0
            send #1 /l/a[0,8) one|two
            send #2 /l/a[8,14) three
            /l/a 0<=14<=14<=14<=14<=14 at end
            saved 14
        "#]],
    );
}

#[test]
fn c09_a_line_written_in_pieces_is_sent_once_it_is_whole() {
    check(
        r#"append a "o"; list; wait 30; append a "n"; wait 30; append a "e"; wait 30; append a "\n"; wait 30"#,
        expect![[r#"
            found /l/a at 0
            send #1 /l/a[0,4) one
        "#]],
    );
}

#[test]
fn r01_a_successor_that_appears_during_its_predecessors_last_look_is_read() {
    check(
        r#"slow; append a "1\n"; list; finish; wait 30; finish; wait 30; finish; append a "2\n"; finish;
           rename a a.1; append a "3\n"; list; positions; finish; finish; finish; positions"#,
        expect![[r#"
            found /l/a at 0
            send #1 /l/a[0,2) 1
            send #2 /l/a[2,4) 2
            renamed /l/a /l/a.1
            /l/a.1 0<=0<=4<=4<=4<=4 reading
            /l/a 0<=0<=0<=0<=0<=2 behind its predecessor
            found /l/a at 0
            send #3 /l/a[0,2) 3
            /l/a.1 0<=0<=4<=4<=4<=4 at end
            /l/a 0<=0<=2<=2<=2<=2 reading
        "#]],
    );
}

#[test]
fn r01_a_file_renamed_while_its_directory_is_listed_keeps_its_place() {
    check(
        r#"append a "1\n"; rename a a.1; append a "2\n"; overlook a.1; list; wait 60"#,
        expect![[r#"
            found /l/a at 0
            send #1 /l/a[0,2) 1
            renamed /l/a /l/a.1
            found /l/a at 0
            send #2 /l/a[0,2) 2
        "#]],
    );
}

#[test]
fn r02_a_chain_of_renames_while_stopped_is_resumed_oldest_first() {
    check(
        r#"append a "1\n2\n"; list; wait 30; ack; wait 30; append a "3\n"; wait 10; kill;
           rename a a.1; append a "4\n"; wait 5; rename a.1 a.2; rename a a.1; append a "5\n"; wait 30; list; wait 30; ack; wait 60"#,
        expect![[r#"
            found /l/a at 0
            send #1 /l/a[0,4) 1|2
            send #2 /l/a[4,6) 3
            kill
            resume /l/a at 4
            send #3 /l/a[4,6) 3
            renamed /l/a /l/a.2
            found /l/a.1 at 0
            send #4 /l/a.1[0,2) 4
            found /l/a at 0
            send #5 /l/a[0,2) 5
        "#]],
    );
}

#[test]
fn r03_a_file_renamed_out_of_the_glob_while_stopped_is_found_by_identity() {
    check(
        r#"append a "1\n"; list; wait 30; ack; kill; append a "2\n"; rename a a.out; append a "3\n"; wait 30; list; wait 60"#,
        expect![[r#"
            found /l/a at 0
            send #1 /l/a[0,2) 1
            kill
            resume /l/a at 2
            send #2 /l/a[2,4) 2
            renamed /l/a /l/a.out
            found /l/a at 0
            send #3 /l/a[0,2) 3
        "#]],
    );
}

#[test]
fn r05_a_late_ack_of_a_truncated_file_does_not_move_the_new_one() {
    check(
        r#"append a "one\n"; list; wait 30; truncate a; append a "two\n"; wait 30; ack #1; wait 30; positions"#,
        expect![[r#"
            found /l/a at 0
            send #1 /l/a[0,4) one
            replaced /l/a at 4
            send #2 /l/a[0,4) two
            /l/a 0<=0<=4<=4<=4<=4 at end
        "#]],
    );
}

#[test]
fn r05_the_copy_of_copytruncate_is_not_sent_again() {
    check(
        r#"append a "one\n"; list; wait 30; ack; copy a a.1; list; wait 30; truncate a; wait 30; append a "two\n"; wait 30; ack; wait 60; positions"#,
        expect![[r#"
            found /l/a at 0
            send #1 /l/a[0,4) one
            found /l/a.1 at 0
            replaced /l/a at 4
            adopted /l/a.1 at 4
            send #2 /l/a[0,4) two
            /l/a.1 0<=4<=4<=4<=4<=4 at end
            /l/a 0<=4<=4<=4<=4<=4 at end
        "#]],
    );
}

#[test]
fn r04_what_is_appended_to_a_deleted_file_counts_for_the_cap() {
    check_with(
        |item| item.unlinked.undrained_bytes_max = Some(10),
        r#"append a "1\n"; list; wait 30; ack; full on; append a "2\n"; append a "a line of twenty bytes\n"; unlink a; list;
           wait 11000; full off; wait 30; ack; wait 30; counts"#,
        expect![[r#"
            found /l/a at 0
            send #1 /l/a[0,2) 1
            over /l/a Gone lost 25
            counts read 2/4, acked 1/2, replayed 1/2, gone 0/25
        "#]],
    );
}

#[test]
fn r06_a_copy_that_was_made_before_the_last_line_is_not_sent_again() {
    check(
        r#"append a "1\n"; list; wait 30; ack; copy a a.1; list; wait 30; append a "2\n"; wait 30; ack;
           truncate a; append a "3\n"; wait 30; ack; append a.1 "4\n"; wait 30; ack; wait 60; positions"#,
        expect![[r#"
            found /l/a at 0
            send #1 /l/a[0,2) 1
            found /l/a.1 at 0
            send #2 /l/a[2,4) 2
            replaced /l/a at 4
            adopted /l/a.1 at 4
            send #3 /l/a[0,2) 3
            send #4 /l/a.1[2,4) 4
            /l/a.1 0<=4<=4<=4<=4<=4 at end
            /l/a 0<=2<=2<=2<=2<=2 at end
        "#]],
    );
}

#[test]
fn r06_what_was_written_between_the_last_read_and_the_truncation_is_read_from_the_copy() {
    check(
        r#"append a "one\n"; list; wait 30; full on; append a "late\n"; copy a a.1; truncate a; append a "two\n"; list; wait 30; ack; full off; wait 60; ack; wait 60; ack; wait 60"#,
        expect![[r#"
            found /l/a at 0
            send #1 /l/a[0,4) one
            send #2 /l/a[4,9) late
            replaced /l/a at 9
            found /l/a.1 at 0
            send #3 /l/a[0,4) two
            adopted /l/a.1 at 9
        "#]],
    );
}

#[test]
fn r07_truncate_then_regrow_past_the_offset() {
    check(
        r#"append a "one\n"; list; wait 30; ack; truncate a; append a "two\nthree\n"; wait 30; ack; positions"#,
        expect![[r#"
            found /l/a at 0
            send #1 /l/a[0,4) one
            replaced /l/a at 4
            send #2 /l/a[0,10) two|three
            /l/a 0<=10<=10<=10<=10<=10 at end
        "#]],
    );
}

#[test]
fn r10_two_files_that_begin_alike_are_both_read_in_full() {
    check(
        r#"append x.log "same\n"; append y.log "same\n"; append a.1 "same\n"; append a "same\n"; list; wait 30; ack; wait 20000; ack"#,
        expect![[r#"
            found /l/x.log at 0
            send #1 /l/x.log[0,5) same
            found /l/y.log at 0
            found /l/a.1 at 0
            send #2 /l/y.log[0,5) same
            send #3 /l/a.1[0,5) same
            found /l/a at 0
            send #4 /l/a[0,5) same
        "#]],
    );
}

#[test]
fn r11_a_reused_inode_is_a_new_file() {
    check(
        r#"append a "one\n"; list; wait 30; ack; unlink a; append b "x\n"; unlink b; append a "two\n"; list; wait 30; ack; wait 30"#,
        expect![[r#"
            found /l/a at 0
            send #1 /l/a[0,4) one
            found /l/a at 0
            send #2 /l/a[0,4) two
        "#]],
    );
}

#[test]
fn r13_a_deleted_file_is_read_to_its_end_and_then_released() {
    check(
        r#"append a "one\n"; list; wait 30; ack; append a "two\nrest"; unlink a; list; wait 30; ack; wait 30000; ack; wait 10; positions"#,
        expect![[r#"
            found /l/a at 0
            send #1 /l/a[0,4) one
            send #2 /l/a[4,8) two
            send #3 /l/a[8,12) rest
            over /l/a Unlinked lost 0
        "#]],
    );
}

#[test]
fn r14_a_hard_link_is_read_once_and_goes_on_under_the_other_name() {
    check(
        r#"append a "one\n"; link a b; list; wait 30; ack; unlink a; list; wait 30; append b "two\n"; wait 30; ack; positions"#,
        expect![[r#"
            found /l/a at 0
            send #1 /l/a[0,4) one
            renamed /l/a /l/b
            send #2 /l/a[4,8) two
            /l/b 0<=8<=8<=8<=8<=8 at end
        "#]],
    );
}

#[test]
fn k02_lost_batches_are_read_again_from_what_is_acknowledged() {
    check(
        r#"append a "1\n"; list; wait 30; append a "2\n"; wait 30; append a "3\n"; wait 30; ack #1; lose #2; ack #3; wait 500; ack; positions"#,
        expect![[r#"
            found /l/a at 0
            send #1 /l/a[0,2) 1
            send #2 /l/a[2,4) 2
            send #3 /l/a[4,6) 3
            replay /l/a from 2
            send #4 /l/a[2,6) 2|3
            /l/a 0<=6<=6<=6<=6<=6 at end
        "#]],
    );
}

#[test]
fn k08_of_a_refused_batch_only_the_offending_record_is_dropped() {
    check(
        r#"append a "1\nbig\n3\n"; list; wait 30; refuse #1; wait 500; ack #2; wait 10; refuse #3; wait 500; refuse #4; wait 10; ack; wait 10; positions"#,
        expect![[r#"
            found /l/a at 0
            send #1 /l/a[0,8) 1|big|3
            replay /l/a from 0
            send #2 /l/a[0,2) 1
            send #3 /l/a[2,8) big|3
            replay /l/a from 2
            send #4 /l/a[2,6) big
            refused /l/a at 2 code 10
            send #5 /l/a[6,8) 3
            /l/a 0<=8<=8<=8<=8<=8 at end
        "#]],
    );
}

#[test]
fn k08_refused_records_are_found_by_halves_and_the_others_arrive_once_and_in_order() {
    for bad in [&[][..], &[0], &[511], &[500, 501], &[3, 250, 251, 900, 999]] {
        let line = |at| if bad.contains(&at) { "bad".into() } else { format!("line {at}") };
        let lines: Vec<String> = (0..1000).map(line).collect();
        let mut world = World::new(item_policy(), limits());
        world.step(&format!("append a {}\\n", lines.join("\\n")));
        world.step("list");
        let (batches, taken) = world.judge("wait 30", "bad");
        // Down to the refused one and up again: twice the logarithm for each.
        let batches_max = 1 + bad.len() * 2 * 10 + 10;
        assert!(batches <= batches_max, "{batches} batches for {bad:?}, at most {batches_max}");
        let good: Vec<String> = lines.into_iter().filter(|line| line != "bad").collect();
        assert!(taken == good, "{bad:?}: {} of {} lines", taken.len(), good.len());
    }
}

#[test]
fn k08_lines_of_containers_that_are_interleaved_are_refused_together_and_the_file_goes_on() {
    check_with(
        |item| item.frame.form = Form::Wrapped(Wrapping::Cri),
        "append a \"2026-01-02T03:04:05Z stdout P a\\n2026-01-02T03:04:05Z stderr F x\\n\
         2026-01-02T03:04:05Z stdout F b\\n2026-01-02T03:04:05Z stdout F c\\n\"; list; wait 30; refuse #1; wait 500; \
         refuse #2; wait 500; ack #3; wait 10; counts; positions",
        expect![[r#"
            found /l/a at 0
            send #1 /l/a[0,128) x|ab|c
            replay /l/a from 0
            send #2 /l/a[0,96) x|ab
            refused /l/a at 0 code 10
            send #3 /l/a[96,128) c
            counts read 8/256, acked 1/32, refused 3/96, replayed 4/128
            /l/a 0<=128<=128<=128<=128<=128 at end
        "#]],
    );
}

#[test]
fn k05_a_topic_that_is_not_to_be_had_keeps_nothing_in_memory() {
    check(
        r#"away on; append a "1\n"; list; wait 2000; positions; away off; wait 2000; ack; positions"#,
        expect![[r#"
            found /l/a at 0
            /l/a 0<=0<=0<=0<=0<=2 resting
            send #1 /l/a[0,2) 1
            /l/a 0<=2<=2<=2<=2<=2 at end
        "#]],
    );
}

#[test]
fn k21_a_full_queue_keeps_the_order() {
    check(
        r#"full on; append a "1\n"; append b "x\n"; list; wait 30; append a "2\n"; wait 30; full off; wait 30; ack; positions"#,
        expect![[r#"
            found /l/a at 0
            found /l/b at 0
            send #1 /l/a[0,2) 1
            send #2 /l/b[0,2) x
            send #3 /l/a[2,4) 2
            /l/a 0<=4<=4<=4<=4<=4 at end
            /l/b 0<=2<=2<=2<=2<=2 at end
        "#]],
    );
}

#[test]
fn reading_from_the_end_skips_what_is_there_and_a_line_that_is_cut() {
    check_with(
        |item| item.read_from = ReadFrom::End,
        r#"append a "old\nhal"; list; wait 30; append a "f\nnew\n"; wait 30; ack; append b "later\n"; list; wait 30; ack"#,
        expect![[r#"
            found /l/a at 7
            send #1 /l/a[7,13) new
            found /l/b at 0
            send #2 /l/b[0,6) later
        "#]],
    );
}

#[test]
fn reading_from_a_time_begins_at_its_first_line_and_goes_on_there_after_a_kill() {
    check_with(
        |item| item.read_from = ReadFrom::Since(5),
        r#"sleep; append a "1 old\n5 new\n"; append b "1 old\n2 ha"; append c "7 new\n"; sight; wake; wait 30; sight;
           saved; kill; list; wait 30; append b "lf\n3 late\n"; append d "1 later\n"; list; wait 30; ack; positions"#,
        expect![[r#"
            first sight true
            found /l/a at 6
            found /l/b at 10
            found /l/c at 0
            send #1 /l/a[6,12) 5 new
            send #2 /l/c[0,6) 7 new
            first sight false
            saved 6
            saved 10
            saved 0
            kill
            resume /l/a at 6
            resume /l/b at 10
            resume /l/c at 0
            send #3 /l/a[6,12) 5 new
            send #4 /l/c[0,6) 7 new
            send #5 /l/b[10,20) 3 late
            found /l/d at 0
            send #6 /l/d[0,8) 1 later
            /l/a 0<=12<=12<=12<=12<=12 at end
            /l/b 0<=20<=20<=20<=20<=20 at end
            /l/c 0<=6<=6<=6<=6<=6 at end
            /l/d 0<=8<=8<=8<=8<=8 at end
        "#]],
    );
}

#[test]
fn a_time_is_looked_for_in_rotated_files_one_after_the_other() {
    check_with(
        |item| item.read_from = ReadFrom::Since(5),
        r#"sleep; append a.2 "1 old\n"; wait 1; append a.1 "4 old\n5 new\n"; wait 1; append a "6 new\n"; wake;
           wait 60; ack"#,
        expect![[r#"
            found /l/a.2 at 6
            found /l/a.1 at 6
            send #1 /l/a.1[6,12) 5 new
            found /l/a at 0
            send #2 /l/a[0,6) 6 new
        "#]],
    );
}

#[test]
fn a_file_that_is_too_old_is_not_looked_into_until_it_grows() {
    check_with(
        |item| {
            item.read_from = ReadFrom::Since(5);
            item.ignore_older = Some(Duration::from_secs(60));
        },
        r#"sleep; append a "1 old\n6 quiet\n"; wait 100000; append b "1 old\n"; sight; wake; wait 25000; sight;
           append a "7 new\n"; list; wait 60"#,
        expect![[r#"
            first sight true
            found /l/b at 6
            first sight false
            found /l/a at 6
            send #1 /l/a[6,20) 6 quiet|7 new
        "#]],
    );
}

#[test]
fn a_time_is_looked_for_until_the_file_can_be_opened() {
    check_with(
        |item| item.read_from = ReadFrom::Since(5),
        r#"sleep; append a "1 old\n6 new\n"; forbid on; wake; wait 1000; sight; positions; forbid off; wait 2000;
           sight; ack; positions"#,
        expect![[r#"
            first sight true
            /l/a 0<=0<=0<=0<=0<=12 resting
            found /l/a at 6
            send #1 /l/a[6,12) 6 new
            first sight false
            /l/a 0<=12<=12<=12<=12<=12 at end
        "#]],
    );
}

#[test]
fn an_item_that_comes_later_begins_at_the_end_of_what_is_there_then() {
    check_with(
        |item| item.read_from = ReadFrom::End,
        r#"append a "old\n"; append b.three "old\n"; list; wait 30; append c "new\n"; list; wait 30; ack;
           add; wait 30; append b.three "new\n"; append d.three "new\n"; append e "new\n"; list; wait 30; ack"#,
        expect![[r#"
            found /l/a at 4
            found /l/c at 0
            send #1 /l/c[0,4) new
            found /l/b.three at 4
            send #2 /l/b.three[4,8) new
            found /l/d.three at 0
            found /l/e at 0
            send #3 /l/d.three[0,4) new
            send #4 /l/e[0,4) new
        "#]],
    );
}

#[test]
fn an_unfinished_end_is_flushed_when_it_has_rested() {
    check_with(
        |item| item.frame.flush_after = Some(Duration::from_secs(1)),
        r#"append a "one\ntw"; list; wait 900; append a "o"; wait 900; wait 200; ack; append a "three\n"; wait 30"#,
        expect![[r#"
            found /l/a at 0
            send #1 /l/a[0,4) one
            send #2 /l/a[4,7) two
            send #3 /l/a[7,13) three
        "#]],
    );
}

#[test]
fn f02_few_descriptors_serve_many_files() {
    let mut few = limits();
    few.open_files = 2;
    World::new(item_policy(), few).check(
        r#"append a "1\n"; append b "2\n"; append c "3\n"; append d "4\n"; list; wait 100; ack; append a "5\n"; wait 12000; ack; positions"#,
        expect![[r#"
            found /l/a at 0
            send #1 /l/a[0,2) 1
            found /l/b at 0
            found /l/c at 0
            send #2 /l/b[0,2) 2
            send #3 /l/c[0,2) 3
            found /l/d at 0
            send #4 /l/d[0,2) 4
            send #5 /l/a[2,4) 5
            /l/a 0<=4<=4<=4<=4<=4 at end
            /l/b 0<=2<=2<=2<=2<=2 at end
            /l/c 0<=2<=2<=2<=2<=2 at end
            /l/d 0<=2<=2<=2<=2<=2 at end
        "#]],
    );
}

#[test]
fn r13_a_deleted_file_is_held_open_until_kafka_has_all_of_it() {
    check(
        r#"append a "1\n"; list; wait 30; unlink a; list; wait 20000; lose #1; wait 1000; ack; wait 20000; positions"#,
        expect![[r#"
            found /l/a at 0
            send #1 /l/a[0,2) 1
            replay /l/a from 0
            send #2 /l/a[0,2) 1
            over /l/a Unlinked lost 0
        "#]],
    );
}

#[test]
fn a_file_that_takes_the_name_of_another_with_the_same_beginning_is_read_at_once() {
    check(
        r#"append a "same\n"; list; wait 30; ack; rename a a.1; append a "same\n"; list; wait 60"#,
        expect![[r#"
            found /l/a at 0
            send #1 /l/a[0,5) same
            renamed /l/a /l/a.1
            found /l/a at 0
            send #2 /l/a[0,5) same
        "#]],
    );
}

#[test]
fn an_old_file_is_left_alone_until_it_grows() {
    check_with(
        |item| item.ignore_older = Some(Duration::from_secs(60)),
        r#"quiet on; append a "old\n"; wait 100000; quiet off; list; wait 25000; append a "new\n"; list; wait 60"#,
        expect![[r#"
            found /l/a at 0
            send #1 /l/a[0,8) old|new
        "#]],
    );
}

#[test]
fn k11_a_file_whose_lines_do_not_come_back_is_not_read_on_until_they_do() {
    check(
        r#"append a "1\n"; list; wait 2100; append a "2\n"; wait 30; positions; ack; wait 30"#,
        expect![[r#"
            found /l/a at 0
            send #1 /l/a[0,2) 1
            /l/a 0<=0<=2<=2<=2<=2 waiting for acknowledgements
            send #2 /l/a[2,4) 2
        "#]],
    );
}

#[test]
fn k11_a_partition_that_takes_nothing_holds_up_its_files_only() {
    check(
        r#"block a; append a "1\n"; append b "1\n"; list; wait 300; positions; block; wait 300"#,
        expect![[r#"
            found /l/a at 0
            found /l/b at 0
            send #1 /l/b[0,2) 1
            /l/a 0<=0<=0<=0<=0<=2 resting
            /l/b 0<=0<=2<=2<=2<=2 at end
            send #2 /l/a[0,2) 1
        "#]],
    );
}

#[test]
fn r07_a_file_truncated_before_any_line_was_whole_is_recognised_after_a_restart() {
    check(
        r#"append a "unfinished"; list; wait 30; truncate a; append a "one\n"; wait 30; ack; wait 30; kill; wait 60"#,
        expect![[r#"
            found /l/a at 0
            replaced /l/a at 0
            send #1 /l/a[0,4) one
            kill
            resume /l/a at 4
        "#]],
    );
}

#[test]
fn r01_a_successor_that_is_older_than_its_predecessor_does_not_hide_its_name() {
    check_with(
        |item| item.close_after = Some(Duration::from_millis(100)),
        r#"append a "1\n"; list; wait 30; ack; wait 500; rename a a.1; append a "2\n"; wait 10; append a.1 "3\n";
           list; wait 60"#,
        expect![[r#"
            found /l/a at 0
            send #1 /l/a[0,2) 1
            renamed /l/a /l/a.1
            send #2 /l/a[2,4) 3
            found /l/a at 0
            send #3 /l/a[0,2) 2
        "#]],
    );
}

#[test]
fn g11_an_item_that_comes_back_before_its_lines_are_acknowledged_sends_nothing_twice() {
    check(
        r#"append a "1\n"; list; wait 30; retire; restore; list; wait 60; ack; wait 60; append a "2\n"; wait 60"#,
        expect![[r#"
            found /l/a at 0
            send #1 /l/a[0,2) 1
            resume /l/a at 2
            send #2 /l/a[2,4) 2
        "#]],
    );
}

#[test]
fn g11_the_position_of_an_item_that_is_gone_is_kept() {
    check(
        r#"append a "1\n"; append b "2\n"; list; wait 30; ack; retire; wait 100000; restore; wait 60"#,
        expect![[r#"
            found /l/a at 0
            send #1 /l/a[0,2) 1
            found /l/b at 0
            send #2 /l/b[0,2) 2
            resume /l/a at 2
            resume /l/b at 2
        "#]],
    );
}

#[test]
fn r07_truncated_and_as_long_again_while_it_has_no_descriptor() {
    check_with(
        |item| item.close_after = Some(Duration::from_millis(100)),
        r#"append a "1\n"; list; wait 30; ack; wait 1000; truncate a; append a "2\n"; list; wait 60;
           ack; wait 1000; list; wait 1000; positions"#,
        expect![[r#"
            found /l/a at 0
            send #1 /l/a[0,2) 1
            replaced /l/a at 2
            send #2 /l/a[0,2) 2
            /l/a 0<=2<=2<=2<=2<=2 at end
        "#]],
    );
}

#[test]
fn the_position_of_a_deleted_file_is_forgotten_in_time() {
    check_with(
        |_| {},
        r#"append a "1\n"; append b "2\n"; list; wait 30; ack; wait 30; unlink a; kill; wait 60; wait 45000"#,
        expect![[r#"
            found /l/a at 0
            send #1 /l/a[0,2) 1
            found /l/b at 0
            send #2 /l/b[0,2) 2
            kill
            resume /l/b at 2
            forget stray 2
        "#]],
    );
}

#[test]
fn f14_a_file_whose_file_system_was_away_is_read_on_where_it_stood() {
    check_with(
        |item| item.close_after = Some(Duration::from_secs(1)),
        r#"append a "1\n"; list; wait 100; ack; wait 3000; unmount; list; wait 100; mount; append a "2\n"; list; wait 100;
           ack; wait 3000; unlink a; list; wait 100; append a "3\n"; list; wait 100"#,
        expect![[r#"
            found /l/a at 0
            send #1 /l/a[0,2) 1
            over /l/a Away lost 0
            resume /l/a at 2
            send #2 /l/a[2,4) 2
            over /l/a Unlinked lost 0
            found /l/a at 0
            send #3 /l/a[0,2) 3
        "#]],
    );
}

#[test]
fn f14_what_was_in_flight_when_the_file_system_went_is_awaited() {
    check_with(
        |_| {},
        r#"append a "1\n2\n"; list; wait 100; unmount; list; wait 8000; mount; list; wait 100; positions;
           ack; wait 100; append a "3\n"; list; wait 100; counts"#,
        expect![[r#"
            found /l/a at 0
            send #1 /l/a[0,4) 1|2
            /l/a 0<=0<=4<=4<=4<=4 waiting for acknowledgements
            send #2 /l/a[4,6) 3
            counts read 3/6, acked 2/4, in flight 1/2
        "#]],
    );
}

#[test]
fn f14_a_file_system_that_does_not_come_back_is_forgotten_after_a_week() {
    check_with(
        |item| item.close_after = Some(Duration::from_secs(1)),
        r#"append a "1\n"; list; wait 100; ack; wait 3000; unmount; list; wait 600000000; list; wait 10000;
           wait 10000000"#,
        expect![[r#"
            found /l/a at 0
            send #1 /l/a[0,2) 1
            over /l/a Away lost 0
            forget away 2
        "#]],
    );
}
