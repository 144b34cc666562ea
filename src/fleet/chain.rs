//! What proofs state, and whether they fit each other.
//!
//! A proof that verifies may still be one of another segment. What tells is the state in which it begins and that in which it ends: each segment
//! has to begin where the one before ends, the first one where the program begins, and only the last one ends the execution.

use serde::{Deserialize, Serialize};

/// A program's state between two instructions, as proofs have it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct State {
    /// The program counter.
    pub pc: u32,
    /// The root of the memory's Merkle tree.
    pub root: [u32; 8],
}

/// What a proof states about a part of the execution.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Statement {
    /// Where it begins.
    pub before: State,
    /// Where it ends.
    pub after: State,
    /// Whether the program has come to its end by then, with success.
    pub terminates: bool,
}

impl Statement {
    /// What a proof over `parts`, one after the other, states.
    ///
    /// # Errors
    ///
    /// The number of the first part that does not begin where the one before ends.
    pub fn joined(parts: &[Self]) -> Result<Self, usize> {
        let (Some(first), Some(last)) = (parts.first(), parts.last()) else { return Err(0) };
        let fits = |pair: &[Self]| pair[0].after == pair[1].before && !pair[0].terminates;
        match parts.windows(2).position(|pair| !fits(pair)) {
            Some(at) => Err(at + 1),
            None => Ok(Self { before: first.before, ..*last }),
        }
    }
}

/// A segment that was offered to a [`Chain`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// Its number.
    pub segment: usize,
    /// What its proof states.
    pub statement: Statement,
    /// Whether it begins where the one before ends.
    pub accepted: bool,
}

/// The segments' statements, which count from the first one on: one that comes early waits for those before it.
#[derive(Clone, Debug)]
pub struct Chain {
    at: State,
    accepted: usize,
    offered: Vec<Option<Statement>>,
}

impl Chain {
    /// A chain of `segments` segments from `start` on.
    pub fn new(start: State, segments: usize) -> Self {
        Self { at: start, accepted: 0, offered: vec![None; segments] }
    }

    /// Offers what a verified proof of segment `segment` states; returns what is known since, in order. Nothing is returned for a segment that was
    /// accepted before, and for one that waits already the first statement stays.
    pub fn offer(&mut self, segment: usize, statement: Statement) -> Vec<Verdict> {
        if segment >= self.offered.len() {
            return vec![Verdict { segment, statement, accepted: false }];
        }
        if segment >= self.accepted {
            self.offered[segment].get_or_insert(statement);
        }
        let mut verdicts = vec![];
        while let Some(statement) = self.offered.get_mut(self.accepted).and_then(Option::take) {
            let segment = self.accepted;
            let is_last = segment + 1 == self.offered.len();
            let accepted = statement.before == self.at && statement.terminates == is_last;
            verdicts.push(Verdict { segment, statement, accepted });
            if !accepted {
                break;
            }
            (self.at, self.accepted) = (statement.after, segment + 1);
        }
        verdicts
    }

    /// How many segments are accepted, from the first one on.
    pub fn accepted(&self) -> usize {
        self.accepted
    }

    /// Whether a proof of this segment is there: accepted, or waiting for others.
    pub fn has(&self, segment: usize) -> bool {
        segment < self.accepted || self.offered.get(segment).is_some_and(Option::is_some)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state(pc: u32) -> State {
        State { pc, root: [pc; 8] }
    }

    fn part(from: u32, to: u32, terminates: bool) -> Statement {
        Statement { before: state(from), after: state(to), terminates }
    }

    #[test]
    fn parts_join_where_they_fit() {
        let parts = [part(0, 3, false), part(3, 5, false), part(5, 9, true)];
        assert_eq!(Statement::joined(&parts), Ok(part(0, 9, true)));
        assert_eq!(Statement::joined(&parts[..1]), Ok(parts[0]));
        assert_eq!(Statement::joined(&[parts[0], parts[2], parts[1]]), Err(1));
        assert_eq!(Statement::joined(&[parts[0], parts[1], parts[1]]), Err(2));
        // nothing comes behind the end
        assert_eq!(Statement::joined(&[part(0, 3, true), parts[1]]), Err(1));
        assert_eq!(Statement::joined(&[]), Err(0));
    }

    #[test]
    fn segments_count_from_the_first_one_on() {
        let mut chain = Chain::new(state(0), 4);
        let parts = [part(0, 1, false), part(1, 2, false), part(2, 3, false), part(3, 4, true)];
        let yes = |segment: usize| Verdict { segment, statement: parts[segment], accepted: true };
        let no = |segment, statement| Verdict { segment, statement, accepted: false };
        assert_eq!(chain.offer(2, parts[2]), []);
        assert!(chain.has(2) && !chain.has(1) && !chain.has(9));
        // another segment's proof, which waits, and is refused when its turn comes
        assert_eq!(chain.offer(1, parts[3]), []);
        assert_eq!(chain.offer(0, parts[0]), [yes(0), no(1, parts[3])]);
        assert_eq!(chain.offer(1, parts[1]), [yes(1), yes(2)]);
        assert_eq!(chain.offer(1, parts[1]), []);
        // the last one has to end the execution, others must not
        assert_eq!(chain.offer(3, part(3, 4, false)), [no(3, part(3, 4, false))]);
        assert_eq!(chain.offer(3, parts[3]), [yes(3)]);
        assert_eq!((chain.accepted(), chain.offer(7, parts[0])), (4, vec![no(7, parts[0])]));
    }
}
