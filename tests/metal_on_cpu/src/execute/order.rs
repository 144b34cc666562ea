//! The order of threads and workgroups.

use crate::Order;

/// Takes turns by an [`Order`].
pub struct Turns {
    order: Order,
    /// splitmix64
    random: u64,
}

impl Turns {
    /// For one workgroup, or (0) for the order of workgroups.
    pub fn new(order: Order, stream: u64) -> Self {
        let seed = if let Order::Random(seed) = order { seed } else { 0 };
        Self { order, random: seed.wrapping_mul(0x2545_f491_4f6c_dd1d) ^ stream.wrapping_mul(0x9e37_79b9_7f4a_7c15) }
    }

    /// Every index below `count` once, in `turns`.
    pub fn deal(&mut self, count: usize, turns: &mut Vec<u32>) {
        let count = u32::try_from(count).expect("fewer than 2^32 turns");
        turns.clear();
        match self.order {
            Order::Ascending => turns.extend(0..count),
            Order::Descending => turns.extend((0..count).rev()),
            Order::Random(_) => {
                turns.extend(0..count);
                for i in (1..turns.len()).rev() {
                    turns.swap(i, self.below(i + 1));
                }
            }
        }
    }

    fn below(&mut self, bound: usize) -> usize {
        ((u128::from(self.next()) * bound as u128) >> 64) as usize
    }

    fn next(&mut self) -> u64 {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.random ^ (self.random >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dealt(order: Order, stream: u64) -> Vec<u32> {
        let mut turns = vec![];
        Turns::new(order, stream).deal(100, &mut turns);
        turns
    }

    #[test]
    fn every_turn_comes_once() {
        let ascending: Vec<u32> = (0..100).collect();
        assert_eq!(dealt(Order::Ascending, 0), ascending);
        assert_eq!(dealt(Order::Descending, 0), ascending.iter().rev().copied().collect::<Vec<_>>());
        let mut random = dealt(Order::Random(7), 3);
        assert_ne!(random, ascending);
        assert_ne!(random, dealt(Order::Random(8), 3));
        assert_ne!(random, dealt(Order::Random(7), 4));
        random.sort_unstable();
        assert_eq!(random, ascending);
    }
}
