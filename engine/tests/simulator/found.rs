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
fn r07_a_file_whose_new_lines_end_like_the_old_ones_is_read_from_its_beginning() {
    run(
        8028,
        &[
            Step(Append { path: 0, lines: 5, open: false, silent: false }, 3848057130),
            Step(Append { path: 0, lines: 400, open: false, silent: false }, 2412804171),
            Step(Ack(2), 339189588),
            Step(Wait { ms: 200 }, 2225510128),
            Step(Ack(3), 4178576876),
            Step(CopyTruncate { base: 0 }, 253817416),
            Step(Append { path: 0, lines: 5, open: false, silent: false }, 3240225479),
        ],
    )
    .unwrap();
}

#[test]
fn f14_a_file_with_two_names_resumes_when_its_directory_is_back() {
    run(
        10767,
        &[
            Step(Append { path: 8, lines: 5, open: false, silent: true }, 2649866819),
            Step(Switch { from: 8, to: 9 }, 641247964),
            Step(Append { path: 8, lines: 2, open: true, silent: false }, 1628014636),
            Step(Rotate { base: 2 }, 671735388),
            Step(PowerCut, 3960924707),
            Step(Append { path: 0, lines: 3, open: false, silent: false }, 1519503471),
            Step(Ack(4), 3934384435),
            Step(Directory { away: true }, 40920592),
            Step(Wait { ms: 12000 }, 1909814333),
        ],
    )
    .unwrap();
}

#[test]
fn r05_a_file_that_only_began_like_its_elder_is_no_copy_of_what_that_became() {
    run(
        47276,
        &[
            Step(Append { path: 0, lines: 400, open: false, silent: false }, 2481309601),
            Step(CopyTruncate { base: 0 }, 3276897186),
            Step(FailReads(1), 1338014451),
            Step(Append { path: 0, lines: 0, open: true, silent: true }, 832060612),
            Step(CopyTruncate { base: 0 }, 403350146),
            Step(Rename { from: 0, to: 2 }, 1837873571),
            Step(Append { path: 0, lines: 2, open: true, silent: false }, 3369660779),
            Step(Wait { ms: 200 }, 1668563580),
            Step(Append { path: 1, lines: 0, open: false, silent: true }, 2775235924),
            Step(Rename { from: 2, to: 1 }, 4072502991),
        ],
    )
    .unwrap();
}

#[test]
fn a_second_short_read_is_only_believed_if_nothing_came_between() {
    run(
        40768,
        &[
            Step(Append { path: 3, lines: 1, open: false, silent: false }, 4107056104),
            Step(Append { path: 4, lines: 3, open: false, silent: false }, 1207223121),
            Step(Lose, 4132108790),
            Step(Append { path: 0, lines: 3, open: true, silent: false }, 701884982),
            Step(Append { path: 0, lines: 3, open: false, silent: false }, 2613402141),
            Step(CutReads(3), 530763426),
            Step(Directory { away: true }, 708178383),
            Step(Append { path: 8, lines: 3, open: false, silent: false }, 3483958661),
            Step(Append { path: 4, lines: 3, open: true, silent: false }, 3265339512),
            Step(FailReads(4), 2399933944),
            Step(Append { path: 9, lines: 4, open: false, silent: false }, 3347563202),
            Step(Rename { from: 0, to: 2 }, 3635663613),
            Step(Append { path: 4, lines: 5, open: false, silent: false }, 2300324688),
            Step(Append { path: 8, lines: 4, open: false, silent: false }, 3491572664),
            Step(Unlink { path: 11 }, 3040589213),
            Step(Directory { away: false }, 318251485),
            Step(Switch { from: 8, to: 9 }, 3920779912),
            Step(Append { path: 0, lines: 3, open: false, silent: false }, 1512205019),
            Step(Wait { ms: 12000 }, 3129438969),
            Step(Append { path: 8, lines: 4, open: false, silent: false }, 3284572579),
            Step(CutReads(3), 2691838851),
            Step(CutReads(4), 4085292343),
            Step(Switch { from: 4, to: 6 }, 21481403),
            Step(Wait { ms: 6000 }, 2982183470),
            Step(Rename { from: 4, to: 7 }, 1941939124),
            Step(Ack(3), 3782505187),
            Step(Append { path: 4, lines: 4, open: false, silent: false }, 540369696),
            Step(Append { path: 8, lines: 4, open: false, silent: false }, 3086608898),
            Step(Lose, 1923610794),
            Step(Lose, 1972756673),
        ],
    )
    .unwrap();
}

#[test]
fn r03_a_short_read_of_a_file_that_only_its_checkpoint_knows_does_not_end_it() {
    run(
        54470,
        &[
            Step(Append { path: 8, lines: 5, open: false, silent: false }, 117778224),
            Step(Append { path: 2, lines: 1, open: false, silent: false }, 2563922687),
            Step(Wait { ms: 12000 }, 3454873980),
            Step(Append { path: 4, lines: 4, open: false, silent: false }, 1176213999),
            Step(FailReads(2), 2105328961),
            Step(Rename { from: 4, to: 7 }, 1320076619),
            Step(Away(true), 704390266),
            Step(Wait { ms: 6000 }, 1004577640),
            Step(Append { path: 4, lines: 5, open: false, silent: false }, 3292299497),
            Step(PowerCut, 218947805),
            Step(Wait { ms: 30 }, 3800088618),
            Step(CutReads(2), 2014829919),
            Step(CutReads(2), 2278354994),
            Step(Rename { from: 4, to: 7 }, 4033627412),
            Step(Rotate { base: 2 }, 3238970735),
            Step(Wait { ms: 30 }, 897001372),
        ],
    )
    .unwrap();
}

#[test]
fn r05_a_copy_does_not_go_on_within_a_line_that_was_torn() {
    run(
        57361,
        &[
            Step(Append { path: 4, lines: 4, open: false, silent: false }, 2705768214),
            Step(Reload { item: 0, pace: 0 }, 558679039),
            Step(Permission { path: 4, readable: false }, 801628454),
            Step(Append { path: 0, lines: 4, open: false, silent: false }, 2486948459),
            Step(Append { path: 0, lines: 5, open: false, silent: false }, 2736888211),
            Step(Append { path: 4, lines: 0, open: true, silent: false }, 1004765643),
            Step(Wait { ms: 1 }, 3429542659),
            Step(Ack(2), 1158489467),
            Step(Copy { from: 4, to: 5 }, 1371804545),
            Step(Permission { path: 0, readable: false }, 1697321493),
            Step(Append { path: 4, lines: 1, open: false, silent: false }, 3963289536),
            Step(Append { path: 0, lines: 1, open: false, silent: true }, 2327014383),
            Step(Copy { from: 4, to: 6 }, 168917534),
            Step(Ack(1), 60969487),
            Step(Ack(1), 516323373),
            Step(CopyTruncate { base: 1 }, 3771824248),
            Step(CopyTruncate { base: 1 }, 2868542234),
        ],
    )
    .unwrap();
}

#[test]
fn r03_a_file_that_only_its_checkpoint_knows_is_read_to_its_end() {
    run(
        25571,
        &[
            Step(Append { path: 4, lines: 1, open: true, silent: false }, 2203865532),
            Step(Rename { from: 4, to: 6 }, 67428962),
            Step(Append { path: 8, lines: 5, open: false, silent: true }, 3554825184),
            Step(Append { path: 4, lines: 3, open: false, silent: false }, 321649351),
            Step(Remount, 2130983655),
            Step(Rotate { base: 0 }, 969923029),
            Step(Lose, 2690879303),
            Step(Append { path: 0, lines: 1, open: false, silent: false }, 3714572261),
            Step(Ack(3), 1264000113),
            Step(Ack(2), 1127766220),
            Step(Wait { ms: 12000 }, 2318921080),
            Step(CopyTruncate { base: 2 }, 3442494752),
            Step(Rotate { base: 0 }, 2918842674),
            Step(Rename { from: 4, to: 7 }, 3709932644),
            Step(CutReads(3), 1301867952),
            Step(CutReads(2), 1839835541),
            Step(PowerCut, 2524526530),
            Step(CopyTruncate { base: 1 }, 3045987493),
            Step(Rename { from: 8, to: 8 }, 1465304707),
            Step(Rename { from: 0, to: 3 }, 1644059876),
            Step(Rotate { base: 2 }, 1874841175),
            Step(Unlink { path: 7 }, 2281850112),
            Step(Rename { from: 6, to: 6 }, 2918737766),
            Step(Ack(1), 4127181310),
        ],
    )
    .unwrap();
}

#[test]
fn r01_a_listing_during_which_hints_were_lost_is_not_believed() {
    run(
        9346,
        &[
            Step(Append { path: 4, lines: 3, open: false, silent: true }, 980461449),
            Step(Retire { item: 1 }, 2035887836),
            Step(Append { path: 0, lines: 5, open: false, silent: true }, 175629321),
            Step(Wait { ms: 200 }, 10408759),
            Step(FailListings(2), 48352674),
            Step(FailReads(1), 3347559084),
            Step(Unlink { path: 0 }, 2842453731),
            Step(ExhaustDescriptors(1), 295658621),
            Step(Append { path: 8, lines: 2, open: false, silent: false }, 774993106),
            Step(Wait { ms: 30 }, 2789625805),
            Step(Append { path: 4, lines: 0, open: true, silent: false }, 629799342),
            Step(Restore { item: 1 }, 649314245),
            Step(Rotate { base: 1 }, 3723588547),
            Step(Overflow, 6107867),
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

#[test]
fn r01_what_is_not_found_while_names_never_stop_changing_is_not_deleted() {
    run(
        13734,
        &[
            Step(Rotate { base: 2 }, 3120073179),
            Step(Rotate { base: 0 }, 1003114138),
            Step(Append { path: 4, lines: 5, open: true, silent: false }, 3186261507),
            Step(Rotate { base: 2 }, 3536967187),
            Step(Rotate { base: 2 }, 1565752150),
            Step(Rotate { base: 0 }, 117891344),
            Step(Wait { ms: 200 }, 255537732),
            Step(Rotate { base: 0 }, 2989386103),
            Step(Append { path: 8, lines: 3, open: false, silent: false }, 2587643639),
            Step(Wait { ms: 1 }, 1856077274),
            Step(Rotate { base: 2 }, 3808782532),
            Step(Rotate { base: 2 }, 1788096462),
            Step(Ack(1), 2801744489),
            Step(Overflow, 183911844),
            Step(Rotate { base: 0 }, 3177210443),
            Step(CutReads(2), 762656201),
            Step(Ack(3), 2106425777),
            Step(Rotate { base: 0 }, 651078714),
            Step(Rotate { base: 1 }, 4175683579),
            Step(Wall { seconds: 44893 }, 1575516003),
            Step(FailReads(4), 4105339263),
        ],
    )
    .unwrap();
}

#[test]
fn f02_a_deleted_file_does_not_wait_for_one_that_waits_for_its_descriptor() {
    run(
        54555,
        &[
            Step(Block(2), 242760619),
            Step(Append { path: 8, lines: 2, open: false, silent: false }, 2279391729),
            Step(Wait { ms: 6000 }, 1057864024),
            Step(CopyTruncate { base: 2 }, 3918782902),
            Step(Wait { ms: 200 }, 3297958267),
            Step(Append { path: 8, lines: 1, open: false, silent: true }, 4272928072),
            Step(Retire { item: 0 }, 3941768717),
            Step(Append { path: 0, lines: 1, open: true, silent: true }, 1180291599),
            Step(Lose, 2941141442),
            Step(Restore { item: 1 }, 4074017619),
            Step(Unlink { path: 8 }, 877540385),
            Step(Ack(4), 2614582024),
        ],
    )
    .unwrap();
}
