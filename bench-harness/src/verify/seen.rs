//! Which sequence numbers were seen: a bitmap in small pages, and runs of what was seen whole.
//!
//! Made for numbers that come nearly in order, from very many files at once (a page is 64 bytes) or from
//! one file for hours, and correct for any order. A page exists only while some of its numbers were seen and
//! others not: one that is full becomes a part of a run, so memory follows the gaps and not the numbers. A wild
//! number costs a page and nothing more.

use std::collections::BTreeMap;

const PAGE_BITS: u64 = 512;
const WORD_BITS: u64 = 64;

type Page = [u64; (PAGE_BITS / WORD_BITS) as usize];

const FULL: Page = [u64::MAX; (PAGE_BITS / WORD_BITS) as usize];

/// A set of sequence numbers.
#[derive(Clone, Debug, Default)]
pub(super) struct Seen {
    pages: Vec<Page>,
    /// Places in `pages` that no key has; what is in them is zero.
    free: Vec<usize>,
    /// Where in `pages` the page of numbers `key * PAGE_BITS..` is; of full ones it is nowhere.
    index: BTreeMap<u64, usize>,
    /// Full pages, from a first key to a last one. Runs neither overlap nor touch.
    full: BTreeMap<u64, u64>,
    /// The page that was touched last: the next number is usually in it.
    last: Option<(u64, usize)>,
    count: u64,
}

impl Seen {
    /// Adds a number; false if it was there.
    #[inline]
    pub(super) fn insert(&mut self, number: u64) -> bool {
        let (key, bit) = (number / PAGE_BITS, number % PAGE_BITS);
        let at = match self.last {
            Some((last, at)) if last == key => at,
            _ => match self.page(key) {
                Some(at) => at,
                None => return false,
            },
        };
        let word = &mut self.pages[at][(bit / WORD_BITS) as usize];
        let mask = 1 << (bit % WORD_BITS);
        let new = *word & mask == 0;
        *word |= mask;
        self.count += u64::from(new);
        if *word == u64::MAX && self.pages[at] == FULL {
            self.fold(key, at);
        }
        new
    }

    /// How many numbers are in it.
    pub(super) fn count(&self) -> u64 {
        self.count
    }

    /// How many of the numbers `first..=last` are in it.
    pub(super) fn count_in(&self, first: u64, last: u64) -> u64 {
        let mut words = self.words(first);
        let mut count = 0;
        while let Some((base, bits)) = words.next()
            && base <= last
        {
            let kept = if last - base >= WORD_BITS - 1 { bits } else { bits & ((2 << (last - base)) - 1) };
            count += u64::from(kept.count_ones());
        }
        count
    }

    /// The numbers of `first..=last` that are missing, as ranges with both ends included, in order.
    pub(super) fn gaps(&self, first: u64, last: u64) -> impl Iterator<Item = (u64, u64)> {
        let mut from = Some(first);
        std::iter::from_fn(move || {
            let start = self.next_missing(from?).filter(|start| *start <= last)?;
            let end = self.next_seen(start).map_or(last, |seen| last.min(seen - 1));
            from = end.checked_add(1);
            Some((start, end))
        })
    }

    /// The place of a page; none if it is full.
    fn page(&mut self, key: u64) -> Option<usize> {
        if self.run_with(key).is_some() {
            return None;
        }
        let at = *self.index.entry(key).or_insert_with(|| {
            self.free.pop().unwrap_or_else(|| {
                self.pages.push(Page::default());
                self.pages.len() - 1
            })
        });
        self.last = Some((key, at));
        Some(at)
    }

    /// Makes a full page a part of the run that it belongs to, which may join two.
    fn fold(&mut self, key: u64, at: usize) {
        self.index.remove(&key);
        self.pages[at] = Page::default();
        self.free.push(at);
        self.last = None;
        let before = self.full.range(..key).next_back().filter(|(_, last)| **last + 1 == key);
        let first = before.map_or(key, |(first, _)| *first);
        let last = self.full.remove(&(key + 1)).unwrap_or(key);
        self.full.insert(first, last);
    }

    /// The run that holds this key.
    fn run_with(&self, key: u64) -> Option<(u64, u64)> {
        let (first, last) = self.full.range(..=key).next_back()?;
        (*last >= key).then_some((*first, *last))
    }

    /// The smallest number from `from` on that is in it.
    fn next_seen(&self, from: u64) -> Option<u64> {
        let (base, bits) = self.words(from).find(|(_, bits)| *bits != 0)?;
        Some(base + u64::from(bits.trailing_zeros()))
    }

    /// The smallest number from `from` on that is not in it.
    fn next_missing(&self, from: u64) -> Option<u64> {
        let mut expected = from - from % WORD_BITS;
        for (base, bits) in self.words(from) {
            // Numbers before `from` are masked out of its word; they are not asked for.
            let bits = if base <= from { bits | ((1 << (from % WORD_BITS)) - 1) } else { bits };
            if base != expected || bits != u64::MAX {
                let free = if base == expected { u64::from(bits.trailing_ones()) } else { 0 };
                return Some((expected + free).max(from));
            }
            expected = base.checked_add(WORD_BITS)?;
        }
        Some(expected.max(from))
    }

    /// All pages from this key on, in order, full or not.
    fn pages_from(&self, key: u64) -> impl Iterator<Item = (u64, &Page)> {
        let begun = self.run_with(key).map(|(_, last)| (key, last));
        let later = self.full.range(key..).map(|(first, last)| (*first, *last));
        let later = later.filter(move |(first, _)| begun.is_none_or(|_| *first > key));
        let mut full = begun.into_iter().chain(later).flat_map(|(first, last)| first..=last).peekable();
        let mut others = self.index.range(key..).peekable();
        std::iter::from_fn(move || match (full.peek(), others.peek()) {
            (Some(whole), Some((other, _))) if whole < *other => Some((full.next()?, &FULL)),
            (Some(_), None) => Some((full.next()?, &FULL)),
            (_, _) => others.next().map(|(key, at)| (*key, &self.pages[*at])),
        })
    }

    /// The words of all pages from the one that holds `from` on, each with the number of its first bit;
    /// bits of numbers before `from` are cleared.
    fn words(&self, from: u64) -> impl Iterator<Item = (u64, u64)> {
        let word_of = from - from % WORD_BITS;
        self.pages_from(from / PAGE_BITS).flat_map(move |(key, page)| {
            let words = page.iter().zip(0u64..);
            words.filter_map(move |(bits, word)| {
                let base = key * PAGE_BITS + word * WORD_BITS;
                match base.cmp(&word_of) {
                    std::cmp::Ordering::Less => None,
                    std::cmp::Ordering::Equal => Some((base, bits & (u64::MAX << (from % WORD_BITS)))),
                    std::cmp::Ordering::Greater => Some((base, *bits)),
                }
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    fn gaps(set: &BTreeSet<u64>, first: u64, last: u64) -> Vec<(u64, u64)> {
        let mut gaps: Vec<(u64, u64)> = Vec::new();
        for number in (first..=last).filter(|number| !set.contains(number)) {
            match gaps.last_mut() {
                Some((_, end)) if *end + 1 == number => *end = number,
                _ => gaps.push((number, number)),
            }
        }
        gaps
    }

    #[test]
    fn a_million_in_order_take_little_memory() {
        let mut seen = Seen::default();
        for number in 0..1_000_000 {
            assert!(seen.insert(number));
        }
        assert_eq!((seen.pages.len(), seen.full.len(), seen.count()), (1, 1, 1_000_000));
        assert_eq!(seen.gaps(0, 1_000_001).collect::<Vec<_>>(), [(1_000_000, 1_000_001)]);
        assert!((0..1_000_000).all(|number| !seen.insert(number)), "what was folded is still known");
    }

    #[test]
    fn runs_join_whatever_order_their_pages_become_full_in() {
        let orders = [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]];
        for order in orders {
            let mut seen = Seen::default();
            for key in order {
                (key * PAGE_BITS..(key + 1) * PAGE_BITS).for_each(|number| assert!(seen.insert(number)));
            }
            assert_eq!(seen.full, BTreeMap::from([(0, 2)]), "{order:?}");
            assert_eq!((seen.index.len(), seen.pages.len(), seen.free.len()), (0, 1, 1));
            assert_eq!(seen.count_in(100, 10_000), 3 * PAGE_BITS - 100);
        }
    }

    #[test]
    fn a_wild_number_costs_one_page() {
        let mut seen = Seen::default();
        assert!(seen.insert(u64::MAX) && seen.insert(0) && !seen.insert(u64::MAX));
        assert_eq!((seen.pages.len(), seen.count_in(0, u64::MAX)), (2, 2));
        assert_eq!(seen.gaps(0, u64::MAX).collect::<Vec<_>>(), [(1, u64::MAX - 1)]);
    }

    proptest! {
        #[test]
        fn it_is_a_set(
            numbers in prop::collection::vec(0u64..3_000, 0..2_500),
            dense in any::<bool>(), first in 0u64..3_000, length in 0u64..3_000,
        ) {
            let (mut seen, mut model) = (Seen::default(), BTreeSet::new());
            let filled = if dense { 0..2_000 } else { 0..0 };
            for number in numbers.into_iter().chain(filled) {
                prop_assert_eq!(seen.insert(number), model.insert(number));
            }
            let last = first + length;
            prop_assert_eq!(seen.count(), model.len() as u64);
            prop_assert_eq!(seen.count_in(first, last), model.range(first..=last).count() as u64);
            prop_assert_eq!(seen.gaps(first, last).collect::<Vec<_>>(), gaps(&model, first, last));
        }
    }
}
