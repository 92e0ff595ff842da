//! Scripts that once broke a promise, as short as they could be made.

use crate::run::run;
use crate::script::Op::*;
use crate::script::Step;

#[test]
fn a_file_truncated_before_any_line_was_whole_resumes_after_a_power_cut() {
    run(
        41,
        &[
            Step(Append { path: 4, lines: 0, open: true, silent: false }, 4271870255),
            Step(Wait { ms: 200 }, 2128881292),
            Step(Truncate { path: 4 }, 2065753860),
            Step(Append { path: 4, lines: 5, open: false, silent: false }, 3043627183),
            Step(Wait { ms: 200 }, 240228887),
            Step(Settle, 3047629791),
            Step(Wait { ms: 1500 }, 4189276681),
            Step(PowerCut, 195216444),
        ],
    )
    .unwrap();
}
#[test]
fn a_file_truncated_before_any_line_was_whole_resumes_after_a_kill() {
    run(
        42,
        &[
            Step(Append { path: 4, lines: 0, open: true, silent: false }, 647275560),
            Step(Wait { ms: 12000 }, 3139355015),
            Step(CopyTruncate { base: 1 }, 3800222635),
            Step(Append { path: 4, lines: 1, open: false, silent: true }, 2552000088),
        ],
    )
    .unwrap();
}
#[test]
fn r05_a_copy_is_not_taken_for_read_because_another_file_took_the_place_of_its_original() {
    run(
        69,
        &[
            Step(Block(2), 2111048801),
            Step(Rotate { base: 2 }, 2590333900),
            Step(Settle, 1826691416),
            Step(CopyTruncate { base: 2 }, 938017828),
            Step(Append { path: 8, lines: 2, open: false, silent: false }, 856815215),
            Step(CopyTruncate { base: 2 }, 896650011),
            Step(Append { path: 8, lines: 2, open: true, silent: false }, 3445155451),
            Step(Unlink { path: 8 }, 2993562139),
        ],
    )
    .unwrap();
}
#[test]
fn r05_copies_and_originals_never_wait_for_each_other() {
    run(
        294,
        &[
            Step(Append { path: 0, lines: 5, open: true, silent: false }, 4286475123),
            Step(CopyTruncate { base: 0 }, 3562589737),
            Step(Append { path: 8, lines: 4, open: false, silent: false }, 4037902127),
            Step(Wait { ms: 6000 }, 3681707124),
            Step(Ack(1), 3145912965),
            Step(Append { path: 8, lines: 4, open: false, silent: false }, 1389996672),
            Step(FailOpens(3), 365339704),
            Step(Copy { from: 0, to: 1 }, 3745191232),
            Step(Ack(2), 2844890676),
            Step(Link { from: 4, to: 7 }, 920417826),
            Step(Ack(3), 3302541635),
            Step(Append { path: 2, lines: 5, open: false, silent: false }, 1956243343),
            Step(CopyTruncate { base: 1 }, 753826541),
            Step(CopyTruncate { base: 2 }, 2301647175),
            Step(Wait { ms: 6000 }, 2596698303),
            Step(CopyTruncate { base: 2 }, 1327322319),
            Step(Ack(2), 2811742562),
            Step(Wait { ms: 30 }, 3070586474),
            Step(Unlink { path: 8 }, 383892465),
            Step(Ack(4), 2630119359),
            Step(Wait { ms: 6000 }, 678119410),
            Step(Append { path: 8, lines: 5, open: false, silent: false }, 544138895),
        ],
    )
    .unwrap();
}

#[test]
fn r01_a_file_with_an_older_successor_is_not_taken_for_deleted() {
    run(
        34,
        &[
            Step(Rotate { base: 2 }, 3333878331),
            Step(Append { path: 4, lines: 3, open: false, silent: false }, 1879004266),
            Step(Append { path: 0, lines: 3, open: false, silent: false }, 529654365),
            Step(Overflow, 2369130119),
            Step(Wall { seconds: -82530 }, 3952576888),
            Step(Rotate { base: 1 }, 663828117),
        ],
    )
    .unwrap();
}

#[test]
fn s12_a_stop_during_a_listing_does_not_blind_the_agent() {
    run(
        14,
        &[
            Step(Append { path: 8, lines: 1, open: false, silent: false }, 2834276519),
            Step(Block(2), 3299854284),
            Step(Wait { ms: 6000 }, 715828403),
            Step(Permission { path: 8, readable: false }, 3380145456),
            Step(Retire { item: 1 }, 980647676),
            Step(Stall { ms: 60000 }, 4076027623),
        ],
    )
    .unwrap();
}

#[test]
fn f02_waiting_for_a_descriptor_does_not_spin() {
    run(
        0,
        &[
            Step(Append { path: 0, lines: 5, open: false, silent: false }, 1964095145),
            Step(Settle, 4260265212),
            Step(Append { path: 8, lines: 4, open: true, silent: true }, 3303188135),
            Step(Append { path: 5, lines: 4, open: false, silent: false }, 993276985),
            Step(CutReads(3), 3883786867),
        ],
    )
    .unwrap();
}

#[test]
fn g11_an_item_that_is_gone_for_long_resumes() {
    run(
        11,
        &[
            Step(Append { path: 0, lines: 2, open: false, silent: false }, 2531230367),
            Step(Wait { ms: 6000 }, 1786890930),
            Step(Wait { ms: 6000 }, 2775862163),
            Step(Retire { item: 0 }, 1576547740),
            Step(Append { path: 8, lines: 400, open: false, silent: false }, 184084781),
            Step(Wait { ms: 12000 }, 2102250085),
            Step(Wait { ms: 6000 }, 1324364166),
        ],
    )
    .unwrap();
}

#[test]
fn g11_the_position_of_an_item_that_went_with_lines_in_flight_survives_a_kill() {
    run(
        49,
        &[
            Step(Append { path: 8, lines: 5, open: true, silent: false }, 3293027677),
            Step(Append { path: 8, lines: 4, open: true, silent: false }, 288198649),
            Step(Retire { item: 1 }, 539128597),
            Step(Wait { ms: 12000 }, 3839761554),
            Step(Restore { item: 1 }, 1102370524),
            Step(Ack(3), 1691586961),
            Step(Lose, 558268020),
            Step(Kill, 725620206),
        ],
    )
    .unwrap();
}

#[test]
fn a_short_read_within_the_guard_is_no_truncation() {
    run(
        3,
        &[
            Step(Append { path: 8, lines: 1, open: true, silent: false }, 1570042327),
            Step(Append { path: 8, lines: 0, open: true, silent: false }, 1916563074),
            Step(Ack(1), 1294101803),
            Step(CutReads(2), 335950617),
        ],
    )
    .unwrap();
}

#[test]
fn g11_a_read_that_fails_after_its_item_is_gone_does_not_bring_the_file_back() {
    run(
        461,
        &[
            Step(Append { path: 6, lines: 5, open: true, silent: true }, 3137503316),
            Step(Append { path: 2, lines: 5, open: false, silent: true }, 1616456714),
            Step(Wait { ms: 5 }, 1627264432),
            Step(Retire { item: 0 }, 2044003254),
        ],
    )
    .unwrap();
}
