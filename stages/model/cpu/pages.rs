//! Memory for packed weights, in large pages where the system has them. A pass reads all of it in order; with
//! pages of 4 KiB the processor would fetch ahead no further than the end of each.

use std::marker::PhantomData;
use std::ops::{Deref, DerefMut};

use bytemuck::Pod;
use memmap2::MmapMut;
use rayon::prelude::*;

/// Zeros that have been written: a page that is read before it is written faults twice, and the second fault
/// stops all threads.
pub fn zeros(length: usize) -> Vec<f32> {
    let mut numbers = vec![0.0; length];
    numbers.par_chunks_mut(1 << 16).for_each(|block| block.fill(0.0));
    numbers
}

/// Numbers of one type, zero at first.
pub struct Pages<T> {
    map: MmapMut,
    numbers: PhantomData<T>,
}

impl<T: Pod> Pages<T> {
    /// # Panics
    /// Without memory for `length` numbers, as a `Vec` would end the program.
    pub fn zeroed(length: usize) -> Self {
        let bytes = length * size_of::<T>();
        let map = MmapMut::map_anon(bytes).unwrap_or_else(|error| panic!("{bytes} bytes of memory: {error}"));
        // A system without large pages does as well without.
        #[cfg(target_os = "linux")]
        let _ = map.advise(memmap2::Advice::HugePage);
        Self { map, numbers: PhantomData }
    }
}

impl<T: Pod> Deref for Pages<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        bytemuck::cast_slice(&self.map)
    }
}

impl<T: Pod> DerefMut for Pages<T> {
    fn deref_mut(&mut self) -> &mut [T] {
        bytemuck::cast_slice_mut(&mut self.map)
    }
}
