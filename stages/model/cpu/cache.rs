//! Keys and values of sequences, in blocks of [`BLOCK`] tokens that sequences with a common beginning share.
//!
//! A full block is known by all tokens up to its end, and whoever needs that beginning again (another sample
//! of the prompt, a child in a search tree, the instruction that all prompts begin with) takes it from there,
//! as vLLM's automatic prefix caching does (arXiv 2309.06180). Blocks that no sequence holds are given up
//! when room is needed, the longest unused first.
//!
//! A block holds for each layer and key/value head the keys `[d, BLOCK]` and the values `[BLOCK, d]`, so that
//! the scores of sixteen tokens are one vector.

use std::collections::HashMap;
use std::sync::Arc;

use super::Shape;

/// Tokens in a block.
pub const BLOCK: usize = 16;

/// Keys and values of one sequence.
pub struct Sequence {
    blocks: Vec<Arc<Vec<f32>>>,
    tokens: Vec<u32>,
    /// How many blocks are known to the pool, and the name of the last of them.
    known: usize,
    name: u64,
}

impl Sequence {
    pub fn len(&self) -> usize {
        self.tokens.len()
    }

    pub fn is_empty(&self) -> bool {
        self.tokens.is_empty()
    }

    pub fn blocks(&self) -> &[Arc<Vec<f32>>] {
        &self.blocks
    }

    /// Where a token's keys and values of a layer are written, the block of that layer and the place in it.
    /// Only tokens that are being added may be written: their blocks belong to this sequence alone.
    pub fn writable(&mut self, position: usize) -> (&mut [f32], usize) {
        let block = Arc::get_mut(&mut self.blocks[position / BLOCK]).map_or(&mut [][..], Vec::as_mut_slice);
        (block, position % BLOCK)
    }
}

struct Known {
    name: u64,
    block: Arc<Vec<f32>>,
    used: u64,
}

/// All blocks, within a limit.
pub struct Pool {
    /// Floats in a block.
    size: usize,
    limit: usize,
    made: usize,
    free: Vec<Vec<f32>>,
    /// By the name of the block before (0 for none) and the block's own tokens.
    known: HashMap<(u64, [u32; BLOCK]), Known>,
    names: u64,
    clock: u64,
}

impl Pool {
    /// A pool that holds at most `bytes`.
    pub fn new(shape: &Shape, layers: usize, bytes: usize) -> Self {
        let size = layers * Self::layer(shape);
        Self {
            size,
            limit: bytes / (size * 4),
            made: 0,
            free: Vec::new(),
            known: HashMap::new(),
            names: 0,
            clock: 0,
        }
    }

    /// Floats of one layer in a block.
    pub fn layer(shape: &Shape) -> usize {
        2 * shape.shared * shape.size * BLOCK
    }

    /// Bytes held.
    pub fn bytes(&self) -> usize {
        self.made * self.size * 4
    }

    /// Bytes of a block.
    pub fn block_bytes(&self) -> usize {
        self.size * 4
    }

    /// Whether `count` blocks can be had now; gives up idle ones if need be.
    pub fn make_room(&mut self, count: usize) -> bool {
        while self.limit - self.made + self.free.len() < count {
            if !self.evict() {
                return false;
            }
        }
        true
    }

    /// A sequence that already holds as much of the beginning of `tokens` as is known, but not all of it.
    pub fn begin(&mut self, tokens: &[u32]) -> Sequence {
        self.clock += 1;
        let mut sequence = Sequence { blocks: Vec::new(), tokens: Vec::new(), known: 0, name: 0 };
        for block in tokens[..tokens.len().saturating_sub(1)].as_chunks::<BLOCK>().0 {
            let Some(known) = self.known.get_mut(&(sequence.name, *block)) else { break };
            known.used = self.clock;
            sequence.name = known.name;
            sequence.blocks.push(Arc::clone(&known.block));
            sequence.tokens.extend_from_slice(block);
        }
        sequence.known = sequence.blocks.len();
        sequence
    }

    /// Another sequence with the same tokens; needs one block if the last one is not full.
    ///
    /// # Errors
    /// If there is no room.
    pub fn fork(&mut self, from: &Sequence) -> Result<Sequence, Full> {
        let mut blocks = from.blocks.clone();
        if !from.len().is_multiple_of(BLOCK)
            && let Some(last) = blocks.pop()
        {
            let mut copy = self.take()?;
            copy.copy_from_slice(&last);
            blocks.push(Arc::new(copy));
        }
        Ok(Sequence { blocks, tokens: from.tokens.clone(), known: from.known, name: from.name })
    }

    /// Makes room for `count` more tokens.
    ///
    /// # Errors
    /// If there is none.
    pub fn extend(&mut self, sequence: &mut Sequence, count: usize) -> Result<(), Full> {
        while sequence.blocks.len() * BLOCK < sequence.len() + count {
            sequence.blocks.push(Arc::new(self.take()?));
        }
        Ok(())
    }

    /// Notes that keys and values of these tokens are now written.
    pub fn added(&mut self, sequence: &mut Sequence, tokens: &[u32]) {
        sequence.tokens.extend_from_slice(tokens);
        while (sequence.known + 1) * BLOCK <= sequence.len() {
            let at = sequence.known;
            let Ok(own) = <[u32; BLOCK]>::try_from(&sequence.tokens[at * BLOCK..(at + 1) * BLOCK]) else {
                break;
            };
            let known = self.known.entry((sequence.name, own)).or_insert_with(|| {
                self.names += 1;
                Known { name: self.names, block: Arc::clone(&sequence.blocks[at]), used: 0 }
            });
            known.used = self.clock;
            sequence.name = known.name;
            // Who was second gives up its copy.
            let double = std::mem::replace(&mut sequence.blocks[at], Arc::clone(&known.block));
            if let Ok(block) = Arc::try_unwrap(double) {
                self.free.push(block);
            }
            sequence.known += 1;
        }
    }

    /// Ends a sequence. What it wrote stays known as long as there is room.
    pub fn release(&mut self, sequence: Sequence) {
        self.free.extend(sequence.blocks.into_iter().filter_map(|block| Arc::try_unwrap(block).ok()));
    }

    fn take(&mut self) -> Result<Vec<f32>, Full> {
        if let Some(block) = self.free.pop() {
            return Ok(block);
        }
        if self.made < self.limit {
            self.made += 1;
            return Ok(vec![0.0; self.size]);
        }
        self.evict();
        self.free.pop().ok_or(Full)
    }

    /// Gives up the older half of what nobody holds; false if there is nothing.
    fn evict(&mut self) -> bool {
        let mut idle: Vec<(u64, u64)> = self
            .known
            .values()
            .filter(|k| Arc::strong_count(&k.block) == 1)
            .map(|k| (k.used, k.name))
            .collect();
        idle.sort_unstable();
        let Some(&last) = idle.get(idle.len() / 2) else { return false };
        let gone = self.known.extract_if(|_, k| Arc::strong_count(&k.block) == 1 && (k.used, k.name) <= last);
        self.free.extend(gone.filter_map(|(_, known)| Arc::try_unwrap(known.block).ok()));
        true
    }
}

/// No block is left.
#[derive(Debug, PartialEq, thiserror::Error)]
#[error("the KV cache is full")]
pub struct Full;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::parts::Activation;

    const SHAPE: Shape = Shape {
        hidden: 4,
        inner: 4,
        heads: 1,
        shared: 1,
        size: 2,
        epsilon: 0.0,
        scale: 1.0,
        activation: Activation::Silu,
    };

    fn pool(blocks: usize) -> Pool {
        Pool::new(&SHAPE, 1, blocks * Pool::layer(&SHAPE) * 4)
    }

    fn write(pool: &mut Pool, sequence: &mut Sequence, tokens: &[u32]) -> Result<(), Full> {
        pool.extend(sequence, tokens.len())?;
        for (i, token) in tokens.iter().enumerate() {
            let (block, place) = sequence.writable(sequence.len() + i);
            block[place] = *token as f32;
        }
        pool.added(sequence, tokens);
        Ok(())
    }

    #[test]
    fn beginnings_are_shared_and_forks_part() {
        let mut pool = pool(100);
        let tokens: Vec<u32> = (0..40).collect();
        let mut first = pool.begin(&tokens);
        assert!(first.is_empty());
        write(&mut pool, &mut first, &tokens).unwrap();
        assert_eq!(pool.begin(&tokens).len(), 32);
        // A whole sequence is never taken from there: its last token has yet to be asked what follows.
        assert_eq!(pool.begin(&tokens[..32]).len(), 16);
        assert_eq!(pool.begin(&[&tokens[..16], &[99; 20]].concat()).len(), 16);
        let mut other = pool.fork(&first).unwrap();
        write(&mut pool, &mut other, &[7; 9]).unwrap();
        write(&mut pool, &mut first, &[8; 9]).unwrap();
        let at = |s: &Sequence, position: usize| s.blocks()[position / BLOCK][position % BLOCK];
        assert_eq!((at(&first, 39), at(&other, 39)), (39.0, 39.0));
        assert_eq!((at(&first, 40), at(&other, 40)), (8.0, 7.0));
        assert!(Arc::ptr_eq(&first.blocks()[1], &other.blocks()[1]));
    }

    #[test]
    fn equal_blocks_are_kept_once_and_idle_ones_make_room() {
        let mut pool = pool(4);
        let tokens: Vec<u32> = (0..32).collect();
        let (mut a, mut b) = (pool.begin(&tokens), pool.begin(&tokens));
        write(&mut pool, &mut a, &tokens).unwrap();
        write(&mut pool, &mut b, &tokens).unwrap();
        assert!(Arc::ptr_eq(&a.blocks()[0], &b.blocks()[0]));
        assert!(pool.make_room(2) && !pool.make_room(3));
        let mut c = pool.begin(&[50; 40]);
        assert_eq!(write(&mut pool, &mut c, &[50; 40]), Err(Full));
        pool.release(c);
        pool.release(a);
        pool.release(b);
        assert!(
            pool.make_room(1) && pool.begin(&tokens[..17]).len() == 16,
            "known blocks went although there was room"
        );
        let mut c = pool.begin(&[60; 64]);
        write(&mut pool, &mut c, &[60; 64]).unwrap();
        assert_eq!(pool.bytes(), 4 * pool.block_bytes());
        assert!(!pool.make_room(1));
        assert!(pool.begin(&tokens).is_empty());
    }
}
