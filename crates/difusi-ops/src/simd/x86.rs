//! [`Lanes`] as one AVX-512 register or two of AVX2.

use std::arch::x86_64::*;

use burn::tensor::bf16;

use super::{Kernel, Lanes};

/// # Safety
/// As [`super::dispatch`], on a CPU with these features.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma")]
pub(super) unsafe fn with_avx512<K: Kernel>(kernel: K) {
    unsafe { kernel.run::<Avx512>() }
}

/// # Safety
/// As [`super::dispatch`], on a CPU with AVX2 and FMA.
#[target_feature(enable = "avx2,fma")]
pub(super) unsafe fn with_avx2<K: Kernel>(kernel: K) {
    unsafe { kernel.run::<Avx2>() }
}

#[derive(Clone, Copy)]
pub(super) struct Avx512(__m512);

impl Lanes for Avx512 {
    type F = f32;
    const REGISTERS: usize = 32;
    #[inline(always)]
    unsafe fn sum(self) -> f32 {
        unsafe { sum_half(_mm256_add_ps(_mm512_castps512_ps256(self.0), _mm512_extractf32x8_ps::<1>(self.0))) }
    }
    #[inline(always)]
    unsafe fn largest(self) -> f32 {
        unsafe { largest_half(_mm256_max_ps(_mm512_castps512_ps256(self.0), _mm512_extractf32x8_ps::<1>(self.0))) }
    }
    #[inline(always)]
    unsafe fn scale(self, n: Self) -> Self {
        unsafe { Self(_mm512_scalef_ps(self.0, n.0)) }
    }
    /// Fourteen bits, doubled by a step of Newton's.
    #[inline(always)]
    unsafe fn recip(self) -> Self {
        unsafe {
            let y = _mm512_rcp14_ps(self.0);
            let rest = _mm512_fnmadd_ps(self.0, y, _mm512_set1_ps(1.0));
            Self(_mm512_fmadd_ps(y, rest, y))
        }
    }
    #[inline(always)]
    unsafe fn transpose(mut rows: [Self; 16]) -> [Self; 16] {
        unsafe {
            let mut t = rows;
            for i in 0..8 {
                t[2 * i].0 = _mm512_unpacklo_ps(rows[2 * i].0, rows[2 * i + 1].0);
                t[2 * i + 1].0 = _mm512_unpackhi_ps(rows[2 * i].0, rows[2 * i + 1].0);
            }
            let pairs = t;
            for i in (0..16).step_by(4) {
                for half in 0..2 {
                    let (a, b) = (_mm512_castps_pd(pairs[i + half].0), _mm512_castps_pd(pairs[i + half + 2].0));
                    t[i + 2 * half].0 = _mm512_castpd_ps(_mm512_unpacklo_pd(a, b));
                    t[i + 2 * half + 1].0 = _mm512_castpd_ps(_mm512_unpackhi_pd(a, b));
                }
            }
            // Quarter `l` of `t[4 i + j]` is column `4 l + j` of rows `4 i` to `4 i + 3`.
            for j in 0..4 {
                let [a, b, c, d] = [t[j].0, t[4 + j].0, t[8 + j].0, t[12 + j].0];
                let (even, odd) = (_mm512_shuffle_f32x4::<0x88>(a, b), _mm512_shuffle_f32x4::<0xdd>(a, b));
                let (even_2, odd_2) = (_mm512_shuffle_f32x4::<0x88>(c, d), _mm512_shuffle_f32x4::<0xdd>(c, d));
                rows[j].0 = _mm512_shuffle_f32x4::<0x88>(even, even_2);
                rows[4 + j].0 = _mm512_shuffle_f32x4::<0x88>(odd, odd_2);
                rows[8 + j].0 = _mm512_shuffle_f32x4::<0xdd>(even, even_2);
                rows[12 + j].0 = _mm512_shuffle_f32x4::<0xdd>(odd, odd_2);
            }
            rows
        }
    }
    #[inline(always)]
    unsafe fn widen(from: *const bf16) -> Self {
        unsafe {
            let halves = _mm256_loadu_si256(from.cast());
            Self(_mm512_castsi512_ps(_mm512_slli_epi32::<16>(_mm512_cvtepu16_epi32(halves))))
        }
    }
    #[inline(always)]
    unsafe fn narrow(self, to: *mut bf16) {
        unsafe {
            let bits = _mm512_castps_si512(self.0);
            let odd = _mm512_and_si512(_mm512_srli_epi32::<16>(bits), _mm512_set1_epi32(1));
            let rounded = _mm512_add_epi32(bits, _mm512_add_epi32(odd, _mm512_set1_epi32(0x7fff)));
            let nan = _mm512_cmp_ps_mask::<_CMP_UNORD_Q>(self.0, self.0);
            let quiet = _mm512_or_si512(bits, _mm512_set1_epi32(0x0040_0000));
            let bits = _mm512_mask_mov_epi32(rounded, nan, quiet);
            _mm256_storeu_si256(to.cast(), _mm512_cvtepi32_epi16(_mm512_srli_epi32::<16>(bits)));
        }
    }
    #[inline(always)]
    unsafe fn splat(x: f32) -> Self {
        unsafe { Self(_mm512_set1_ps(x)) }
    }
    #[inline(always)]
    unsafe fn load(from: *const f32) -> Self {
        unsafe { Self(_mm512_loadu_ps(from)) }
    }
    #[inline(always)]
    unsafe fn store(self, to: *mut f32) {
        unsafe { _mm512_storeu_ps(to, self.0) }
    }
    #[inline(always)]
    unsafe fn add(self, b: Self) -> Self {
        unsafe { Self(_mm512_add_ps(self.0, b.0)) }
    }
    #[inline(always)]
    unsafe fn sub(self, b: Self) -> Self {
        unsafe { Self(_mm512_sub_ps(self.0, b.0)) }
    }
    #[inline(always)]
    unsafe fn mul(self, b: Self) -> Self {
        unsafe { Self(_mm512_mul_ps(self.0, b.0)) }
    }
    #[inline(always)]
    unsafe fn div(self, b: Self) -> Self {
        unsafe { Self(_mm512_div_ps(self.0, b.0)) }
    }
    #[inline(always)]
    unsafe fn sqrt(self) -> Self {
        unsafe { Self(_mm512_sqrt_ps(self.0)) }
    }
    #[inline(always)]
    unsafe fn fma(self, b: Self, c: Self) -> Self {
        unsafe { Self(_mm512_fmadd_ps(self.0, b.0, c.0)) }
    }
    #[inline(always)]
    unsafe fn max(self, b: Self) -> Self {
        unsafe { Self(_mm512_max_ps(self.0, b.0)) }
    }
    #[inline(always)]
    unsafe fn min(self, b: Self) -> Self {
        unsafe { Self(_mm512_min_ps(self.0, b.0)) }
    }
    #[inline(always)]
    unsafe fn round(self) -> Self {
        unsafe { Self(_mm512_roundscale_ps::<0>(self.0)) }
    }
    #[inline(always)]
    unsafe fn pow2(self) -> Self {
        unsafe {
            let biased = _mm512_add_epi32(_mm512_cvtps_epi32(self.0), _mm512_set1_epi32(127));
            Self(_mm512_castsi512_ps(_mm512_slli_epi32::<23>(biased)))
        }
    }
}

#[derive(Clone, Copy)]
pub(super) struct Avx2(__m256, __m256);

macro_rules! halves {
    ($f:ident, $a:ident, $b:ident) => {
        unsafe { Self($f($a.0, $b.0), $f($a.1, $b.1)) }
    };
}

/// Eight f32 as eight bf16 in the low halves of 32-bit lanes.
///
/// # Safety
/// Needs AVX2.
#[inline(always)]
unsafe fn narrow_half(x: __m256) -> __m256i {
    unsafe {
        let bits = _mm256_castps_si256(x);
        let odd = _mm256_and_si256(_mm256_srli_epi32::<16>(bits), _mm256_set1_epi32(1));
        let rounded = _mm256_add_epi32(bits, _mm256_add_epi32(odd, _mm256_set1_epi32(0x7fff)));
        let nan = _mm256_castps_si256(_mm256_cmp_ps::<_CMP_UNORD_Q>(x, x));
        let quiet = _mm256_or_si256(bits, _mm256_set1_epi32(0x0040_0000));
        _mm256_srli_epi32::<16>(_mm256_blendv_epi8(rounded, quiet, nan))
    }
}

/// The sum of eight, in the order of [`Lanes::sum`].
///
/// # Safety
/// Needs AVX.
#[inline(always)]
unsafe fn sum_half(x: __m256) -> f32 {
    unsafe {
        let x = _mm_add_ps(_mm256_castps256_ps128(x), _mm256_extractf128_ps::<1>(x));
        let x = _mm_add_ps(x, _mm_movehl_ps(x, x));
        _mm_cvtss_f32(_mm_add_ss(x, _mm_movehdup_ps(x)))
    }
}

/// The largest of eight.
///
/// # Safety
/// Needs AVX.
#[inline(always)]
unsafe fn largest_half(x: __m256) -> f32 {
    unsafe {
        let x = _mm_max_ps(_mm256_castps256_ps128(x), _mm256_extractf128_ps::<1>(x));
        let x = _mm_max_ps(x, _mm_movehl_ps(x, x));
        _mm_cvtss_f32(_mm_max_ss(x, _mm_movehdup_ps(x)))
    }
}

impl Lanes for Avx2 {
    type F = f32;
    const REGISTERS: usize = 8;
    #[inline(always)]
    unsafe fn sum(self) -> f32 {
        unsafe { sum_half(_mm256_add_ps(self.0, self.1)) }
    }
    #[inline(always)]
    unsafe fn largest(self) -> f32 {
        unsafe { largest_half(_mm256_max_ps(self.0, self.1)) }
    }
    #[inline(always)]
    unsafe fn widen(from: *const bf16) -> Self {
        #[inline(always)]
        unsafe fn half(from: *const bf16) -> __m256 {
            unsafe {
                let halves = _mm_loadu_si128(from.cast());
                _mm256_castsi256_ps(_mm256_slli_epi32::<16>(_mm256_cvtepu16_epi32(halves)))
            }
        }
        unsafe { Self(half(from), half(from.add(8))) }
    }
    #[inline(always)]
    unsafe fn narrow(self, to: *mut bf16) {
        unsafe {
            // Packing works within 128-bit halves; the permutation puts the quarters in order.
            let packed = _mm256_packus_epi32(narrow_half(self.0), narrow_half(self.1));
            _mm256_storeu_si256(to.cast(), _mm256_permute4x64_epi64::<0b11_01_10_00>(packed));
        }
    }
    #[inline(always)]
    unsafe fn splat(x: f32) -> Self {
        unsafe { Self(_mm256_set1_ps(x), _mm256_set1_ps(x)) }
    }
    #[inline(always)]
    unsafe fn load(from: *const f32) -> Self {
        unsafe { Self(_mm256_loadu_ps(from), _mm256_loadu_ps(from.add(8))) }
    }
    #[inline(always)]
    unsafe fn store(self, to: *mut f32) {
        unsafe {
            _mm256_storeu_ps(to, self.0);
            _mm256_storeu_ps(to.add(8), self.1);
        }
    }
    #[inline(always)]
    unsafe fn add(self, b: Self) -> Self {
        halves!(_mm256_add_ps, self, b)
    }
    #[inline(always)]
    unsafe fn sub(self, b: Self) -> Self {
        halves!(_mm256_sub_ps, self, b)
    }
    #[inline(always)]
    unsafe fn mul(self, b: Self) -> Self {
        halves!(_mm256_mul_ps, self, b)
    }
    #[inline(always)]
    unsafe fn div(self, b: Self) -> Self {
        halves!(_mm256_div_ps, self, b)
    }
    #[inline(always)]
    unsafe fn sqrt(self) -> Self {
        unsafe { Self(_mm256_sqrt_ps(self.0), _mm256_sqrt_ps(self.1)) }
    }
    #[inline(always)]
    unsafe fn fma(self, b: Self, c: Self) -> Self {
        unsafe { Self(_mm256_fmadd_ps(self.0, b.0, c.0), _mm256_fmadd_ps(self.1, b.1, c.1)) }
    }
    #[inline(always)]
    unsafe fn max(self, b: Self) -> Self {
        halves!(_mm256_max_ps, self, b)
    }
    #[inline(always)]
    unsafe fn min(self, b: Self) -> Self {
        halves!(_mm256_min_ps, self, b)
    }
    #[inline(always)]
    unsafe fn round(self) -> Self {
        unsafe { Self(_mm256_round_ps::<0>(self.0), _mm256_round_ps::<0>(self.1)) }
    }
    #[inline(always)]
    unsafe fn pow2(self) -> Self {
        #[inline(always)]
        unsafe fn half(x: __m256) -> __m256 {
            unsafe {
                let biased = _mm256_add_epi32(_mm256_cvtps_epi32(x), _mm256_set1_epi32(127));
                _mm256_castsi256_ps(_mm256_slli_epi32::<23>(biased))
            }
        }
        unsafe { Self(half(self.0), half(self.1)) }
    }
}
