//! Sorting and searching, for memory traffic.

extern crate alloc;

use alloc::{vec, vec::Vec};

use super::checksum::{Checksum, Random};

/// Sorts `size` pseudorandom words by merging and again, in the order of their bits reversed, in a heap. Then searches as many words in the
/// sorted ones, every second of which is there.
pub fn sorting(size: u64) -> [u8; 32] {
    let mut random = Random::new(2);
    let words: Vec<u32> = (0..size).map(|_| random.word()).collect();
    let mut sorted = words.clone();
    merge_sort(&mut sorted);
    let mut heap: Vec<u32> = words.iter().map(|word| word.reverse_bits()).collect();
    heap_sort(&mut heap);

    let mut checksum = Checksum::new();
    for (low, high) in sorted.iter().zip(&heap) {
        checksum.add(low ^ high.rotate_left(16));
    }
    for (index, word) in words.iter().enumerate() {
        let wanted = if index % 2 == 0 { *word } else { random.word() };
        checksum.add(sorted.partition_point(|&word| word < wanted) as u32);
    }
    checksum.bytes()
}

fn merge_sort(words: &mut Vec<u32>) {
    let mut from = core::mem::take(words);
    let mut to = vec![0; from.len()];
    let mut width = 1;
    while width < from.len() {
        for (run, out) in from.chunks(2 * width).zip(to.chunks_mut(2 * width)) {
            let (left, right) = run.split_at(width.min(run.len()));
            merge(left, right, out);
        }
        core::mem::swap(&mut from, &mut to);
        width *= 2;
    }
    *words = from;
}

fn merge(left: &[u32], right: &[u32], out: &mut [u32]) {
    let (mut taken_left, mut taken_right) = (0, 0);
    for place in out {
        let from_left =
            taken_right == right.len() || (taken_left < left.len() && left[taken_left] <= right[taken_right]);
        if from_left {
            *place = left[taken_left];
            taken_left += 1;
        } else {
            *place = right[taken_right];
            taken_right += 1;
        }
    }
}

fn heap_sort(words: &mut [u32]) {
    for root in (0..words.len() / 2).rev() {
        sift_down(words, root);
    }
    for end in (1..words.len()).rev() {
        words.swap(0, end);
        sift_down(&mut words[..end], 0);
    }
}

fn sift_down(heap: &mut [u32], mut root: usize) {
    loop {
        let mut child = 2 * root + 1;
        if child >= heap.len() {
            return;
        }
        if child + 1 < heap.len() && heap[child] < heap[child + 1] {
            child += 1;
        }
        if heap[root] >= heap[child] {
            return;
        }
        heap.swap(root, child);
        root = child;
    }
}
