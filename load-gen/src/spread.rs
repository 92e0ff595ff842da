//! Which file a line goes to.
//!
//! Fixed by the line's number and the seed, so that several threads agree about it without a word.

use std::fmt;
use std::str::FromStr;

use crate::random::scatter;

/// How lines are spread over the files.
#[derive(Copy, Clone, Debug, PartialEq)]
pub enum Spread {
    /// In turn.
    Uniform,
    /// By chance, file `k` (from 0) with a probability proportional to `1 / (k + 1)^exponent`.
    Zipf(f64),
}

impl FromStr for Spread {
    type Err = String;

    /// Reads `uniform` or `zipf:1.1`.
    fn from_str(text: &str) -> Result<Spread, String> {
        let exponent = text.strip_prefix("zipf:").and_then(|exponent| exponent.parse().ok());
        match exponent.filter(|exponent| (0.0..=10.0).contains(exponent)) {
            _ if text == "uniform" => Ok(Spread::Uniform),
            Some(exponent) => Ok(Spread::Zipf(exponent)),
            None => Err(format!("`{text}` is neither `uniform` nor `zipf:1.1` (an exponent of 0 to 10)")),
        }
    }
}

impl fmt::Display for Spread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Spread::Uniform => f.write_str("uniform"),
            Spread::Zipf(exponent) => write!(f, "zipf:{exponent}"),
        }
    }
}

/// A drawing of files by weight in constant time: Walker's alias method, with Vose's construction.
#[derive(Debug)]
pub(crate) struct Drawing {
    seed: u64,
    columns: Vec<Column>,
}

/// One of equally frequent columns, which two files share.
#[derive(Copy, Clone, Debug)]
struct Column {
    /// The file whose column it is has this share of it, of 2^32.
    own: u64,
    /// Who has the rest.
    other: u32,
}

impl Drawing {
    /// A drawing of files by Zipf's law.
    pub(crate) fn new(files: u32, exponent: f64, seed: u64) -> Drawing {
        let weights: Vec<f64> = (1..=files).map(|rank| f64::from(rank).powf(-exponent)).collect();
        let scale = f64::from(files) / weights.iter().sum::<f64>();
        let mut shares: Vec<f64> = weights.iter().map(|weight| weight * scale).collect();
        let mut columns: Vec<Column> = (0..files).map(|file| Column { own: 1 << 32, other: file }).collect();
        let (mut poor, mut rich): (Vec<u32>, Vec<u32>) =
            (0..files).partition(|file| shares[*file as usize] < 1.0);
        while let (Some(low), Some(high)) = (poor.pop(), rich.last().copied()) {
            let share = shares[low as usize];
            columns[low as usize] = Column { own: (share * (1u64 << 32) as f64) as u64, other: high };
            shares[high as usize] -= 1.0 - share;
            if shares[high as usize] < 1.0 {
                rich.pop();
                poor.push(high);
            }
        }
        Drawing { seed, columns }
    }

    /// How many files there are.
    pub(crate) fn files(&self) -> usize {
        self.columns.len()
    }

    /// The file of a line.
    #[inline]
    pub(crate) fn file_of(&self, line: u64) -> u32 {
        let drawn = scatter(self.seed, line);
        let column = ((drawn >> 32) * self.columns.len() as u64) >> 32;
        let Column { own, other } = self.columns[column as usize];
        if drawn & 0xffff_ffff < own { column as u32 } else { other }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spreads_are_read_and_shown() {
        for text in ["uniform", "zipf:1.1", "zipf:0"] {
            assert_eq!(text.parse::<Spread>().unwrap().to_string(), text);
        }
        for wrong in ["", "zipf", "zipf:", "zipf:-1", "zipf:nan", "zipf:11", "even"] {
            assert!(wrong.parse::<Spread>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn files_come_as_often_as_the_law_says() {
        for (files, exponent) in [(1, 1.1), (10, 0.0), (100, 1.1), (20_000, 1.0)] {
            let drawing = Drawing::new(files, exponent, 5);
            let mut counts = vec![0u64; files as usize];
            let lines = 1_000_000;
            (0..lines).for_each(|line| counts[drawing.file_of(line) as usize] += 1);
            let weight = |rank: u32| f64::from(rank).powf(-exponent);
            let whole: f64 = (1..=files).map(weight).sum();
            for file in [0, files / 3, files - 1] {
                let expected = lines as f64 * weight(file + 1) / whole;
                let difference = (counts[file as usize] as f64 - expected).abs();
                assert!(difference < 5.0 * expected.sqrt() + 1.0, "file {file} of {files}: {difference}");
            }
        }
    }

    #[test]
    fn a_line_has_one_file_for_each_seed() {
        let drawn = |seed| -> Vec<u32> {
            let drawing = Drawing::new(50, 1.1, seed);
            (0..100).map(|line| drawing.file_of(line)).collect()
        };
        assert_eq!(drawn(1), drawn(1));
        assert_ne!(drawn(1), drawn(2));
    }
}
