//! More scripts that once broke a promise, as short as they could be made; most are of files copied and truncated.

use crate::run::run;
use crate::script::Op::*;
use crate::script::Step;

#[test]
fn r05_a_shorter_file_that_only_began_like_a_deleted_one_is_read() {
    run(
        324518,
        &[
            Step(Append { path: 8, lines: 400, open: false, silent: false }, 1262328972),
            Step(Wait { ms: 1500 }, 801114465),
            Step(Ack(1), 368354373),
            Step(Copy { from: 8, to: 10 }, 3430980793),
            Step(Append { path: 8, lines: 1, open: true, silent: false }, 179965779),
            Step(Wait { ms: 12000 }, 1956714217),
            Step(CopyTruncate { base: 2 }, 1072624317),
            Step(Append { path: 10, lines: 5, open: false, silent: true }, 3734216373),
            Step(Copy { from: 8, to: 10 }, 3519744919),
        ],
    )
    .unwrap();
}

#[test]
fn r05_the_position_of_a_copy_is_lowered_after_it_was_synced() {
    run(
        407166,
        &[
            Step(Append { path: 8, lines: 5, open: false, silent: false }, 1942086869),
            Step(Rename { from: 0, to: 1 }, 1326602540),
            Step(Append { path: 0, lines: 3, open: false, silent: false }, 99873231),
            Step(Copy { from: 8, to: 10 }, 1580048966),
            Step(Wait { ms: 30 }, 1217889328),
            Step(Append { path: 8, lines: 2, open: false, silent: false }, 3641016515),
            Step(CopyTruncate { base: 0 }, 3694812902),
            Step(Wait { ms: 5 }, 978845972),
            Step(ExhaustDescriptors(4), 3948465737),
            Step(CopyTruncate { base: 2 }, 2609363448),
            Step(Wait { ms: 200 }, 2680049963),
        ],
    )
    .unwrap();
}

#[test]
fn r07_a_file_that_gave_up_its_descriptor_before_it_was_told_of_its_truncation() {
    run(
        486707,
        &[
            Step(Append { path: 8, lines: 2, open: false, silent: false }, 29353532),
            Step(Append { path: 3, lines: 3, open: false, silent: false }, 3938694291),
            Step(Append { path: 0, lines: 0, open: false, silent: false }, 2035388822),
            Step(Append { path: 8, lines: 5, open: false, silent: false }, 1273624756),
            Step(Wait { ms: 5 }, 3066664045),
            Step(CopyTruncate { base: 0 }, 1076464861),
            Step(Wait { ms: 40000 }, 494817433),
            Step(Append { path: 0, lines: 4, open: false, silent: false }, 935700135),
            Step(Switch { from: 8, to: 11 }, 1622752528),
            Step(Switch { from: 4, to: 6 }, 1138906124),
            Step(CopyTruncate { base: 0 }, 1907939371),
            Step(Append { path: 0, lines: 2, open: false, silent: false }, 3911401164),
            Step(Append { path: 0, lines: 3, open: false, silent: false }, 1911934115),
        ],
    )
    .unwrap();
}

#[test]
fn g11_the_position_of_a_resumed_file_that_ends_with_its_acknowledgement_is_kept() {
    run(
        992154,
        &[
            Step(Append { path: 8, lines: 5, open: false, silent: false }, 895102406),
            Step(Append { path: 9, lines: 3, open: false, silent: true }, 3126023506),
            Step(CutReads(1), 675056386),
            Step(Overflow, 1394537523),
            Step(Lose, 1869369220),
            Step(Remount, 1414995823),
            Step(Truncate { path: 8 }, 965873182),
            Step(Directory { away: true }, 953817889),
            Step(Stall { ms: 3000 }, 2526107238),
            Step(Directory { away: false }, 1468279619),
            Step(Ack(1), 1342751972),
            Step(FailReads(1), 2018613038),
            Step(Wait { ms: 12000 }, 178640205),
            Step(Ack(2), 1547441243),
            Step(Remount, 2780858582),
        ],
    )
    .unwrap();
}

#[test]
fn r06_lines_that_others_write_into_an_earlier_copy_are_read() {
    run(
        134349,
        &[
            Step(Append { path: 0, lines: 400, open: false, silent: false }, 422208692),
            Step(Wait { ms: 40000 }, 2048894919),
            Step(Ack(4), 3969243134),
            Step(Settle, 1076683099),
            Step(Ack(1), 2288320841),
            Step(Wait { ms: 40000 }, 2660748823),
            Step(Ack(2), 3547810456),
            Step(Ack(1), 2539788056),
            Step(Ack(2), 4021131693),
            Step(Settle, 3862718793),
            Step(Copy { from: 0, to: 2 }, 4201112703),
            Step(Append { path: 0, lines: 4, open: false, silent: false }, 1838512129),
            Step(Settle, 2913857091),
            Step(Settle, 3584862844),
            Step(Append { path: 8, lines: 3, open: false, silent: false }, 2650743963),
            Step(Ack(3), 2772753651),
            Step(Append { path: 8, lines: 2, open: false, silent: false }, 2922863995),
            Step(CopyTruncate { base: 0 }, 100243328),
            Step(Append { path: 2, lines: 3, open: true, silent: false }, 3430300292),
        ],
    )
    .unwrap();
}
