//! Batch normalisation: statistics, the affine map that they amount to, and its gradient.

use pulp::Arch;

use crate::slabs::share;
use crate::workspace::{Buffer, Shared, Workspace};

/// Learned scale and shift of a batch norm, one value a channel each.
#[derive(Clone, Copy, Debug)]
pub struct NormWeights<'a> {
    /// Factor of the normalised value.
    pub scale: &'a [f32],
    /// What is added to it.
    pub shift: &'a [f32],
}

/// Mean and biased variance of every channel.
#[derive(Clone, Debug, PartialEq)]
pub struct Moments {
    /// One mean a channel.
    pub mean: Vec<f32>,
    /// One variance a channel.
    pub variance: Vec<f32>,
}

/// A batch norm with its statistics: `scale * x + shift`.
#[derive(Clone, Debug)]
pub struct Norm {
    /// The statistics.
    pub moments: Moments,
    /// `1 / sqrt(variance + eps)`.
    inverse: Vec<f32>,
    pub(crate) scale: Vec<f32>,
    pub(crate) shift: Vec<f32>,
}

impl Norm {
    /// The map of `weights` with `moments`.
    pub fn new(weights: NormWeights, moments: Moments, eps: f64) -> Self {
        let inverse: Vec<f32> = moments
            .variance
            .iter()
            .map(|&variance| (1.0 / (f64::from(variance) + eps).sqrt()) as f32)
            .collect();
        let scale: Vec<f32> = weights
            .scale
            .iter()
            .zip(&inverse)
            .map(|(scale, inverse)| scale * inverse)
            .collect();
        let shift = weights
            .shift
            .iter()
            .zip(&moments.mean)
            .zip(&scale)
            .map(|((shift, mean), scale)| shift - mean * scale)
            .collect();
        Self {
            moments,
            inverse,
            scale,
            shift,
        }
    }

    /// What the sums of [`GradientSums`] over `count` values a channel mean for scale, shift and input.
    pub(crate) fn gradient(&self, sums: &GradientSums, count: usize) -> NormGradient {
        let channels = self.scale.len();
        let mut gradient = NormGradient {
            scale: Vec::with_capacity(channels),
            shift: Vec::with_capacity(channels),
            of_gradient: self.scale.clone(),
            of_input: Vec::with_capacity(channels),
            constant: Vec::with_capacity(channels),
        };
        for c in 0..channels {
            let (plain, centred) = sums.total(c);
            let inverse = f64::from(self.inverse[c]);
            let normalised = centred * inverse;
            let factor = f64::from(self.scale[c]);
            let of_input = -factor * inverse * normalised / count as f64;
            let constant =
                -factor * plain / count as f64 - of_input * f64::from(self.moments.mean[c]);
            gradient.scale.push(normalised as f32);
            gradient.shift.push(plain as f32);
            gradient.of_input.push(of_input as f32);
            gradient.constant.push(constant as f32);
        }
        gradient
    }
}

/// Gradient of a batch norm under batch statistics: that of its weights, and that of its input `x` as
/// `of_gradient * g + of_input * x + constant` with the gradient `g` of its output.
#[derive(Clone, Debug)]
pub(crate) struct NormGradient {
    pub scale: Vec<f32>,
    pub shift: Vec<f32>,
    pub of_gradient: Vec<f32>,
    pub of_input: Vec<f32>,
    pub constant: Vec<f32>,
}

impl NormGradient {
    /// [`NormGradient::rows`] over the gradient itself.
    pub(crate) fn rows_in_place(&self, gradient: &mut [f32], x: &[f32]) {
        let channels = self.constant.len();
        Arch::new().dispatch(|| {
            let rows = gradient
                .chunks_exact_mut(channels)
                .zip(x.chunks_exact(channels));
            for (gradient, x) in rows {
                let factors = self.of_gradient.iter().zip(&self.of_input);
                let factors = factors.zip(&self.constant);
                for ((g, x), ((a, b), c)) in gradient.iter_mut().zip(x).zip(factors) {
                    *g = a * *g + b * x + c;
                }
            }
        });
    }

    /// The gradient of input rows, `channels` values each.
    pub(crate) fn rows(&self, gradient: &[f32], x: &[f32], out: &mut [f32]) {
        let channels = self.constant.len();
        Arch::new().dispatch(|| {
            let rows = gradient
                .chunks_exact(channels)
                .zip(x.chunks_exact(channels));
            for (out, (gradient, x)) in out.chunks_exact_mut(channels).zip(rows) {
                let factors = self.of_gradient.iter().zip(&self.of_input);
                let factors = factors.zip(&self.constant);
                for ((out, (g, x)), ((a, b), c)) in
                    out.iter_mut().zip(gradient.iter().zip(x)).zip(factors)
                {
                    *out = a * g + b * x + c;
                }
            }
        });
    }
}

/// Sums of `items` pieces of a feature map, from which its moments follow.
///
/// Each piece is summed relative to its own first pixel, in single precision, so that a mean far from zero costs no
/// digits; the pieces are joined in double precision, in order.
pub(crate) struct MomentSums {
    /// `[items][shift, sum, sum of squares][channels]`.
    values: Buffer,
    counts: Vec<usize>,
    channels: usize,
}

impl MomentSums {
    pub(crate) fn new(workspace: &Workspace, counts: Vec<usize>, channels: usize) -> Self {
        Self {
            values: workspace.take(3 * counts.len() * channels),
            counts,
            channels,
        }
    }

    /// Somewhere for threads to put the sums of their items.
    pub(crate) fn shared(&mut self) -> SharedMomentSums<'_> {
        SharedMomentSums {
            values: Shared::new(&mut self.values),
            channels: self.channels,
        }
    }

    /// The moments of all pieces together.
    pub(crate) fn moments(&self) -> Moments {
        let channels = self.channels;
        let total: f64 = self.counts.iter().map(|&count| count as f64).sum();
        let mut means = vec![0f64; channels];
        let mut squares = vec![0f64; channels];
        let pieces = || self.values.chunks_exact(3 * channels).zip(&self.counts);
        for (piece, &count) in pieces() {
            for (c, mean) in means.iter_mut().enumerate() {
                let (shift, sum) = (f64::from(piece[c]), f64::from(piece[channels + c]));
                *mean += (count as f64 * shift + sum) / total;
            }
        }
        for (piece, &count) in pieces() {
            for (c, square) in squares.iter_mut().enumerate() {
                let sum = f64::from(piece[channels + c]);
                let own = sum / count as f64;
                let distance = f64::from(piece[c]) + own - means[c];
                *square += f64::from(piece[2 * channels + c]) - sum * own
                    + count as f64 * distance * distance;
            }
        }
        Moments {
            mean: means.into_iter().map(|mean| mean as f32).collect(),
            variance: squares
                .into_iter()
                .map(|square| square / total)
                // Rounding may leave a hair below 0; a NaN stays one.
                .map(|variance| if variance < 0.0 { 0.0 } else { variance as f32 })
                .collect(),
        }
    }
}

#[derive(Clone, Copy)]
pub(crate) struct SharedMomentSums<'a> {
    values: Shared<'a>,
    channels: usize,
}

impl SharedMomentSums<'_> {
    /// Sums `rows` (of `row` values each, beginning with channel `first`) over `width` channels as piece `item`.
    ///
    /// # Safety
    /// No other thread may sum these channels of this piece.
    pub(crate) unsafe fn put(
        &self,
        item: usize,
        first: usize,
        width: usize,
        rows: &[f32],
        row: usize,
    ) {
        let start = 3 * item * self.channels + first;
        // SAFETY: disjoint by the promise of the caller.
        let [shift, sum, square] =
            [0, 1, 2].map(|part| unsafe { self.values.slice(start + part * self.channels, width) });
        shift.copy_from_slice(&rows[..width]);
        Arch::new().dispatch(|| {
            let mut c = 0;
            while c + 16 <= width {
                let shift: &[f32; 16] = shift[c..c + 16].try_into().expect("sixteen values");
                let (mut sums, mut squares) = ([0f32; 16], [0f32; 16]);
                for pixel in rows.chunks(row) {
                    let pixel: &[f32; 16] = pixel[c..c + 16].try_into().expect("sixteen values");
                    for j in 0..16 {
                        let distance = pixel[j] - shift[j];
                        sums[j] += distance;
                        squares[j] += distance * distance;
                    }
                }
                sum[c..c + 16].copy_from_slice(&sums);
                square[c..c + 16].copy_from_slice(&squares);
                c += 16;
            }
            if c < width {
                let shift = &shift[c..];
                let mut sums = [[0f32; 16]; 2];
                for pixel in rows.chunks(row) {
                    for (j, (value, shift)) in pixel[c..width].iter().zip(shift).enumerate() {
                        let distance = value - shift;
                        sums[0][j] += distance;
                        sums[1][j] += distance * distance;
                    }
                }
                sum[c..].copy_from_slice(&sums[0][..width - c]);
                square[c..].copy_from_slice(&sums[1][..width - c]);
            }
        });
    }
}

/// Sums over pixels of a gradient `g` and of `g * (x - mean)`, by parts that are added in order.
pub(crate) struct GradientSums {
    /// `[parts][g, g * (x - mean)][channels]`.
    values: Buffer,
    channels: usize,
}

impl GradientSums {
    pub(crate) fn new(workspace: &Workspace, parts: usize, channels: usize) -> Self {
        Self {
            values: workspace.zeros(2 * parts * channels),
            channels,
        }
    }

    pub(crate) fn shared(&mut self) -> Shared<'_> {
        Shared::new(&mut self.values)
    }

    /// The two places of `width` channels from `first` on in part `part` of [`GradientSums::shared`].
    ///
    /// # Safety
    /// No other thread may use them while they live.
    pub(crate) unsafe fn places<'a>(
        shared: Shared<'a>,
        channels: usize,
        part: usize,
        first: usize,
        width: usize,
    ) -> [&'a mut [f32]; 2] {
        let start = 2 * part * channels + first;
        // SAFETY: by the promise of the caller.
        [start, start + channels].map(|start| unsafe { shared.slice(start, width) })
    }

    fn total(&self, channel: usize) -> (f64, f64) {
        let mut total = (0.0, 0.0);
        for part in self.values.chunks_exact(2 * self.channels) {
            total.0 += f64::from(part[channel]);
            total.1 += f64::from(part[self.channels + channel]);
        }
        total
    }
}

/// The sums of a gradient that lies in memory, rows of all channels.
pub(crate) fn gradient_sums(
    workspace: &Workspace,
    gradient: &[f32],
    x: &[f32],
    mean: &[f32],
) -> GradientSums {
    let channels = mean.len();
    let rows = gradient.len() / channels;
    let parts = rows.div_ceil(256).clamp(1, 64);
    let mut sums = GradientSums::new(workspace, parts, channels);
    let shared = sums.shared();
    workspace.for_each(parts, |part| {
        let rows = share(rows, parts, part);
        let range = rows.start * channels..rows.end * channels;
        // SAFETY: each part has places of its own.
        let [plain, centred] = unsafe { GradientSums::places(shared, channels, part, 0, channels) };
        Arch::new().dispatch(|| {
            let pixels = gradient[range.clone()]
                .chunks_exact(channels)
                .zip(x[range].chunks_exact(channels));
            for (gradient, x) in pixels {
                let values = gradient.iter().zip(x).zip(mean);
                let sums = plain.iter_mut().zip(centred.iter_mut());
                for (((g, x), mean), (plain, centred)) in values.zip(sums) {
                    *plain += g;
                    *centred += g * (x - mean);
                }
            }
        });
    });
    sums
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{assert_close, random};

    #[test]
    fn moments_are_exact_far_from_zero_and_over_uneven_pieces() {
        let workspace = Workspace::new(1);
        for channels in [3, 16, 21, 40] {
            let rows = 57;
            let mut x = random(rows * channels, 1);
            for (place, value) in x.iter_mut().enumerate() {
                *value += 100.0 * (place % channels) as f32;
            }
            let cuts = [0, 1, 20, 57];
            let counts = cuts.windows(2).map(|cut| cut[1] - cut[0]).collect();
            let mut sums = MomentSums::new(&workspace, counts, channels);
            let shared = sums.shared();
            for (item, cut) in cuts.windows(2).enumerate() {
                let rows = &x[cut[0] * channels..cut[1] * channels];
                // SAFETY: one thread.
                unsafe { shared.put(item, 0, channels, rows, channels) };
            }
            let moments = sums.moments();
            for c in 0..channels {
                let column = || x.iter().skip(c).step_by(channels).map(|&v| f64::from(v));
                let mean = column().sum::<f64>() / rows as f64;
                let variance = column().map(|v| (v - mean).powi(2)).sum::<f64>() / rows as f64;
                assert!((f64::from(moments.mean[c]) - mean).abs() < 1e-3);
                assert!((f64::from(moments.variance[c]) - variance).abs() < 1e-4);
            }
        }
    }

    #[test]
    fn input_gradient_is_orthogonal_to_what_normalising_removes() {
        let (rows, channels) = (301, 5);
        let workspace = Workspace::new(2);
        let (x, gradient) = (random(rows * channels, 1), random(rows * channels, 2));
        let mut sums = MomentSums::new(&workspace, vec![rows], channels);
        // SAFETY: one thread.
        unsafe { sums.shared().put(0, 0, channels, &x, channels) };
        let (scale, shift) = (random(channels, 3), random(channels, 4));
        let weights = NormWeights {
            scale: &scale,
            shift: &shift,
        };
        let norm = Norm::new(weights, sums.moments(), 0.0);
        let sums = gradient_sums(&workspace, &gradient, &x, &norm.moments.mean);
        let norm_gradient = norm.gradient(&sums, rows);
        let mut dx = vec![0.0; x.len()];
        norm_gradient.rows(&gradient, &x, &mut dx);
        // Shifting or stretching the input leaves the output as it is.
        for c in 0..channels {
            let pairs = || (0..rows).map(|r| (dx[r * channels + c], x[r * channels + c]));
            let plain: f32 = pairs().map(|(d, _)| d).sum();
            let along: f32 = pairs().map(|(d, x)| d * x).sum();
            assert!(plain.abs() < 1e-3 && along.abs() < 1e-3, "{plain} {along}");
        }
        let direct: Vec<f32> = (0..channels)
            .map(|c| (0..rows).map(|r| gradient[r * channels + c]).sum())
            .collect();
        assert_close(&norm_gradient.shift, &direct, 1e-5, "shift");
    }
}
