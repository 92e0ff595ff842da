//! Recycled read buffers under one fixed budget.
//!
//! A chunk is one allocation that many reads fill one after the other, of one busy file or of many
//! quiet ones. Every batch cut from it holds a reference; when the last is gone, the whole chunk is
//! reclaimed without an allocation. The pool is the agent's only buffer: when it is empty, reading
//! stops, and the files keep the data.
//!
//! The pool never copies. A read that ends in an unfinished line leaves those bytes unframed, and the
//! next read of that file fetches them again from the page cache: no file holds memory between reads.

use alloc::collections::VecDeque;
use alloc::vec::Vec;

use bytes::{Bytes, BytesMut};

/// The pool of chunks. Invariant: `open + leased + retired + free <= chunks_max`.
#[derive(Debug)]
pub struct ChunkPool {
    chunk_bytes: usize,
    chunks_max: usize,
    /// Chunks with room for another read; empty (`len == 0`) views of their free rest.
    open: Vec<BytesMut>,
    /// Chunks without room, waiting for their last batch; oldest first.
    retired: VecDeque<BytesMut>,
    /// Whole chunks nobody refers to; the last used is reused first, while it is in the cache.
    free: Vec<BytesMut>,
    /// Chunks that exist, wherever they are.
    allocated: usize,
}

/// A chunk whose rest is smaller than this is not offered to another read.
const REST_BYTES_MIN: usize = 4096;

impl ChunkPool {
    /// A pool of at most `budget_bytes / chunk_bytes` chunks (at least 2) of `chunk_bytes` each.
    /// Nothing is allocated before it is needed.
    #[must_use]
    pub fn new(budget_bytes: usize, chunk_bytes: usize) -> ChunkPool {
        let chunks_max = (budget_bytes / chunk_bytes).max(2);
        ChunkPool {
            chunk_bytes,
            chunks_max,
            open: Vec::with_capacity(chunks_max),
            retired: VecDeque::with_capacity(chunks_max),
            free: Vec::with_capacity(chunks_max),
            allocated: 0,
        }
    }

    /// An empty buffer with room for at least `want` bytes, or `None` when the budget is spent.
    /// `want` is at most the chunk size.
    pub fn lease(&mut self, want: usize) -> Option<BytesMut> {
        assert!(want <= self.chunk_bytes, "want {want} of chunks of {}", self.chunk_bytes);
        if let Some(at) = self.open.iter().rposition(|chunk| chunk.capacity() >= want) {
            return Some(self.open.swap_remove(at));
        }
        self.reclaim();
        if let Some(chunk) = self.free.pop() {
            return Some(chunk);
        }
        if self.allocated < self.chunks_max {
            self.allocated += 1;
            return Some(BytesMut::with_capacity(self.chunk_bytes));
        }
        // A file that wants much may take the place of rests that nobody else is using.
        let at = self.open.iter().position(|chunk| chunk.capacity() < want)?;
        let chunk = self.open.swap_remove(at);
        self.retired.push_back(chunk);
        self.reclaim();
        self.free.pop()
    }

    /// Takes back a leased buffer: its first `keep` bytes (from `skip` on) become the result, the
    /// rest of the chunk is there for the next read.
    pub fn settle(&mut self, mut chunk: BytesMut, skip: usize, keep: usize) -> Bytes {
        let taken = if keep == 0 {
            Bytes::new()
        } else {
            let _before = chunk.split_to(skip);
            chunk.split_to(keep).freeze()
        };
        chunk.clear();
        if chunk.capacity() >= REST_BYTES_MIN {
            self.open.push(chunk);
        } else {
            self.retired.push_back(chunk);
        }
        taken
    }

    /// Finds chunks whose last batch is gone. Cheap: one atomic load for each retired chunk.
    pub fn reclaim(&mut self) {
        for _ in 0..self.retired.len() {
            let mut chunk = self.retired.pop_front().expect("counted");
            if chunk.try_reclaim(self.chunk_bytes) {
                self.free.push(chunk);
            } else {
                self.retired.push_back(chunk);
            }
        }
    }

    /// Gives unused chunks back to the allocator, all but `keep`.
    pub fn trim(&mut self, keep: usize) {
        for _ in 0..self.open.len() {
            let mut chunk = self.open.swap_remove(0);
            if chunk.try_reclaim(self.chunk_bytes) {
                self.free.push(chunk);
            } else {
                self.open.push(chunk);
            }
        }
        self.reclaim();
        while self.free.len() > keep {
            self.free.pop();
            self.allocated -= 1;
        }
    }

    /// Bytes of chunks that exist: the memory that the pool holds.
    #[must_use]
    pub fn allocated_bytes(&self) -> usize {
        self.allocated * self.chunk_bytes
    }

    /// Size of one chunk in bytes: no read can be larger.
    #[must_use]
    pub fn chunk_bytes(&self) -> usize {
        self.chunk_bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(pool: &mut ChunkPool, data: &[u8]) -> Option<Bytes> {
        let mut lease = pool.lease(data.len())?;
        lease.extend_from_slice(data);
        Some(pool.settle(lease, 0, data.len()))
    }

    #[test]
    fn many_small_reads_share_a_chunk() {
        let mut pool = ChunkPool::new(1 << 20, 1 << 16);
        let held: Vec<Bytes> = (0..1000).map(|_| read(&mut pool, b"a line\n").unwrap()).collect();
        assert_eq!(pool.allocated_bytes(), 1 << 16);
        assert!(held.iter().all(|b| &b[..] == b"a line\n"));
    }

    #[test]
    fn a_spent_budget_refuses_until_a_chunk_is_whole_again() {
        let mut pool = ChunkPool::new(2 << 12, 1 << 12);
        let first = read(&mut pool, &[1; 1 << 12]).unwrap();
        let second = read(&mut pool, &[2; 1 << 12]).unwrap();
        assert!(pool.lease(1).is_none());
        let part = second.slice(10..20);
        drop(second);
        assert!(pool.lease(1).is_none(), "a slice still refers to it");
        drop(part);
        let again = pool.lease(1 << 12).unwrap();
        assert_eq!(again.capacity(), 1 << 12);
        assert!(pool.lease(1).is_none());
        drop(first);
    }

    #[test]
    fn a_rest_too_small_for_a_large_read_is_given_up_when_it_is_free() {
        let mut pool = ChunkPool::new(2 << 14, 1 << 14);
        let small = read(&mut pool, &[1; 100]).unwrap();
        let lease = pool.lease(1 << 14).unwrap();
        assert!(pool.lease(1 << 14).is_none());
        drop(small);
        assert!(pool.lease(1 << 14).is_some());
        drop(lease);
    }

    #[test]
    fn trim_keeps_what_is_in_use() {
        let mut pool = ChunkPool::new(4 << 14, 1 << 14);
        let held = read(&mut pool, &[1; 100]).unwrap();
        drop(read(&mut pool, &[2; 1 << 14]).unwrap());
        pool.trim(0);
        assert_eq!(pool.allocated_bytes(), 1 << 14);
        assert_eq!(held.len(), 100);
    }
}
