//! The effort to get the documents of one batch into the index: which of them to send next, and when to give up.
//!
//! Pure: it is told how a request went and says what the next one is. Documents that are busy are sent again by
//! themselves; a request that is refused as a whole is halved until the document that is the reason is alone.
//! Nothing is given up but what the server refuses for its own sake: everything else is tried for ever.

use std::collections::BTreeMap;

use bytes::Bytes;

use crate::opensearch::Verdict;

/// A document over which the server has failed so often is the reason for it.
const FAILURES_MAX: u32 = 8;

/// Documents on their way into the index.
#[derive(Debug)]
pub(super) struct Effort {
    body: Bytes,
    /// Where each document ends in `body`.
    ends: Vec<u32>,
    /// What is still to be sent, the next piece last. Pieces are not empty, and share no document.
    pieces: Vec<Vec<u32>>,
    /// How often the server has failed over a document.
    failures: BTreeMap<u32, u32>,
    /// What became of the others.
    done: Done,
}

/// What became of documents.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(super) struct Done {
    /// Written.
    pub(super) created: u64,
    /// There already.
    pub(super) known: u64,
    /// Sent again because the server was busy, blocked or had failed; one for each time.
    pub(super) retried: u64,
    /// Refused for good: which one, and why.
    pub(super) refused: Vec<(usize, String)>,
}

/// What to do next.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Next {
    /// Send the next request.
    Go,
    /// The same, after a while: this is the reason.
    Rest(String),
}

impl Effort {
    /// Documents of which none was sent yet: the bytes of a request, and where each document ends in it.
    #[must_use]
    pub(super) fn new(body: Bytes, ends: Vec<u32>) -> Effort {
        let all: Vec<u32> = (0..).take(ends.len()).collect();
        let pieces = if all.is_empty() { Vec::new() } else { vec![all] };
        Effort { body, ends, pieces, failures: BTreeMap::new(), done: Done::default() }
    }

    /// The next request, and how many documents it holds; `None`: all are settled.
    #[must_use]
    pub(super) fn request(&self) -> Option<(Bytes, usize)> {
        let piece = self.pieces.last()?;
        if piece.len() == self.ends.len() {
            return Some((self.body.clone(), piece.len()));
        }
        let bytes: Vec<u8> = piece.iter().flat_map(|index| self.document(*index)).copied().collect();
        Some((bytes.into(), piece.len()))
    }

    fn document(&self, index: u32) -> &[u8] {
        let index = index as usize;
        let start = index.checked_sub(1).map_or(0, |before| self.ends[before]);
        &self.body[start as usize..self.ends[index] as usize]
    }

    /// The request was answered, document by document.
    pub(super) fn answered(&mut self, verdicts: Vec<Verdict>) -> Next {
        let piece = self.pieces.pop().expect("an answer to a request");
        assert_eq!(piece.len(), verdicts.len(), "one answer for each document");
        let (mut again, mut why) = (Vec::new(), None);
        for (index, verdict) in piece.into_iter().zip(verdicts) {
            match verdict {
                Verdict::Created => self.done.created += 1,
                Verdict::Known => self.done.known += 1,
                Verdict::Refused(reason) => self.done.refused.push((index as usize, reason)),
                Verdict::Later(reason) => {
                    again.push(index);
                    why.get_or_insert(reason);
                }
                Verdict::Failed(reason) => {
                    let failures = self.failures.entry(index).or_default();
                    *failures += 1;
                    if *failures >= FAILURES_MAX {
                        self.done.refused.push((index as usize, reason));
                    } else {
                        again.push(index);
                        why.get_or_insert(reason);
                    }
                }
            }
        }
        let Some(why) = why else { return Next::Go };
        self.done.retried += again.len() as u64;
        self.pieces.push(again);
        Next::Rest(why)
    }

    /// The request was refused as a whole, because of what is in it.
    pub(super) fn refused(&mut self, reason: String) -> Next {
        let mut piece = self.pieces.pop().expect("an answer to a request");
        match &piece[..] {
            [one] => self.done.refused.push((*one as usize, reason)),
            _ => {
                let second = piece.split_off(piece.len() / 2);
                self.pieces.extend([second, piece]);
            }
        }
        Next::Go
    }

    /// What became of the documents so far.
    #[must_use]
    pub(super) fn into_done(self) -> Done {
        self.done
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn effort(documents: &[&str]) -> Effort {
        let (mut body, mut ends) = (String::new(), Vec::new());
        for document in documents {
            body.push_str(document);
            ends.push(body.len() as u32);
        }
        Effort::new(body.into(), ends)
    }

    fn sent(effort: &Effort) -> Option<String> {
        effort.request().map(|(body, _)| String::from_utf8(body.to_vec()).unwrap())
    }

    fn later() -> Verdict {
        Verdict::Later("429 busy".into())
    }

    #[test]
    fn i01_only_what_was_busy_is_sent_again() {
        let mut effort = effort(&["a", "bb", "ccc"]);
        assert_eq!(sent(&effort).unwrap(), "abbccc");
        let next = effort.answered(vec![later(), Verdict::Created, later()]);
        assert_eq!(next, Next::Rest("429 busy".into()));
        assert_eq!(sent(&effort).unwrap(), "accc");
        assert_eq!(effort.answered(vec![Verdict::Known, later()]), Next::Rest("429 busy".into()));
        assert_eq!(sent(&effort).unwrap(), "ccc");
        assert_eq!(effort.answered(vec![Verdict::Created]), Next::Go);
        assert_eq!(sent(&effort), None);
        let done = effort.into_done();
        assert_eq!((done.created, done.known, done.retried, done.refused.len()), (2, 1, 3, 0));
    }

    #[test]
    fn i02_one_that_is_refused_does_not_hold_up_the_others() {
        let mut effort = effort(&["a", "b", "c"]);
        let next = effort.answered(vec![Verdict::Created, Verdict::Refused("400".into()), Verdict::Created]);
        assert_eq!((next, sent(&effort)), (Next::Go, None));
        assert_eq!(effort.into_done().refused, [(1, "400".to_owned())]);
    }

    #[test]
    fn i05_a_request_that_is_refused_whole_is_halved_down_to_the_reason() {
        let mut effort = effort(&["a", "b", "X", "d", "e"]);
        let mut requests = Vec::new();
        while let Some(request) = sent(&effort) {
            requests.push(request.clone());
            let next = match request.contains('X') {
                true => effort.refused("413 too large".into()),
                false => effort.answered(vec![Verdict::Created; request.len()]),
            };
            assert_eq!(next, Next::Go);
        }
        assert_eq!(requests, ["abXde", "ab", "Xde", "X", "de"]);
        let done = effort.into_done();
        assert_eq!((done.created, done.refused), (4, vec![(2, "413 too large".to_owned())]));
    }

    #[test]
    fn one_over_which_the_server_always_fails_is_given_up_and_only_that() {
        let mut effort = effort(&["a", "b"]);
        let mut attempts = 0;
        while let Some((_, documents)) = effort.request() {
            attempts += 1;
            // The other one is busy for longer than that.
            let busy = if attempts < 20 { later() } else { Verdict::Created };
            let mut verdicts = vec![busy, Verdict::Failed("500".into())];
            verdicts.truncate(documents);
            effort.answered(verdicts);
        }
        assert_eq!(attempts, 20);
        assert_eq!(effort.into_done().refused, [(1, "500".to_owned())]);
    }

    #[test]
    fn nothing_is_nothing() {
        assert_eq!(effort(&[]).request(), None);
    }

    proptest! {
        /// However requests go, each document is settled once, and none is sent after it was.
        #[test]
        fn every_document_is_settled_once(count in 1..12usize, dice in prop::collection::vec(0..6u8, 0..200)) {
            let names: Vec<String> = (0..count).map(|at| char::from(b'a' + at as u8).to_string()).collect();
            let mut effort = effort(&names.iter().map(String::as_str).collect::<Vec<_>>());
            let mut settled = std::collections::BTreeSet::new();
            let mut dice = dice.into_iter();
            let mut refused_whole = 0;
            while let Some(request) = sent(&effort) {
                let roll = dice.next().unwrap_or(1);
                if roll == 0 {
                    refused_whole += u64::from(request.len() == 1);
                    effort.refused("400".into());
                    if request.len() == 1 {
                        prop_assert!(settled.insert(request));
                    }
                    continue;
                }
                let verdicts: Vec<Verdict> = request.chars().map(|name| {
                    match dice.next().unwrap_or(1) {
                        1 | 2 => { assert!(settled.insert(name.to_string())); Verdict::Created }
                        3 => { assert!(settled.insert(name.to_string())); Verdict::Known }
                        4 => { assert!(settled.insert(name.to_string())); Verdict::Refused("400".into()) }
                        _ => later(),
                    }
                }).collect();
                effort.answered(verdicts);
            }
            prop_assert_eq!(settled.len(), count);
            let done = effort.into_done();
            prop_assert_eq!(done.created + done.known + done.refused.len() as u64, count as u64);
            prop_assert!(done.refused.len() as u64 >= refused_whole);
        }
    }
}
