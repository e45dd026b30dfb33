//! Matrix products by the `gemm` crate, behind bounds that are checked.

/// A matrix inside a slice: element (r, c) stands at r * row_stride + c * column_stride.
#[derive(Clone, Copy)]
pub struct View<'a> {
    data: &'a [f32],
    rows: usize,
    columns: usize,
    row_stride: usize,
    column_stride: usize,
}

impl<'a> View<'a> {
    /// `columns` of each row of a row-major slice whose rows are `stride` apart.
    pub fn new(data: &'a [f32], rows: usize, columns: usize, stride: usize) -> Self {
        assert!(
            rows == 0 || columns == 0 || (rows - 1) * stride + columns <= data.len(),
            "a view outside of its slice"
        );
        Self { data, rows, columns, row_stride: stride, column_stride: 1 }
    }

    /// A whole row-major matrix.
    pub fn rows(data: &'a [f32], columns: usize) -> Self {
        Self::new(data, data.len() / columns, columns, columns)
    }

    #[must_use]
    pub fn t(self) -> Self {
        Self {
            rows: self.columns,
            columns: self.rows,
            row_stride: self.column_stride,
            column_stride: self.row_stride,
            ..self
        }
    }
}

/// How a product is made.
#[derive(Clone, Copy)]
pub struct How {
    /// `out += a b` instead of `out = a b`.
    pub accumulate: bool,
    /// At most so many threads; what is computed is the same with any number.
    pub threads: usize,
}

/// On one thread.
impl From<bool> for How {
    fn from(accumulate: bool) -> Self {
        Self { accumulate, threads: 1 }
    }
}

/// out = a b, or out += a b; `out` is row-major with rows `stride` apart.
pub fn product(out: &mut [f32], stride: usize, a: View<'_>, b: View<'_>, how: impl Into<How>) {
    let How { accumulate, threads } = how.into();
    let (m, n, k) = (a.rows, b.columns, a.columns);
    assert_eq!(k, b.rows, "matrices that do not fit");
    if m == 0 || n == 0 {
        return;
    }
    assert!(stride >= n && (m - 1) * stride + n <= out.len(), "a product outside of its slice");
    // SAFETY: every element that is read lies inside of `a.data` or `b.data` (`View::new`), every one written
    // inside of `out` (above), which is borrowed mutably and so overlaps neither; all are initialised f32.
    #[allow(unsafe_code)]
    unsafe {
        gemm::gemm(
            m,
            n,
            k,
            out.as_mut_ptr(),
            1,
            stride as isize,
            accumulate,
            a.data.as_ptr(),
            a.column_stride as isize,
            a.row_stride as isize,
            b.data.as_ptr(),
            b.column_stride as isize,
            b.row_stride as isize,
            1.0,
            1.0,
            false,
            false,
            false,
            if threads > 1 { gemm::Parallelism::Rayon(threads) } else { gemm::Parallelism::None },
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn products_of_strided_and_transposed_views() {
        let a: Vec<f32> = (0..15).map(|v| v as f32).collect();
        // Columns 1..3 of a 5 x 3 matrix, transposed: 2 x 5; times the matrix itself: 2 x 3.
        let mut out = vec![1.0; 8];
        product(&mut out, 4, View::new(&a[1..], 5, 2, 3).t(), View::rows(&a, 3), true);
        for r in 0..2 {
            for c in 0..3 {
                let sum: f32 = (0..5).map(|k| a[k * 3 + 1 + r] * a[k * 3 + c]).sum();
                assert!((out[r * 4 + c] - 1.0 - sum).abs() < 1e-4);
            }
        }
        assert_eq!((out[3].to_bits(), out[7].to_bits()), (1f32.to_bits(), 1f32.to_bits()));
    }

    /// Sizes beyond every block of the product's, none of them a multiple of one.
    #[test]
    fn threads_change_no_bit() {
        let (m, n, k) = (259, 1031, 897);
        let numbers = |count: usize, step: usize| -> Vec<f32> {
            (0..count).map(|i| ((i * step) % 1009) as f32 / 1009.0 - 0.5).collect()
        };
        let (a, b) = (numbers(m * k, 7), numbers(n * k, 13));
        let bits = |threads| {
            let mut out = vec![0.0; m * n];
            let how = How { accumulate: false, threads };
            product(&mut out, n, View::rows(&a, k), View::rows(&b, k).t(), how);
            out.iter().map(|v: &f32| v.to_bits()).collect::<Vec<_>>()
        };
        let one = bits(1);
        assert!([2, 3, 8].into_iter().all(|threads| bits(threads) == one));
    }

    #[test]
    #[should_panic(expected = "outside")]
    fn a_view_must_lie_in_its_slice() {
        View::new(&[0.0; 5], 2, 3, 3);
    }
}
