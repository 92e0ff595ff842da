//! Scripts that once broke a promise where files were copied and truncated, as short as they could be made.

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
